"""The tables of a folder: what their rows say of its pictures.

A row can name nothing that the folder does not show anyway: what it names is looked for among the pictures that are
listed there. All that is wrong is collected, and said at once.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path

from carrara.data.folder.columns import FILE, TEXT, Line, brief, line_of, name_in, plain, read_in
from carrara.data.folder.layout import Part, counted, part_of
from carrara.data.folder.listing import Listing, ending_of, stem
from carrara.data.folder.reading import Reading
from carrara.data.folder.tables import TableRow, columns_of, rows_of
from carrara.errors import UserError
from carrara.files import BadFile, Malformed, is_regular, shown

METADATA = "metadata"
"""What a table is called that must be one."""
_LOOKED_AT = 100  # rows from which the column of the names is chosen
_MOST = 32  # tables of a folder that are looked into, beside those that are called metadata
_SHOWN = 20
_ANSWERS = "submission"


@dataclass(kw_only=True)
class Told:
    """What the tables of a folder say.

    Attributes:
        lines: of each picture that they tell of.
        remarks: which tables are read, and which columns.
        faults: what is wrong, with file and line.
        unused: tables that tell of nothing, with the reason.
        missing: rows whose pictures are not there, by their tables.
    """

    lines: dict[str, Line] = field(default_factory=dict[str, Line])
    remarks: list[str] = field(default_factory=list[str])
    faults: list[str] = field(default_factory=list[str])
    unused: dict[str, str] = field(default_factory=dict[str, str])
    missing: dict[str, list[str]] = field(default_factory=dict[str, list[str]])


class Names:
    """Finds the picture of a folder that a row names: by its name from the table's folder or from the whole folder; or
    by the end of that name, without its ending or in other letters, if only one picture has it.

    Args:
        pictures: their names within the folder.
    """

    def __init__(self, pictures: Iterable[str]) -> None:
        self._all = dict.fromkeys(pictures)
        self._by_end: dict[str, str | None] | None = None

    def __call__(self, name: str, within: str) -> str | None:
        """The picture's name; None if there is none, or there are several.

        Args:
            within: the folder of the table.
        """
        name = name.replace("\\", "/")
        if "://" in name:
            name = name.partition("?")[0]
        plain = "/".join(part for part in name.split("/") if part not in ("", "."))
        for exact in (f"{within}/{plain}" if within else plain, plain):
            if exact in self._all and not name.startswith("/"):
                return exact
        ends = self._ends()
        return next((found for end in _ends_of(plain) if (found := ends.get(end))), None)

    def has_several(self, name: str) -> bool:
        """Whether several pictures have the end of a name."""
        ends = self._ends()
        return any(end in ends for end in _ends_of(name.replace("\\", "/")))

    def _ends(self) -> Mapping[str, str | None]:
        """Of each end of a name, the picture; None where several have it."""
        if self._by_end is None:
            self._by_end = {}
            for picture in self._all:
                lower = picture.casefold()
                for whole in (lower, stem(lower)):
                    parts = whole.split("/")
                    for k in range(max(0, len(parts) - 3), len(parts)):
                        self._add("/".join(parts[k:]), picture)
                if (bare := stem(lower).rpartition("/")[2]).isdigit():  # 001 is 1, as a table of numbers has it
                    self._add(bare.lstrip("0"), picture)
        return self._by_end

    def _add(self, end: str, picture: str) -> None:
        assert self._by_end is not None
        self._by_end[end] = picture if self._by_end.get(end, picture) == picture else None


def _ends_of(name: str) -> Iterator[str]:
    """In small letters, the longest first."""
    parts = [part for part in name.casefold().split("/") if part not in ("", ".", "..")]
    yield from ("/".join(parts[k:]) for k in range(len(parts)))


def read_metadata(folder: Path, listing: Listing, reading: Reading) -> Told:
    """Reads the tables of a folder.

    Raises:
        UserError: the table that is asked for is not there.
    """
    told, names = Told(), Names(listing.pictures)
    for table in _tables(folder, listing, reading):
        needed = _is_needed(table, reading)
        try:
            _read(folder, table, names, told, needed)
        except BadFile as error:
            if needed:
                told.faults.append(error.message)
            else:
                told.unused[table] = f"it {error.why}"
        except UserError as error:
            if needed:
                raise
            told.unused[table] = error.message
    return told


def report(told: Told) -> None:
    """Refuses metadata in which anything is wrong.

    Raises:
        UserError: with all faults, up to a limit.
    """
    if not told.faults:
        return
    if len(told.faults) == 1:
        raise UserError(told.faults[0])
    listed = "\n".join(f"  {fault}" for fault in told.faults[:_SHOWN])
    more = len(told.faults) - _SHOWN
    rest = f"\n  and {more} more" if more > 0 else ""
    raise UserError(f"{len(told.faults)} things are wrong in the metadata:\n{listed}{rest}")


def _tables(folder: Path, listing: Listing, reading: Reading) -> list[str]:
    match reading.metadata:
        case "none":
            return []
        case "auto":
            needed = [table for table in listing.tables if _is_needed(table, reading)]
            others = [table for table in listing.tables if not _is_needed(table, reading)]
            return needed + others[:_MOST]
        case name if is_regular(folder / name) or name in listing.tables:
            return [name]
        case name:
            raise UserError(f"data.source.metadata is '{shown(name)}', and there is no such file in '{shown(folder)}'")


def _is_needed(table: str, reading: Reading) -> bool:
    """Whether a file must be a table of pictures, because it is called so."""
    own = stem(table).rpartition("/")[2].lower() == METADATA and ending_of(table) != ".json"  # as albums have it
    return reading.metadata == table or own


def _read(folder: Path, table: str, names: Names, told: Told, needed: bool) -> None:
    rows, within = rows_of(folder / table), table.rpartition("/")[0]
    first = list(islice(rows, _LOOKED_AT))
    column = _column_of_names(first, names, within)
    if not first or _ANSWERS in table.lower():
        told.unused[table] = "it has no rows" if not first else "answers to be handed in are no classes"
        return
    if column is None:
        why = _without_names(first, names, within)
        if needed:
            told.faults += [_at(folder, table, f"{row.place}: {row.fault}") for row in first if row.fault]
            if not any(row.fault for row in first):
                told.faults.append(_at(folder, table, f"{first[0].place}: {why}"))
        else:
            told.unused[table] = why
        return
    lines, faults, missing = _matched(chain(first, rows), column, names, within, _part_by_name(table))
    if not needed and (not lines or len(faults) > len(lines)):
        told.unused[table] = faults[0] if faults else "it names no picture of the folder"
        return
    if needed:
        told.faults += [_at(folder, table, fault) for fault in faults]
    else:
        missing += faults
    _merge(told, table, lines, first, column)
    if not lines and missing:
        told.faults.append(_at(folder, table, f"{missing[0]}, nor any of the others that it names"))
    elif missing and table not in told.unused:
        told.missing[table] = missing


def _part_by_name(table: str) -> Part:
    """The part of a split that a whole table is of: ``train.csv``, ``trainLabels.csv``, ``captions_val2017.json``."""
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+", stem(table).rpartition("/")[2])
    parts = {part for word in words if (part := part_of(word))}
    return parts.pop() if len(parts) == 1 else ""


def _at(folder: Path, table: str, fault: str) -> str:
    return f"{shown(folder / table)}, {fault}"


def _column_of_names(rows: Sequence[TableRow], names: Names, within: str) -> str | None:
    """The column that names pictures: of those that are usually called so the first that does, else any that does."""
    columns = columns_of(rows)
    if any(names(one, within) for one in columns):  # a row in the place of the columns' names
        return None
    usual = sorted((one for one in columns if plain(one) in FILE), key=lambda one: FILE.index(plain(one)))
    others = [one for one in columns if one not in usual and plain(one) not in TEXT]
    for column in (*usual, *others):
        values = [name for row in rows if (name := name_in(row.values, column)) is not None]
        found = sum(names(value, within) is not None for value in values)
        if found and (column in usual or 2 * found > len(values)):
            return column
    return usual[0] if usual else None


def _without_names(rows: Sequence[TableRow], names: Names, within: str) -> str:
    """Why nothing is known of the pictures."""
    columns = columns_of(rows)
    if not columns:
        return next((f"{row.place}: {row.fault}" for row in rows if row.fault), "it has no rows")
    if any(names(one, within) for one in columns):
        return f'its first line names no columns: write one above it, such as "{FILE[0]},text" or "{FILE[0]},label"'
    found = ", ".join(map(shown, columns[:6]))
    return f'no column names pictures of the folder (there are {found}): call the one that does "{FILE[0]}"'


def _matched(
    rows: Iterable[TableRow], column: str, names: Names, within: str, part: Part
) -> tuple[dict[str, Line], list[str], list[str]]:
    """What rows say of pictures; what is wrong; and which rows name what is not there."""
    lines, faults, missing = dict[str, Line](), list[str](), list[str]()
    for row in rows:
        name = name_in(row.values, column)
        if row.fault or name is None:
            faults.append(f"{row.place}: {row.fault or _no_name(row, column)}")
            continue
        picture = names(name, within) or (names(f"{part}/{name}", within) if part else None)
        if picture is None:
            several = names.has_several(name)
            what = f"several pictures are called {brief(name)}: write their folders too" if several else ""
            missing.append(f"{row.place}: {what or f'there is no picture {brief(name)} in the folder'}")
            continue
        try:
            line = line_of({key: value for key, value in row.values.items() if key != column}, row.place)
            if line.map is not None:
                line = replace(line, map=_map(line.map, names, within))
        except Malformed as error:
            faults.append(f"{row.place}: {error}")
            continue
        lines[picture] = _both(lines[picture], line) if picture in lines else line
    return lines, faults, missing


def _no_name(row: TableRow, column: str) -> str:
    return f'no name of a picture under "{shown(column)}", but {brief(row.values.get(column))}'


def _map(name: str, names: Names, within: str) -> str:
    found = names(name, within)
    if found is None:
        raise Malformed(f'"map" is the name of a picture in the folder, and there is no {brief(name)}')
    return found


def _both(first: Line, second: Line) -> Line:
    """What two rows say of a picture: all captions and classes, and of the rest what the first one says."""
    texts = None if first.texts is second.texts is None else (*(first.texts or ()), *(second.texts or ()))
    return replace(
        first,
        texts=texts and tuple(dict.fromkeys(texts)),
        labels=tuple(dict.fromkeys((*first.labels, *second.labels))),
        vector=second.vector if first.vector is None else first.vector,
        map=first.map or second.map,
        part=first.part or second.part,
    )


def _filled(line: Line, other: Line) -> Line:
    """What a table says of a picture, and of what it does not say another one's."""
    return replace(
        line,
        texts=other.texts if line.texts is None else line.texts,
        labels=line.labels or other.labels,
        vector=other.vector if line.vector is None else line.vector,
        map=line.map or other.map,
        part=line.part or other.part,
    )


