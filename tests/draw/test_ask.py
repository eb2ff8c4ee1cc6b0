"""What can be asked: each option is explained once, where it is; the command and Python have the same ones."""

from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from carrara.cli import app as command
from carrara.cli.options import Output
from carrara.cli.sample import Launch, SampleOutput
from carrara.docs import field_docs
from carrara.draw import VERBS, Ask, Verb, request
from carrara.errors import UserError
from carrara.medium import Picture
from carrara.store import OpenModel
from drawings import awake

NAMES = {"prompts": "--prompt", "label": "--class"}
"""Options that are not called as their fields are, on the command line."""
STANDING_ALONE = {"images", "image"}
VALUES: dict[str, dict[str, Any]] = {
    "prompts": {"prompts": ("a cat",)},
    "count": {"count": 2},
    "seed": {"seed": 3},
    "sampler": {"sampler": "ddim"},
    "grid": {"grid": "karras"},
    "steps": {"steps": 7},
    "guidance": {"guidance": 3.0},
    "method": {"method": "apg"},
    "interval": {"interval": (0.2, 0.8)},
    "rescale": {"rescale": 0.5},
    "clip": {"clip": False},
    "threshold": {"threshold": 0.99},
    "weak": {"weak": "runs/weak"},
    "classifier": {"classifier": "runs/judge", "label": "cat"},
    "label": {"classifier": "runs/judge", "label": "cat"},
    "classifier_scale": {"classifier_scale": 2.0},
    "lora": {"lora": ("runs/tuned:0.5",)},
    "negative": {"negative": "a dog"},
    "size": {"size": 16},
    "tile": {"tile": "8x12"},
    "fast": {"fast": True},
    "cache": {"cache": 2},
}
"""For each option of drawing, an ask that says it."""


def names(what: type, leave: frozenset[str] = frozenset()) -> set[str]:
    return {field.name for field in fields(what)} - leave


def flags(of: set[str]) -> set[str]:
    return {NAMES.get(name, "--" + name.replace("_", "-")) for name in of - STANDING_ALONE}


def options(*words: str) -> set[str]:
    """The first name of every option that the command takes after these words."""
    found = command.app
    for word in words:
        found = found[word]
    collection = found.assemble_argument_collection()
    return {argument.name for argument in collection if argument.name.startswith("--")}


@pytest.mark.parametrize("what", [Ask, Output, SampleOutput, *VERBS.values()], ids=lambda what: what.__name__)
def test_every_option_is_explained(what: type) -> None:
    docs = field_docs(what)
    assert names(what) - {name for name, text in docs.items() if text.endswith(".")} == set()


def test_every_option_of_drawing_is_tried_here() -> None:
    assert set(VALUES) == names(Ask)


def test_the_command_draws_with_what_can_be_asked() -> None:
    assert options("sample") == flags(names(Ask) - {"prompts"} | names(SampleOutput) | names(Launch))


@pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS)
def test_the_command_edits_with_what_can_be_asked(verb: type[Verb]) -> None:
    assert options("edit", verb.name) == flags(names(Ask, verb.leaves) | names(verb) | names(Output))


def made(verb: type[Verb], **said: Any) -> Verb:
    """A verb that says what it cannot do without, and ``said``."""
    needed: dict[str, Any] = {"images": (), "image": Picture.of(np.zeros((8, 8, 3), np.uint8)), "task": "deblur"}
    return verb(**{name: value for name, value in needed.items() if name in names(verb)} | said)


@pytest.mark.parametrize(
    ("verb", "left"),
    [(verb, left) for verb in VERBS for left in sorted(VERBS[verb].leaves) if left not in names(VERBS[verb])],
)
def test_an_option_that_a_verb_leaves_out_is_refused(model: OpenModel, verb: str, left: str) -> None:
    with pytest.raises(UserError, match=rf"{verb} takes no ([a-z_]+, no )*{left}\b.*: leave that out") as error:
        made(VERBS[verb]).request(model, Ask(**VALUES[left]))
    assert "\n" not in str(error.value)


@pytest.fixture(scope="module")
def model() -> OpenModel:
    return OpenModel(model=awake())


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"count": 0}, "0 samples are none: ask for at least 1"),
        ({"count": -3}, "-3 samples are none"),
        ({"count": 100_001}, "too many at once: ask for at most 100000, and more with another seed"),
        ({"seed": 1 << 62}, "is too large"),
        ({"seed": -(1 << 62)}, "is too large"),
        ({"size": "big"}, "'big' is no size: say height x width, as in 96x64"),
        ({"size": (8, -8)}, "is no size"),
        ({"tile": "8x"}, "is no size"),
        ({"label": "cat"}, "who shall find 'cat'\\? Name a trained classifier, too: classifier=RUN"),
    ],
    ids=str,
)
def test_what_cannot_be_asked_of_any_model_is_refused_when_it_is_said(said: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        Ask(**said)


@pytest.mark.parametrize(
    ("verb", "said", "words"),
    [
        ("restore", {"task": "sharpen"}, "unknown task 'sharpen': it is one of upscale, deblur, colour"),
        ("restore", {"by": "dpss"}, "unknown likelihood 'dpss'.* Did you mean 'dps'?"),
        ("restore", {"noise": 256.0}, "noise 256 is none"),
        ("restore", {"factor": 1}, "factor 1 makes nothing larger"),
        ("invert", {"refinements": -1}, "-1 refinements cannot be"),
        ("rewrite", {"refinements": 1001}, "1001 refinements cannot be"),
        ("outpaint", {"canvas": "wide"}, "'wide' is no size"),
    ],
    ids=str,
)
def test_what_no_verb_can_do_is_refused_when_it_is_said(verb: str, said: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        made(VERBS[verb], **said)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"sampler": "dim"}, "unknown sampler 'dim'.* Did you mean 'ddim'?"),
        ({"grid": "kerras"}, "unknown time grid 'kerras'.* Did you mean 'karras'?"),
        ({"method": "apgg"}, "unknown method of guidance 'apgg'.* Did you mean 'apg'?"),
        ({"steps": 0}, "sampling settings do not work"),
        ({"prompts": ("cow",)}, "unknown label 'cow'"),
    ],
    ids=str,
)
def test_what_this_model_cannot_draw_is_refused_when_it_is_requested(
    model: OpenModel, said: dict[str, Any], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        request(model, Ask(**said))


def test_an_ask_is_frozen_and_every_size_means_height_and_width() -> None:
    ask = Ask(size="96x64", tile=8)
    assert (ask.pixel_size, ask.window) == ((96, 64), (8, 8))
    assert ask == Ask(size=(96, 64), tile="8")
    with pytest.raises(AttributeError):
        ask.seed = 1  # type: ignore[misc]
