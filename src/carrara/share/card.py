"""The model card: a ``README.md`` with front matter as the Hub reads it, made of facts alone.

The part that is made and the part that is the user's are told apart by two comments: a fingerprint before the first,
and a line between them. So a card is made anew as often as one likes: what stands below the line stays, and keys of the
front matter that nothing here computes stay, too; where the part that is made was edited, nothing is overwritten.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from json import dumps
from shlex import quote
from typing import Any

import yaml

from carrara.errors import UserError, option
from carrara.files import Malformed, parse_yaml
from carrara.kinds import mapping_of
from carrara.share.facts import Facts, number

PICTURE = "samples/card.png"
"""Where the card's picture lies, beside it."""
NOTES = "<!-- carrara: what stands below this line is yours, and stays when the card is made anew -->"
PLACEHOLDER = "OWNER/NAME"
_SEAL = "<!-- carrara: card {} -->"
_SEALED = re.compile(r"<!-- carrara: card (?P<seal>[0-9a-f]{16}) -->\n")
_OURS = ("model-index", "tags")


@dataclass(frozen=True, kw_only=True)
class Parts:
    """A card, taken apart.

    Attributes:
        front: the keys of its front matter.
        seal: the fingerprint that it says it has; empty if it has none.
        body: what is made.
        notes: what is the user's.
    """

    front: Mapping[str, Any] = field(default_factory=dict[str, Any])
    seal: str = ""
    body: str = ""
    notes: str = ""

    @property
    def untouched(self) -> bool:
        """Whether the part that is made is as it was made."""
        return self.seal != "" and self.seal == _fingerprint(self.body)


def apart(text: str) -> Parts:
    """Takes a card apart; one that anybody else wrote is all body, and not ``untouched``.

    Raises:
        UserError: its front matter cannot be read.
    """
    text = text.replace("\r\n", "\n")
    front: Mapping[str, Any] = {}
    if text.startswith("---\n") and "\n---\n" in text[4:]:
        head, _, text = text[4:].partition("\n---\n")
        try:
            front = mapping_of(parse_yaml(head).values) or {}
        except (Malformed, yaml.MarkedYAMLError):
            raise UserError("the front matter of the card, between its lines ---, is no YAML: mend it") from None
    found = _SEALED.search(text)
    if found is None or NOTES not in text:
        return Parts(front=front, body=text)
    body, _, notes = text[found.end() :].partition(NOTES)
    return Parts(front=front, seal=found["seal"], body=body, notes=notes)


def written(
    facts: Facts,
    before: Parts | None = None,
    *,
    to: str = PLACEHOLDER,
    licence: str | None = None,
    note: str | None = None,
    overwrite: bool = False,
) -> str:
    """A card.

    Args:
        before: the card that it takes the place of.
        to: the repository where the model will be.
        licence: as the Hub names it, such as ``cc-by-4.0``; None is what ``before`` says.
        note: text to put below what is the user's already.
        overwrite: whether what was edited may be lost.

    Raises:
        UserError: ``before`` was edited above the line.
    """
    if before is not None and not before.untouched and not overwrite:
        raise UserError(
            "README.md was not made here, or was edited above its line 'what stands below is yours': move your text "
            f"below that line and remove the rest, or say {option('overwrite')}, which keeps only what is below it"
        )
    old = before or Parts()
    kept = {key: value for key, value in old.front.items() if key not in _OURS}
    front = {**_front(facts), **kept, **({} if licence is None else {"license": licence})}
    own: Any = old.front.get("tags")
    tags = dict.fromkeys([*_tags(facts), *(str(tag) for tag in (own if isinstance(own, list) else []))])
    front["tags"] = list(tags)
    body = "\n" + "\n".join(_body(facts, to, str(front.get("license", "")))) + "\n"
    notes = old.notes or "\n"
    if note is not None and note not in notes:
        notes = f"{notes.rstrip()}\n\n{note}\n"
    head = yaml.safe_dump(front, sort_keys=False, allow_unicode=True, width=100)
    return f"---\n{head}---\n{_SEAL.format(_fingerprint(body))}\n{body}{NOTES}{notes}"


def _fingerprint(body: str) -> str:
    return hashlib.blake2b(body.strip().encode("utf-8", "replace"), digest_size=8).hexdigest()


