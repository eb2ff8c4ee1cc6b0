"""A page of HTML that stands alone: text, tables, pictures and curves in one file, without a script or a remote asset.

Blocks are plain values that know how to be written. Pictures are PNGs inside the file, charts are SVG in the page's own
colours, light or dark as the reader's device is. The page forbids itself to load anything, and whatever text it is
given is written as text.
"""

import io
from abc import ABC, abstractmethod
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Literal, final

from PIL import Image

from carrara.plots import Chart, colour_of

Mark = Literal["good", "note", "warning"]

MISSING = "—"
"""What stands in a table where there is nothing."""

_BROAD = 640  # pixels; wider pictures stand alone in their row

_STYLE = """
:root { color-scheme: light dark; --ink: #1f2933; --soft: #52606d; --paper: #fcfcfb; --card: #ffffff; --rule: #d9dde2;
  --good: #1d7a46; --note: #8a5a00; --warning: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ec; --soft: #a5b0bb; --paper: #14171a; --card: #1c2024;
  --rule: #363d44; --good: #6fcf97; --note: #f2b544; --warning: #ff8a80; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
main { max-width: 68rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .3rem; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 2.6rem 0 .8rem; padding-bottom: .3rem; border-bottom: 1px solid var(--rule); }
p.lead, figcaption, caption { color: var(--soft); }
p.lead { margin: 0; }
.wide { overflow-x: auto; margin: 0 0 1.2rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .94rem; }
caption { text-align: left; padding: .3rem 0; }
th, td { text-align: left; vertical-align: top; padding: .32rem .9rem .32rem 0; border-bottom: 1px solid var(--rule); }
thead th { color: var(--soft); font-weight: 600; }
tbody th { font-weight: 500; overflow-wrap: anywhere; }
td { overflow-wrap: anywhere; }
ul.findings { list-style: none; margin: 0; padding: 0; }
ul.findings li { border-left: .3rem solid var(--rule); padding: .25rem 0 .25rem .8rem; margin: .5rem 0; }
ul.findings b { text-transform: capitalize; }
.good { border-color: var(--good) !important; } .good b { color: var(--good); }
.note { border-color: var(--note) !important; } .note b { color: var(--note); }
.warning { border-color: var(--warning) !important; } .warning b { color: var(--warning); }
.figures { display: grid; gap: 1.2rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); }
figure { margin: 0; min-width: 0; background: var(--card); border: 1px solid var(--rule); border-radius: .5rem;
  padding: .8rem; }
figure.broad { grid-column: 1 / -1; }
figure img { display: block; max-width: 100%; height: auto; margin: 0 auto; border-radius: .2rem; background: #fff; }
figcaption { font-size: .9rem; margin-top: .5rem; overflow-wrap: anywhere; }
svg.chart { display: block; width: 100%; height: auto; }
svg.chart text { fill: currentColor; font: 13px system-ui, sans-serif; }
svg.chart .grid { stroke: var(--rule); }
svg.chart polyline { fill: none; stroke-width: 2; stroke-linejoin: round; }
ul.legend { list-style: none; display: flex; flex-wrap: wrap; gap: .1rem 1rem; margin: .3rem 0 0; padding: 0;
  font-size: .88rem; }
ul.legend span { display: inline-block; width: 1rem; height: .25rem; margin-right: .4rem; vertical-align: middle; }
details { margin: 1rem 0; } summary { cursor: pointer; }
pre { overflow-x: auto; background: var(--card); border: 1px solid var(--rule); border-radius: .5rem; padding: .8rem;
  font-size: .85rem; }
"""
_HEAD = """<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<link rel="icon" href="data:,">"""


class Block(ABC):
    """A part of a page."""

    @abstractmethod
    def html(self) -> str:
        """The block as it stands in a page."""


@final
@dataclass(frozen=True)
class Text(Block):
    """A paragraph."""

    text: str

    def html(self) -> str:
        return f"<p>{escape(self.text)}</p>"


