"""How the package is built (benchmarks/structure.py): bounds that hold, and what the figures count."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

from structure import ASKED, FIGURES, LOWER, Package, part_of

ROOT = Path(__file__).parents[1]
BOUNDS = {
    "files above 400 lines": 0,
    "functions above 80 lines": 0,
    "lines of a function, median": 8,
    "lines of a function, nine tenths": 30,
    "import cycles": 0,
    "import cycles, in functions too": 0,
    "imports of a higher level": 0,
}
"""The largest that a figure may be: what CONTRIBUTING.md says, and docs/architecture.md."""


@pytest.fixture(scope="module")
def package() -> Package:
    return Package(ROOT)


def written(folder: Path, **modules: str) -> Package:
    """A checkout with these modules; two underscores in a name are a folder."""
    for name, text in modules.items():
        path = folder / "src" / "carrara" / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Package(folder)


@pytest.mark.parametrize("name", BOUNDS)
def test_bounds_hold(package: Package, name: str) -> None:
    value, places = FIGURES[name](package)
    assert value <= BOUNDS[name], places


def test_what_is_asked_is_measured() -> None:
    assert ASKED.keys() <= FIGURES.keys()
    assert all(figure.__doc__ for figure in FIGURES.values())


def test_the_lower_half_is_below_the_upper(package: Package) -> None:
    assert {part_of(file) for file in package.texts} >= LOWER, "a part is gone: take it out of LOWER"
    upper = package.levels.keys() - LOWER
    assert upper >= {"cli", "recipe"}


@pytest.mark.slow
def test_the_way_of_a_sample_begins_at_the_command(package: Package) -> None:
    upper, on_way = FIGURES["files on the way of sample, upper half"](package), FIGURES["files on the way of sample"]
    assert on_way(package)[1][0] == "cli/entry.py: main"
    assert upper[0] <= ASKED["files on the way of sample"], upper[1]


@pytest.mark.parametrize(
    ("figure", "text", "count"),
    [
        ("functions with more than 8 parameters", "def f(self, a, b, /, c, d, *e, f, g, **h): ...", 0),
        ("functions with more than 8 parameters", "def f(self, a, b, /, c, d, *e, f, g, h, **i): ...", 1),
        ("lines with isinstance", "a = isinstance(1, int) or isinstance(2, int)\nb = 'isinstance(3, int)'", 1),
        ("calls of isinstance", "a = isinstance(1, int) or isinstance(2, int)\nb = 'isinstance(3, int)'", 2),
        ("files asking for a rank", "a = len(x.shape) + y.ndim", 1),
        ("files asking for a rank", "a = len(x) + y.shape[0]", 0),
        ("messages that spell a command", "raise UserError(f'{a} is wrong: say '\n 'carrara sample --steps 4')", 1),
        ("messages that spell a command", "def f():\n '''As in --steps 4.'''\n raise UserError('a - b, a--b')", 0),
        ("texts that spell a command", "say = 'name it with --run'\n'''As in carrara sample.'''", 1),
        ("texts that spell a command", "sheet = ':root { --ink: black } p { color: var(--ink) }'", 0),
        ("functions above 80 lines", "def f():\n '''" + "\n" * 90 + "'''" + "\n 1" * 79, 0),
        ("functions above 80 lines", "def f():\n '''" + "\n" * 90 + "'''" + "\n 1" * 80, 1),
    ],
)
def test_figures_count(tmp_path: Path, figure: str, text: str, count: int) -> None:
    assert FIGURES[figure](written(tmp_path, part__module=text))[0] == count


def test_names_are_of_modules(tmp_path: Path) -> None:
    text = "A: int = 1\n_b = 2\ndef c(): ...\nclass D:\n def e(self): ..."
    value, places = FIGURES["public names defined twice or more"](written(tmp_path, one=text, two=text))
    assert value == 3
    assert places[0] == "A: one.py:1, two.py:1"


def test_shares_are_of_parts_and_of_folders(tmp_path: Path) -> None:
    package = written(tmp_path, large__one="a\n\n" * 2, large__inner__two="a\n" * 2, small__three="a\n" * 2)
    assert FIGURES["largest part's share of the lines, %"](package)[0] == 75
    assert FIGURES["largest folder's share of the lines, %"](package)[0] == 33.3


def test_cycles_are_found(tmp_path: Path) -> None:
    late = "from carrara.one import a"
    package = written(tmp_path, one="import carrara.two", two=f"def f():\n {late}", three=late)
    assert FIGURES["import cycles"](package) == (0, [])
    assert FIGURES["import cycles, in functions too"](package) == (1, ["one.py <-> two.py"])
    assert FIGURES["import cycles"](written(tmp_path, two=late)) == (1, ["one.py <-> two.py"])
    assert FIGURES["import cycles"](written(tmp_path, two=f"if TYPE_CHECKING:\n {late}"))[0] == 0


def test_imports_go_down_or_are_told(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_layers.py").write_text('LAYERS = ({"low"}, {"high"})')
    up = written(
        tmp_path, high="import carrara.low.module", low__module="from carrara import high", new="import carrara.high"
    )
    assert FIGURES["imports of a higher level"](up) == (2, ["low/module.py: high", "new.py: high"])


def test_what_is_no_checkout_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no checkout of Carrara"):
        Package(tmp_path)
