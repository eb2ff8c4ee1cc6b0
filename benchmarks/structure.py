"""How is the package built? Lines, names, parameters, imports, and what runs on the way of ``carrara sample``.

    python benchmarks/structure.py                                  this checkout, in half a minute
    python benchmarks/structure.py --list                           and the places behind each figure
    python benchmarks/structure.py --before ../carrara-of-then      two checkouts, side by side
    python benchmarks/structure.py --source ../carrara-of-then --out benchmarks/results/structure.md

A figure is a function of a ``Package`` that returns a number and the places it counted; its docstring says what it
counts. To add one, write the function and name it in ``READ``. ``ASKED`` says what a figure shall become. All but the
figures of the way are read from the source, without importing it. The way is traced: a tiny run is trained, for a step,
and sampled from.
"""

import argparse
import ast
import re
import subprocess
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median, quantiles

import checkout
from checkout import Package, part_of, written

Found = tuple[float, list[str]]
"""A figure: the number, and the places behind it."""

HERE = Path(__file__).resolve().parent
LOWER = {
    *(
        "types",
        "shapes",
        "pixels",
        "seeds",
        "errors",
        "kinds",
        "device",
        "docs",
        "memory",
        "threads",
        "ranks",
        "plots",
        "files",
        "noise",
        "nn",
        "data",
    ),
    *("autoencoder", "conditioning", "backbone", "medium", "denoiser", "objective", "sample", "train", "evaluate"),
}
"""The lower half: the parts that know pictures, mathematics and networks, and nothing of runs and commands."""
SPEAKERS = ("cli", "serve")
"""The parts that may spell options and verbs, for they are theirs."""
SPELLED = re.compile(r"(?<!var\()(?<![\w-])--[a-z][\w-]*+(?!:)|\bcarrara [a-z]+")
"""``--option`` or ``carrara verb``, but no variable of a style sheet."""
MANY = 8
LONG_FUNCTION = 80
LONG_FILE = 400


# Lines and files


def lines(package: Package) -> Found:
    """All lines of the Python files of src/, as `wc -l` counts them."""
    counts = {file: text.count("\n") for file, text in package.texts.items()}
    return sum(counts.values()), [f"{file}: {count}" for file, count in largest(counts)]


def lines_written(package: Package) -> Found:
    """The same without the lines that are blank."""
    counts = {file: written(text) for file, text in package.texts.items()}
    return sum(counts.values()), [f"{file}: {count}" for file, count in largest(counts)]


def lines_everywhere(package: Package) -> Found:
    """All lines of the Python files in src/, tests/, benchmarks/ and examples/."""
    counts = {}
    for folder in ("src", "tests", "benchmarks", "examples"):
        paths = (path for path in (package.checkout / folder).rglob("*.py") if ".peers" not in path.parts)
        counts[folder] = sum(path.read_text().count("\n") for path in paths)
    return sum(counts.values()), [f"{folder}: {count}" for folder, count in counts.items()]


def files(package: Package) -> Found:
    """Python files of src/."""
    return len(package.texts), list(package.texts)


def files_long(package: Package) -> Found:
    """Files of more than 400 lines."""
    counts = {file: text.count("\n") for file, text in package.texts.items()}
    return listed(f"{file}: {count}" for file, count in largest(counts) if count > LONG_FILE)


def share_of_part(package: Package) -> Found:
    """The part with the most lines, with its sub-packages, in per cent of all lines of src/."""
    counts = Counter[str]()
    for file, text in package.texts.items():
        counts[part_of(file)] += text.count("\n")
    return share(counts)


def share_of_folder(package: Package) -> Found:
    """The folder with the most lines that are not blank, without its sub-folders, in per cent of all of these lines."""
    counts = Counter[str]()
    for file, text in package.texts.items():
        counts[file.rpartition("/")[0] or "carrara"] += written(text)
    return share(counts)


def share(counts: Counter[str]) -> Found:
    total = counts.total()
    places = [f"{name}: {count} ({100 * count / total:.1f} %)" for name, count in counts.most_common()]
    return round(100 * max(counts.values()) / total, 1), places


