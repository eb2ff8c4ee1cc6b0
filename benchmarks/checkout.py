"""A checkout's package as it is written, and as it runs: what ``structure.py`` counts.

``python benchmarks/checkout.py CALLS.json sample RUN`` runs ``carrara sample RUN`` and writes which functions it calls.
"""

import ast
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import cache, cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any, TypeGuard

Function = ast.FunctionDef | ast.AsyncFunctionDef


class Package:
    """The modules of a checkout's src/carrara, by their paths in it.

    Raises:
        FileNotFoundError: the checkout has no such folder.
    """

    def __init__(self, checkout: Path) -> None:
        self.checkout = checkout.resolve()
        self.root = self.checkout / "src" / "carrara"
        if not self.root.is_dir():
            raise FileNotFoundError(f"'{checkout}' is no checkout of Carrara: it has no src/carrara")
        paths = sorted(self.root.rglob("*.py"))
        self.texts = {path.relative_to(self.root).as_posix(): path.read_text() for path in paths}
        self.trees = {file: ast.parse(text) for file, text in self.texts.items()}

    @cached_property
    def modules(self) -> dict[str, str]:
        """``carrara.noise.schedule`` -> ``noise/schedule.py``."""
        return {"carrara" + _dotted(file): file for file in self.texts}

    @cached_property
    def levels(self) -> dict[str, int]:
        """The level of each part, as this checkout's tests know it."""
        layers = constant(self.checkout / "tests" / "test_layers.py", "LAYERS")
        return {part: level for level, parts in enumerate(layers) for part in parts}

    def nodes(self) -> Iterator[tuple[str, ast.AST]]:
        return ((file, node) for file, tree in self.trees.items() for node in ast.walk(tree))

    def functions(self) -> Iterator[tuple[str, Function]]:
        return ((file, node) for file, node in self.nodes() if isinstance(node, Function))


def _dotted(file: str) -> str:
    names = file.removesuffix(".py").split("/")
    return "".join(f".{name}" for name in names if name != "__init__")


def constant(path: Path, name: str) -> Any:
    """The value of a constant in a Python file that is not run."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and any(isinstance(at, ast.Name) and at.id == name for at in node.targets):
            return ast.literal_eval(node.value)
    raise LookupError(f"'{path}' has no {name}")


def part_of(file: str) -> str:
    """``noise/schedule.py`` -> ``noise``."""
    return file.split("/")[0].removesuffix(".py")


def is_call(node: ast.AST, name: str) -> TypeGuard[ast.Call]:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name


def is_error(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id.endswith("Error")


def written(text: str) -> int:
    return sum(bool(line.strip()) for line in text.splitlines())


def lengths(package: Package) -> dict[str, int]:
    """The lines of each function from its `def` on, without its docstring and its decorators."""
    return {f"{file}:{node.lineno} {node.name}": extent(node) - said(node) for file, node in package.functions()}


def extent(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def said(node: Function) -> int:
    """The lines of its docstring."""
    return extent(node.body[0]) if ast.get_docstring(node, clean=False) is not None else 0


def parameters(node: Function) -> list[str]:
    """All of a function's parameters but `self` and `cls`."""
    given = node.args
    rest = [at for at in (given.vararg, given.kwarg) if at]
    names = [at.arg for at in [*given.posonlyargs, *given.args, *given.kwonlyargs, *rest]]
    return [name for name in names if name not in ("self", "cls")]