@final
@dataclass(frozen=True, kw_only=True)
class Table(Block):
    """Rows under headings; the first cell of a row is the heading of the row."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]

    def html(self) -> str:
        head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in self.head)
        rows = "".join(
            f'<tr><th scope="row">{escape(first)}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in rest)}</tr>'
            for first, *rest in self.rows
        )
        return (
            f'<div class="wide"><table><caption>{escape(self.caption)}</caption><thead><tr>{head}</tr></thead>'
            f"<tbody>{rows}</tbody></table></div>"
        )


@final
@dataclass(frozen=True)
class Findings(Block):
    """Sentences, each with what it amounts to."""

    sentences: Sequence[tuple[Mark, str]]

    def html(self) -> str:
        items = (f'<li class="{mark}"><b>{mark}</b>: {escape(text)}</li>' for mark, text in self.sentences)
        return f'<ul class="findings">{"".join(items)}</ul>'


@final
@dataclass(frozen=True, kw_only=True)
class Figure(Block):
    """A picture, as a PNG in the page.

    Attributes:
        alt: what can be seen on it, for those who cannot.
        caption: written below.
    """

    image: Image.Image
    alt: str
    caption: str

    def html(self) -> str:
        file = io.BytesIO()
        self.image.save(file, format="PNG", optimize=True)
        source = f"data:image/png;base64,{b64encode(file.getvalue()).decode()}"
        width, height = self.image.size
        broad = ' class="broad"' if width > _BROAD else ""
        return (
            f'<figure{broad}><img src="{source}" alt="{escape(self.alt)}" width="{width}" height="{height}">'
            f"<figcaption>{escape(self.caption)}</figcaption></figure>"
        )


@final
@dataclass(frozen=True)
class Curves(Block):
    """A chart with its legend."""

    chart: Chart

    def html(self) -> str:
        named = (
            f'<li><span style="background:{colour_of(k)}"></span>{escape(line.name)}</li>'
            for k, line in enumerate(self.chart.lines)
        )
        legend = f'<ul class="legend">{"".join(named)}</ul>' if len(self.chart.lines) > 1 else ""
        return f"<figure>{self.chart.svg()}{legend}<figcaption>{escape(self.chart.title)}</figcaption></figure>"


@final
@dataclass(frozen=True)
class SideBySide(Block):
    """Blocks beside each other where there is room."""

    blocks: Sequence[Block]

    def html(self) -> str:
        return f'<div class="figures">{"".join(block.html() for block in self.blocks)}</div>'


@final
@dataclass(frozen=True, kw_only=True)
class Folded(Block):
    """A long text that opens when it is asked for."""

    summary: str
    text: str

    def html(self) -> str:
        return f"<details><summary>{escape(self.summary)}</summary><pre>{escape(self.text)}</pre></details>"


@final
@dataclass(frozen=True)
class Section(Block):
    """Blocks under a heading; nothing at all without blocks."""

    title: str
    blocks: Sequence[Block]

    def html(self) -> str:
        if not self.blocks:
            return ""
        return f"<section><h2>{escape(self.title)}</h2>{''.join(block.html() for block in self.blocks)}</section>"


def page(title: str, lead: str, sections: Sequence[Section]) -> str:
    """A whole page.

    Args:
        title: also of the window.
        lead: a sentence below it.
    """
    body = "\n".join(section.html() for section in sections)
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head>{_HEAD}<title>{escape(title)}</title><style>{_STYLE}</style></head>\n'
        f'<body><main><header><h1>{escape(title)}</h1><p class="lead">{escape(lead)}</p></header>\n{body}\n'
        "</main></body></html>\n"
    )


def leaves(tree: Mapping[str, Any], path: str = "") -> list[tuple[str, str]]:
    """The leaves of a tree of plain values, by their dotted names, as one writes them for a reader."""
    found: list[tuple[str, str]] = []
    for key, value in tree.items():
        found += leaves(value, f"{path}{key}.") if isinstance(value, Mapping) else [(f"{path}{key}", _written(value))]
    return found


def aligned(columns: Sequence[Mapping[str, str]]) -> list[tuple[str, ...]]:
    """The rows of a table: one for each name that some column has, in their order."""
    names = dict.fromkeys(name for column in columns for name in column)
    return [(name, *(column.get(name, MISSING) for column in columns)) for name in names]


def _written(value: Any) -> str:
    match value:
        case None | "":
            return MISSING
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.5g}"
        case list():
            return ", ".join(_written(part) for part in value) or "none"
        case _:
            return str(value)