def largest(counts: dict[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: -item[1])


def listed(places: Iterator[str]) -> Found:
    found = list(places)
    return len(found), found


# Functions


def functions(package: Package) -> Found:
    """Functions and methods, nested ones too."""
    return listed(f"{file}:{node.lineno} {node.name}" for file, node in package.functions())


def length_median(package: Package) -> Found:
    """Half of the functions have at most so many lines, from `def` on, without the docstring."""
    return median(checkout.lengths(package).values()), []


def length_most(package: Package) -> Found:
    """Nine tenths of the functions have at most so many lines."""
    return round(quantiles(checkout.lengths(package).values(), n=10, method="inclusive")[8], 1), []


def length_longest(package: Package) -> Found:
    """The lines of the longest function."""
    longest = largest(checkout.lengths(package))
    return longest[0][1], [f"{place}: {count}" for place, count in longest[:10]]


def functions_long(package: Package) -> Found:
    """Functions of more than 80 lines."""
    return listed(f"{place}: {count}" for place, count in largest(checkout.lengths(package)) if count > LONG_FUNCTION)


def functions_of_many(package: Package) -> Found:
    """Functions with more than 8 parameters: keyword-only ones, *args and **kwargs count, self and cls do not."""
    counts = {f"{file}:{node.lineno} {node.name}": len(checkout.parameters(node)) for file, node in package.functions()}
    return listed(f"{place}: {count}" for place, count in largest(counts) if count > MANY)


# Names and kinds


def isinstance_lines(package: Package) -> Found:
    """Lines of src/ on which `isinstance` is called."""
    at = sorted({(file, node.lineno) for file, node in package.nodes() if checkout.is_call(node, "isinstance")})
    return listed(f"{file}:{line} {package.texts[file].splitlines()[line - 1].strip()}" for file, line in at)


def isinstance_calls(package: Package) -> Found:
    """Calls of `isinstance` in src/."""
    counts = Counter(file for file, node in package.nodes() if checkout.is_call(node, "isinstance"))
    return counts.total(), [f"{file}: {count}" for file, count in counts.most_common()]


def names_twice(package: Package) -> Found:
    """Public names of functions, classes and constants that two or more modules of src/ define at their top level."""
    places: dict[str, dict[str, int]] = defaultdict(dict)
    for file, tree in package.trees.items():
        for name, line in checkout.defined(tree):
            if not name.startswith("_"):
                places[name].setdefault(file, line)
    twice = {name: at for name, at in sorted(places.items()) if len(at) > 1}
    return listed(f"{name}: {', '.join(f'{file}:{line}' for file, line in at.items())}" for name, at in twice.items())


def files_asking_rank(package: Package) -> Found:
    """Files that ask for an array's axes or choose by its size: `.ndim`, `.dim()`, `len(x.shape)`, `match x.shape`."""
    places = defaultdict[str, set[int]](set)
    for file, node in package.nodes():
        if isinstance(node, ast.expr | ast.stmt) and checkout.asks_rank(node):
            places[file].add(node.lineno)
    return listed(f"{file}:{','.join(map(str, sorted(at)))}" for file, at in places.items())


# What is said


def spelling(file: str, node: ast.AST) -> Iterator[str]:
    if part_of(file) not in SPEAKERS:
        yield from (
            f"{file}:{line} {' '.join(text.split())}" for line, text in checkout.literals(node) if SPELLED.search(text)
        )


def messages_spelled(package: Package) -> Found:
    """Texts of errors outside cli/ and serve/ that spell `--option` or `carrara verb`."""
    errors = [(file, node) for file, node in package.nodes() if checkout.is_error(node)]
    return listed(place for file, node in errors for place in spelling(file, node))


def message_files(package: Package) -> Found:
    """The files that these are in."""
    counts = Counter(place.split(":")[0] for place in messages_spelled(package)[1])
    return len(counts), [f"{file}: {count}" for file, count in counts.most_common()]


def texts_spelled(package: Package) -> Found:
    """All string literals outside cli/ and serve/ that do so, errors or not, but no docstrings."""
    return listed(place for file, tree in package.trees.items() for place in spelling(file, tree))


# Imports


def cycles_loaded(package: Package) -> Found:
    """Groups of modules that import each other when they are loaded."""
    edges = {file: checkout.imported(package, checkout.when_loaded(tree)) for file, tree in package.trees.items()}
    return listed(" <-> ".join(ring) for ring in checkout.cycles(edges))


def cycles_anywhere(package: Package) -> Found:
    """The same, with imports inside functions and for types; the package's own `__init__.py` is left out."""
    edges = {file: checkout.imported(package, ast.walk(tree)) - {"__init__.py"} for file, tree in package.trees.items()}
    return listed(" <-> ".join(ring) for ring in checkout.cycles(edges))


def imports_up(package: Package) -> Found:
    """Files that import a part of a higher level than theirs, or of none (LAYERS in tests/test_layers.py)."""
    top = 1 + max(package.levels.values())
    places = []
    for file, tree in package.trees.items():
        if part_of(file) not in ("__init__", "__main__"):
            others = {part_of(other) for other in checkout.imported(package, ast.walk(tree))} - {
                "__init__",
                part_of(file),
            }
            mine = package.levels.get(part_of(file), -1)
            places += [f"{file}: {part}" for part in sorted(others) if package.levels.get(part, top) > mine]
    return len(places), places


# The way of `carrara sample`


def way_all(package: Package) -> Found:
    """Files in which any function or method runs while `carrara sample RUN 7 -n 2 --out DIR` does, imports left out."""
    return listed(f"{file}: {names[0]}" for file, names in checkout.way(package).items())


def way_functions(package: Package) -> Found:
    """Those of them in which a function of the module itself runs: methods and functions in functions do not count."""
    own = {file: [name for name in names if name.isidentifier()] for file, names in checkout.way(package).items()}
    return listed(f"{file}: {names[0]}" for file, names in own.items() if names)


def way_above(package: Package) -> Found:
    """Files in which anything runs, and which are above the lower half (`LOWER` in benchmarks/structure.py)."""
    return listed(f"{file}: {names[0]}" for file, names in checkout.way(package).items() if part_of(file) not in LOWER)


Figure = Callable[[Package], Found]

READ: dict[str, Figure] = {
    "lines": lines,
    "lines that are not blank": lines_written,
    "lines with tests, benchmarks and examples": lines_everywhere,
    "files": files,
    f"files above {LONG_FILE} lines": files_long,
    "largest part's share of the lines, %": share_of_part,
    "largest folder's share of the lines, %": share_of_folder,
    "lines with isinstance": isinstance_lines,
    "calls of isinstance": isinstance_calls,
    "public names defined twice or more": names_twice,
    f"functions with more than {MANY} parameters": functions_of_many,
    "files asking for a rank": files_asking_rank,
    "messages that spell a command": messages_spelled,
    "files with such messages": message_files,
    "texts that spell a command": texts_spelled,
    "import cycles": cycles_loaded,
    "import cycles, in functions too": cycles_anywhere,
    "imports of a higher level": imports_up,
    "functions": functions,
    "lines of a function, median": length_median,
    "lines of a function, nine tenths": length_most,
    "lines of a function, longest": length_longest,
    f"functions above {LONG_FUNCTION} lines": functions_long,
}
TRACED: dict[str, Figure] = {
    "files on the way of sample": way_functions,
    "files on the way of sample, with methods": way_all,
    "files on the way of sample, upper half": way_above,
}
FIGURES = READ | TRACED

# ---- What is asked for and does not hold yet: printed beside the figures, and asserted nowhere ----
ASKED: dict[str, int] = {
    "largest part's share of the lines, %": 12,
    "largest folder's share of the lines, %": 12,
    "lines with isinstance": 80,
    "public names defined twice or more": 20,
    "files on the way of sample": 15,
}
# ----------------------------------------------------------------------------------------------------


def table(packages: dict[str, Package], figures: dict[str, Figure]) -> Iterator[str]:
    """The figures of one checkout or two, and what is asked."""
    yield f"| figure | {' | '.join(packages)} | asked |"
    yield f"|---|{'---|' * len(packages)}---|"
    for name, figure in figures.items():
        values = " | ".join(f"{figure(package)[0]:,}" for package in packages.values())
        yield f"| {name} | {values} | {f'≤ {ASKED[name]}' if name in ASKED else ''} |"


def parts(packages: dict[str, Package]) -> Iterator[str]:
    """The lines and files of each part."""
    counts: list[Counter[str]] = []
    for package in packages.values():
        counts += [Counter(part_of(file) for file in package.texts), Counter[str]()]
        for file, text in package.texts.items():
            counts[-1][part_of(file)] += text.count("\n")
    titles = " | ".join(f"files, {name} | lines, {name} | %" for name in packages)
    yield f"| part | {titles} |"
    yield f"|---|{'---|---|---|' * len(packages)}"
    for part in sorted(set[str]().union(*counts), key=lambda part: -counts[1][part]):
        pairs = zip(counts[::2], counts[1::2], strict=True)
        cells = (f"{files[part]} | {lines[part]:,} | {100 * lines[part] / lines.total():.1f}" for files, lines in pairs)
        yield f"| {part} | {' | '.join(cells)} |"


def definitions(figures: dict[str, Figure]) -> Iterator[str]:
    return (f"* **{name}**: {' '.join((figure.__doc__ or '').split())}" for name, figure in figures.items())


def order(packages: dict[str, Package]) -> Iterator[str]:
    """The files on the way, in the order of their first calls."""
    for name, package in packages.items():
        yield f"{name}: " + ", ".join(f"`{place.split(':')[0]}`" for place in way_all(package)[1]) + "."


def everything(packages: dict[str, Package], figures: dict[str, Figure]) -> Iterator[str]:
    """The places behind each figure."""
    for name, figure in figures.items():
        for which, package in packages.items():
            value, places = figure(package)
            yield f"\n### {name}, {which}: {value:,}\n"
            yield from (f"    {place}" for place in places)


def named(package: Package) -> str:
    """The commit of a checkout, with a + if files in src/ are not as they were then; or its folder's name."""
    git = ["git", "-C", str(package.checkout)]
    commit = subprocess.run([*git, "rev-parse", "--short=7", "HEAD"], capture_output=True, text=True)
    changed = subprocess.run([*git, "status", "--porcelain", "src"], capture_output=True, text=True)
    return package.checkout.name if commit.returncode else commit.stdout.strip() + "+" * bool(changed.stdout)


def page(packages: dict[str, Package], figures: dict[str, Figure]) -> Iterator[str]:
    yield from ("# The structure of the package", "")
    yield from table(packages, figures)
    yield from ("", "## Parts", "")
    yield from parts(packages)
    if "files on the way of sample" in figures:
        yield from ("", "## The way of `carrara sample`, by first call", "")
        yield from order(packages)
    yield from ("", "## What is counted", "", "Of the Python files of src/carrara, where nothing else is said.", "")
    yield from definitions(figures)


def chosen() -> argparse.ArgumentParser:
    about, examples, *_ = (__doc__ or "").split("\n\n")
    parser = argparse.ArgumentParser(
        description=about, epilog=f"examples:\n{examples}", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", metavar="DIR", type=Path, default=HERE.parent, help="a checkout; this one")
    parser.add_argument("--before", metavar="DIR", type=Path, help="another one, in a column before it")
    parser.add_argument("--out", metavar="FILE", type=Path, help="where the figures go, too, as Markdown")
    parser.add_argument("--list", action="store_true", help="show the places behind each figure")
    parser.add_argument("--static", action="store_true", help="run nothing, and leave out what is on the way of sample")
    return parser


def main() -> None:
    parser = chosen()
    options = parser.parse_args()
    try:
        checkouts = [Package(checkout) for checkout in (options.before, options.source) if checkout]
    except FileNotFoundError as error:
        parser.error(str(error))
    figures = READ if options.static else FIGURES
    titles = ["before", "now"] if options.before else [""]
    packages = {f"{title} {named(at)}".strip(): at for title, at in zip(titles, checkouts, strict=True)}
    text = "\n".join(page(packages, figures)) + "\n"
    print(text)
    if options.list:
        print("\n".join(everything(packages, figures)))
    if options.out:
        options.out.write_text(text)


if __name__ == "__main__":
    main()
