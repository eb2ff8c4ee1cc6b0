"""Nothing but ``carrara.files`` reads the disk: a walk over every call of the package."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from test_layers import PACKAGE

METHODS = {"read_text", "read_bytes"}
CALLS = {
    "json.load",
    "json.loads",
    "torch.load",
    "np.load",
    "np.loadtxt",
    "np.fromfile",
    "np.genfromtxt",
    "np.memmap",
    "numpy.load",
    "Image.open",
    "os.open",
    "io.open",
    "pickle.load",
    "pickle.loads",
    "yaml.load",
    "yaml.safe_load",
    "yaml.full_load",
    "yaml.compose",
    "yaml.load_all",
    "yaml.safe_load_all",
    "tomllib.load",
    "tomllib.loads",
}
NAMES = {"open", "safe_open", "load_file", "read_array", "exec", "eval", "compile"}
IMPORTS = {"pickle", "dill", "joblib", "shelve", "marshal"}


def files() -> list[Path]:
    """All of the package but the door, and that of the runtime, which has no torch."""
    doors = PACKAGE / "files", PACKAGE / "runtime" / "door.py"
    return [path for path in sorted(PACKAGE.rglob("*.py")) if not any(path.is_relative_to(door) for door in doors)]


def faults(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Where something is read, and how."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {alias.name.partition(".")[0] for alias in node.names}
            module = "" if isinstance(node, ast.Import) else str(node.module)
            found = names & IMPORTS if isinstance(node, ast.Import) else {module.partition(".")[0]} & IMPORTS
            found |= {f"{module}.{alias.name}" for alias in node.names if alias.name in NAMES and module != "json"}
            yield from ((node.lineno, name) for name in sorted(found))
        if not isinstance(node, ast.Call):
            continue
        match node.func:
            case ast.Name(id=name) if name in NAMES:
                yield node.lineno, name
            case ast.Attribute(value=value, attr=name):
                whole = f"{ast.unparse(value)}.{name}"
                if whole in CALLS or name in METHODS or (name == "open" and _reads(node)):
                    yield node.lineno, whole if whole in CALLS else name
            case _:
                pass


def _reads(call: ast.Call) -> bool:
    """Whether a call of ``.open`` is one of a path's for reading: it says a mode with an r, or none at all."""
    modes = [one.value for one in (*call.args, *(k.value for k in call.keywords)) if isinstance(one, ast.Constant)]
    return any(isinstance(mode, str) and mode.strip("rbtwax+") == "" and "r" in mode for mode in modes)


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_door_reads_the_disk(path: Path) -> None:
    assert not [f"line {line}: {what}" for line, what in faults(ast.parse(path.read_text(encoding="utf-8")))]


@pytest.mark.parametrize(
    "text",
    [
        "json.loads(x)",
        "open(x)",
        "path.open('rb')",
        "path.open(mode='r')",
        "path.read_text()",
        "Path(x).read_bytes()",
        "torch.load(x, weights_only=True)",
        "np.load(x)",
        "Image.open(x)",
        "safe_open(x, framework='pt')",
        "load_file(x)",
        "yaml.safe_load(x)",
        "os.open(x, 0)",
        "import pickle",
        "from pickle import loads",
        "from safetensors.torch import load_file",
        "from safetensors import safe_open as so",
        "eval(x)",
    ],
)
def test_what_reads_is_found(text: str) -> None:
    assert list(faults(ast.parse(text)))


@pytest.mark.parametrize(
    "text", ["store.open(folder)", "path.open('wb')", "json.dumps(x)", "yaml.safe_dump(x)", "Image.new('L', (1, 1))"]
)
def test_what_writes_is_none_of_it(text: str) -> None:
    assert not list(faults(ast.parse(text)))