def defined(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """The names of a module's own functions, classes and constants, with their lines."""
    for node in tree.body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.name, node.lineno
            case ast.Assign():
                yield from ((at.id, node.lineno) for at in node.targets if isinstance(at, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield name, node.lineno
            case _:
                pass


def asks_rank(node: ast.AST) -> bool:
    match node:
        case ast.Attribute(attr="ndim") | ast.Call(func=ast.Attribute(attr="dim"), args=[]):
            return True
        case ast.Call(func=ast.Name(id="len"), args=[ast.Attribute(attr="shape")]):
            return True
        case ast.Match(subject=ast.Attribute(attr="shape") | ast.Subscript(value=ast.Attribute(attr="shape"))):
            return True
        case _:
            return False


def literals(node: ast.AST) -> Iterator[tuple[int, str]]:
    """Lines and texts of the strings in a tree but its docstrings; an f-string is one, {} in the place of values."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return
    inner = list(ast.iter_child_nodes(node))
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.lineno, node.value
    elif isinstance(node, ast.JoinedStr):
        yield node.lineno, "".join(str(at.value) if isinstance(at, ast.Constant) else "{}" for at in node.values)
        inner = [at for at in node.values if not isinstance(at, ast.Constant)]
    for child in inner:
        yield from literals(child)


def when_loaded(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes that are run when a module is imported: none in functions, none for type checkers alone."""
    yield node
    for child in ast.iter_child_nodes(node):
        typing = isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING"
        if not (typing or isinstance(child, Function | ast.Lambda)):
            yield from when_loaded(child)


def imported(package: Package, nodes: Iterator[ast.AST]) -> set[str]:
    """The package's files that import statements name."""
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            longer = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= {name if name in package.modules else str(node.module) for name in longer}
    return {package.modules[name] for name in names if name in package.modules}


def cycles(edges: dict[str, set[str]]) -> list[list[str]]:
    """The groups of those that reach each other."""
    reached = {start: reach(edges, start) for start in edges}
    rings = {frozenset(end for end in ends if start in reached[end]) for start, ends in reached.items()}
    return sorted(sorted(ring) for ring in rings if ring)


def reach(edges: dict[str, set[str]], start: str) -> set[str]:
    found, ahead = set[str](), [start]
    while ahead:
        new = edges[ahead.pop()] - found
        found |= new
        ahead += new
    return found


@cache
def way(package: Package) -> dict[str, list[str]]:
    """The functions that run when a tiny run is sampled from, by their files, both in the order of the first calls."""
    small = [*constant(package.checkout / "tests" / "tiny.py", "TINY"), "train.steps=1"]
    with TemporaryDirectory() as folder:
        run, out, calls = (str(Path(folder) / name) for name in ("run", "out", "calls.json"))
        python(package, "-m", "carrara", "train", "digits", "--run", run, *small)
        python(package, __file__, calls, "sample", run, "7", "-n", "2", "--out", out)
        called = json.loads(Path(calls).read_text())
    found: dict[str, list[str]] = {}
    for file, name in called:
        found.setdefault(Path(file).relative_to(package.root).as_posix(), []).append(name)
    return found


def python(package: Package, *arguments: str) -> None:
    """Runs this Python on a checkout's package.

    Raises:
        RuntimeError: it ended with an error; the message has what it printed.
    """
    path = os.pathsep.join([str(package.root.parent), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-P", *arguments], env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)}\n{done.stdout}{done.stderr}")


def trace(out: Path, arguments: list[str]) -> None:
    """In a process of its own: runs the command, and writes the functions that it called, by their first calls."""
    import carrara
    from carrara.cli import main

    root, known, called = str(Path(carrara.__file__).resolve().parent), set[object](), list[tuple[str, str]]()

    def profile(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event == "call" and code not in known and code.co_filename.startswith(root) and not loading(frame, root):
            known.add(code)
            called.append((code.co_filename, code.co_qualname))

    threading.setprofile(profile)
    sys.setprofile(profile)
    try:
        main(arguments)
    finally:
        sys.setprofile(None)
        out.write_text(json.dumps(called))


def loading(frame: FrameType | None, root: str) -> bool:
    """Whether a module of the package is being imported, so that what runs is its classes and decorators."""
    while frame is not None:
        if frame.f_code.co_name == "<module>" and frame.f_code.co_filename.startswith(root):
            return True
        frame = frame.f_back
    return False


if __name__ == "__main__":
    trace(Path(sys.argv[1]), sys.argv[2:])