def _front(facts: Facts) -> dict[str, Any]:
    task = {
        "text": "text-to-image",
        "class": "unconditional-image-generation",
        "none": "unconditional-image-generation",
    }
    front: dict[str, Any] = {"library_name": "carrara"}
    if facts.pictures and facts.conditions in task:
        front["pipeline_tag"] = task[facts.conditions]
    if results := [*_results(facts, task)]:
        front["model-index"] = [{"name": facts.name, "results": results}]
    return front


def _results(facts: Facts, task: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """What was measured, as the Hub's model-index has it: numbers by measurement and name."""
    data = dict(facts.data).get("data", "its own data")
    kind = task.get(facts.conditions, "other") if facts.pictures else "other"
    for name, rows in facts.metrics.items():
        metrics = [{"type": f"{name}.{key}", "name": key, "value": number(text)} for key, text in rows.items()]
        yield {
            "task": {"type": kind},
            "dataset": {"type": data, "name": data, "split": "held out by Carrara"},
            "metrics": metrics,
        }


def _tags(facts: Facts) -> list[str]:
    kind = dict(facts.what)["kind"]
    return ["carrara", "diffusion" if kind == "diffusion model" else kind]


def _body(facts: Facts, to: str, licence: str) -> Iterator[str]:
    yield f"# {facts.name}"
    yield "\nThis card was written by `carrara card` from what the run's folder tells."
    if facts.picture is not None:
        yield f"\n![{facts.picture[1]}]({PICTURE})\n\n{facts.picture[1]}, none of them chosen."
    yield from _section("What it is", facts.what)
    yield from _section("Data", facts.data)
    yield f"\nTerms of the data: {facts.terms or 'not known to this run'}."
    said = f"`{licence}`, as its owner says" if licence else "not said by its owner: ask before you use it"
    yield f"Licence of the model: {said}."
    if facts.training:
        yield from _section("Training", facts.training)
    if facts.recipe:
        yield "\n## Recipe\n\n<details><summary>recipe.yaml, complete</summary>\n"
        yield f"```yaml\n{facts.recipe}```\n\n</details>"
    yield from _measured(facts)
    yield from _use(facts, to)
    yield from _limits(facts)
    yield "\n## Notes\n"


def _section(title: str, rows: Sequence[tuple[str, str]]) -> Iterator[str]:
    yield f"\n## {title}\n\n| | |\n|---|---|"
    yield from (f"| {_cell(name)} | {_cell(text)} |" for name, text in rows)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;").replace("`", "'")


def _measured(facts: Facts) -> Iterator[str]:
    yield "\n## Measurements\n"
    if not facts.metrics:
        yield "Nothing was measured of these weights."
        return
    yield "By `carrara evaluate`, on data that were held out of the training.\n"
    yield "| measurement | | value |\n|---|---|---|"
    for name, rows in facts.metrics.items():
        yield from (f"| {_cell(name)} | {_cell(key.replace('_', ' '))} | {text} |" for key, text in rows.items())


def _use(facts: Facts, to: str) -> Iterator[str]:
    yield f"\n## How to use it\n\n```\npip install 'carrara[hub]'\ncarrara pull {to} --run {_run(to)}"
    if facts.conditions == "stage":
        yield f"carrara evaluate {_run(to)} --metrics reconstruction\n```"
        return
    told = quote(facts.example) if facts.example else ""
    yield f"carrara sample {_run(to)} {told} -n 4\n```".replace("  ", " ")
    prompt = f"{dumps(facts.example)}, " if facts.example else ""
    yield f'\n```python\nimport carrara\n\nmodel = carrara.load("{_run(to)}")'
    yield f'model.generate({prompt}count=4)[0].save("sample.png")\n```'


def _run(to: str) -> str:
    return f"runs/{to.rpartition('/')[2].lower()}"


def _limits(facts: Facts) -> Iterator[str]:
    """What the facts say against it."""
    yield "\n## What it is not for\n"
    examples, data = dict(facts.data).get("examples"), dict(facts.data).get("data")
    if examples and data:
        yield f"* It was trained on {examples} examples of {data}. What these do not show it need not know."
    if "memorisation" not in facts.metrics and facts.conditions != "stage":
        measuring = "`carrara evaluate RUN --metrics memorisation`"
        yield f"* Whether it repeats examples that it has seen was not measured ({measuring})."
    if not facts.metrics:
        yield "* How good it is was not measured."
    if not facts.terms:
        yield "* Who has rights in the data is not known to this run. Ask its owner before you use what it makes."