def _merge(told: Told, table: str, lines: Mapping[str, Line], first: Sequence[TableRow], column: str) -> None:
    """Adds what a table says to what others said, which goes before."""
    said_before = {file: tuple(_kinds(told.lines[file])) for file in lines if file in told.lines}
    counts = Counter(kind for line in lines.values() for kind in _kinds(line))
    news = {kind for file, line in lines.items() for kind in _kinds(line) if kind not in said_before.get(file, ())}
    if counts and not news:
        told.unused[table] = "other tables tell the same of its pictures, and go before"
        return
    if not counts:
        known = ", ".join(sorted({shown(one) for one in columns_of(first)} - {shown(column)})[:6]) or "nothing else"
        told.unused[table] = (
            f'it names pictures, and none of its columns is known ({known}): call captions "text", classes "label", '
            'and numbers "vector"'
        )
        return
    part = _part_by_name(table)
    for picture, line in lines.items():
        line = replace(line, part=line.part or part) if part else line
        told.lines[picture] = _filled(told.lines[picture], line) if picture in told.lines else line
    said = ", ".join(f"{kind} of {count}" for kind, count in counts.items())
    used, rest = _columns(first, column)
    passed = f"; passed over: {', '.join(rest[:6])}" if rest else ""
    told.remarks.append(
        f"{shown(table)} tells of {counted(len(lines), 'picture')}: {said} (columns {', '.join(used)}{passed}); "
        "data.source.metadata=none does not read it"
    )


def _kinds(line: Line) -> Iterator[str]:
    if line.texts:
        yield "captions"
    if line.labels:
        yield "classes"
    if line.vector is not None:
        yield "vectors"
    if line.map is not None:
        yield "maps"
    if line.part:
        yield "parts of a split"


def _columns(rows: Sequence[TableRow], column: str) -> tuple[list[str], list[str]]:
    """The columns that are read, and the others."""
    used = {column}.union(*(read_in({key: row.values[key] for key in row.values if key != column}) for row in rows))
    columns = columns_of(rows)
    return [shown(one) for one in columns if one in used], [shown(one) for one in columns if one not in used]
