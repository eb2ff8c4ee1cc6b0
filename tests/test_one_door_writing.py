"""Nothing but ``carrara.files`` writes to the disk: a walk over every call of the package."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from test_layers import PACKAGE, files

WRITING = {
    "write_bytes", "write_text", "touch", "mkdir", "makedirs", "rename", "renames", "unlink", "rmdir", "removedirs",
    "rmtree", "copytree", "copyfile", "copy2", "symlink_to", "hardlink_to", "link", "symlink", "save_file", "tofile",
    "savetxt", "truncate", "ftruncate", "NamedTemporaryFile", "TemporaryDirectory", "mkdtemp", "mkstemp", "fdopen",
    "memmap", "open_memmap", "removexattr", "chmod", "mkfifo", "mknod",
}  # fmt: skip
"""Calls of these names write, whoever they belong to."""
OF = {
    ("os", "replace"), ("os", "remove"), ("os", "open"), ("os", "write"), ("shutil", "copy"), ("shutil", "move"),
    ("torch", "save"), ("np", "save"), ("np", "savez"), ("np", "savez_compressed"),
}  # fmt: skip
"""Calls of these names write if they belong to these modules."""
INTO_OPEN = {("np", "save"), ("np", "savez_compressed")}
"""These are allowed into a file that is open: its name is ``file``."""


def calls(path: Path) -> Iterator[tuple[int, str]]:
    """Calls that write to the disk, with their lines."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        owner = getattr(node.func.value, "id", "") if isinstance(node.func, ast.Attribute) else ""
        first = node.args[0] if node.args else None
        into_open = (owner, name) in INTO_OPEN and isinstance(first, ast.Name) and first.id == "file"
        door = isinstance(node.func, ast.Name) and name == "write_bytes"  # the door's own
        if (name in WRITING and not door) or ((owner, name) in OF and not into_open):
            yield node.lineno, ast.unparse(node.func)
        if name == "open" and any(_writes(value) for value in [*node.args, *(k.value for k in node.keywords)]):
            yield node.lineno, ast.unparse(node)
        if name == "replace" and owner not in ("text", "") and len(node.args) == 1 and not node.keywords:
            yield node.lineno, ast.unparse(node)  # a path's; a text's has two arguments


def _writes(value: ast.expr) -> bool:
    """Whether a mode of opening writes."""
    return isinstance(value, ast.Constant) and isinstance(value.value, str) and bool(set(value.value) & set("wax+"))


@pytest.mark.parametrize("path", files(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_writing_goes_through_one_door(path: Path) -> None:
    name = str(path.relative_to(PACKAGE))
    if name.startswith("files/") or name == "runtime/door.py":
        return
    found = list(calls(path))
    assert not found, f"{name} writes by itself: carrara.files.writing has what it needs: {found}"


@pytest.mark.parametrize(
    "line",
    (
        "p.write_text('a')",
        "p.open('w')",
        "open(p, mode='ab')",
        "np.save(p, x)",
        "os.replace(a, b)",
        "a.rename(b)",
        "a.replace(b)",
        "shutil.rmtree(p)",
        "torch.save(x, p)",
        "save_file(x, p)",
        "tempfile.mkdtemp()",
    ),
)
def test_what_writes_is_found(line: str, tmp_path: Path) -> None:
    (tmp_path / "it.py").write_text(line)
    assert list(calls(tmp_path / "it.py"))


@pytest.mark.parametrize("line", ["'a'.replace('b', 'c')", "replace(config, a=1)", "p.open('rb')", "np.save(file, x)"])
def test_what_does_not_is_not(line: str, tmp_path: Path) -> None:
    (tmp_path / "it.py").write_text(line)
    assert not list(calls(tmp_path / "it.py"))
