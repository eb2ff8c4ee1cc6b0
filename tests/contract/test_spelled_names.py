"""One contract for every name that somebody types: hyphen and underscore are the same, and so are capitals; no two
names differ by these alone; and what is saved has the name as it is known. Names of people's own are never touched."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import get_args

import pytest
from cyclopts import App

from carrara import evaluate
from carrara.cli.app import app
from carrara.cli.edits import edits, verb_first
from carrara.data.emoji import _groups
from carrara.draw import VERBS, Ask
from carrara.draw.ask import settings
from carrara.draw.variation import read_variation
from carrara.draw.verbs.restore import LIKELIHOODS, Restore, Task
from carrara.errors import UserError, alike, close_match, known, meant
from carrara.evaluate.networks import FEATURE_NAMES
from carrara.measure.metrics import METRICS
from carrara.measure.schedules import find_schedule, kinds
from carrara.recipe.loading import dump, load, presets
from carrara.recipe.names import SOURCE, KeyPath, _at, _words, spelled_path, spelled_values
from carrara.sample import GRIDS, METHODS, SAMPLERS, SampleSettings, grid, method, sampler
from carrara.store import Store
from small_models import saved


def other_spellings(name: str) -> set[str]:
    """The name with hyphens, with underscores, and each in capitals."""
    spelt = {name, name.replace("-", "_"), name.replace("_", "-")}
    return spelt | {one.upper() for one in spelt} | {one.title() for one in spelt}


def paths(path: KeyPath = ()) -> Iterator[KeyPath]:
    """All keys of a recipe, with those of all members of all unions."""
    for key in sorted({key for node in _at(path) for key in node.get("properties", ())}):
        yield (*path, key)
        yield from paths((*path, key))


PATHS = tuple(paths())
NAMED: Mapping[str, tuple[Iterable[str], Callable[[str], str]]] = {
    "sampler": (SAMPLERS, lambda name: sampler(name).kind),
    "grid": (GRIDS, lambda name: grid(name).kind),
    "method": (METHODS, lambda name: method(name).kind),
    "schedule": (kinds(), lambda name: find_schedule(name).kind),
    "preset": (presets(), lambda name: str(load(name).preset)),
    "task": (get_args(Task), lambda name: Restore(images=(), task=name).task),
    "likelihood": (LIKELIHOODS, lambda name: Restore(images=(), task="colour", by=name).by),
    "setting": ([field.name for field in fields(SampleSettings)], lambda name: read_variation(f"{name}=1").name),
    "verb": (VERBS, lambda name: verb_first(["edit", "RUN", name])[1]),
    "metric": (METRICS, lambda name: known("metric", name, METRICS)),
    "group of emoji": (_groups(), lambda name: known("group of emoji", name, _groups())),
}
"""Everything else that is called by a name, and the name under which it is found."""


@pytest.mark.parametrize("kind", NAMED)
def test_a_name_is_known_in_its_other_spellings(kind: str) -> None:
    names, found = NAMED[kind]
    for name in names:
        assert {found(other) for other in other_spellings(name)} == {name}


@pytest.mark.parametrize("kind", NAMED)
def test_no_two_names_are_alike(kind: str) -> None:
    names = list(NAMED[kind][0])
    assert len({alike(name) for name in names}) == len(names) > 1


def test_every_key_of_a_recipe_is_known_in_its_other_spellings() -> None:
    assert len(PATHS) > 200
    for path in PATHS:
        for spelt in (str.upper, lambda key: key.replace("_", "-")):
            assert spelled_path(map(spelt, path)) == path


def test_every_word_of_a_recipe_is_known_in_its_other_spellings() -> None:
    words = [(path, word) for path in PATHS for word in _words(_at(path)) if path != SOURCE]
    assert {("model", "schedule"), ("data", "fit"), ("train", "precision"), ("data", "source", "kind")} <= {
        path for path, _ in words
    }
    for path, word in words:
        assert {spelled_values(other, path) for other in other_spellings(word)} == {word}, path


def test_no_two_keys_and_no_two_words_of_a_place_are_alike() -> None:
    for path in ((), *PATHS):
        for names in (
            {key for node in _at(path) for key in node.get("properties", ())},
            set(_words(_at(path))),
        ):
            assert len({alike(name) for name in names}) == len(names), path


def flags(of: App) -> Iterator[tuple[App, str]]:
    """Each command with each of its long options."""
    for argument in of.assemble_argument_collection() if of.default_command else []:
        yield from ((of, name) for name in argument.names if name.startswith("--"))
    for name in of:
        if not name.startswith("-"):
            yield from flags(of[name])


def test_an_option_is_known_with_underscores() -> None:
    found = [*flags(app), *flags(edits)]
    assert len(found) > 100
    for command, name in found:
        other = f"--{name[2:].replace('-', '_')}"
        assert command.assemble_argument_collection().match(other)[0].names.count(name) == 1
    own = [{alike(name) for at, name in found if at is command} for command, _ in found]
    assert [len(names) for names in own] == [len({n for at, n in found if at is command}) for command, _ in found]


def test_features_are_known_in_their_other_spellings(tmp_path: Path) -> None:
    assert evaluate.extractor("EfficientNet_Lite0").name == evaluate.extractor().name
    for name in FEATURE_NAMES[1:]:
        kind = name.partition(":")[0]
        for other in other_spellings(kind):
            with pytest.raises(UserError, match="need weights from your disk") as raised:
                evaluate.extractor(other)
            assert f"'{kind}'" in str(raised.value)


def test_a_recipe_is_the_same_however_it_is_spelt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    right = ["data.held_out=0.1", "model.schedule=scaled_linear", "sample.sampler=euler_a", "data.fit=contain"]
    right += ["model.backbone={kind: unet, modulation: scale_shift}", "train.ema_half_life=3", "data.source=Own-Path"]
    other = ["Data.Held-Out=0.1", "model.schedule.kind=Scaled-Linear", "sample.sampler=Euler-A", "data.FIT=Contain"]
    other += ["model.backbone={KIND: UNet, Modulation: scale-shift}", "train.ema-half-life=3", "data.source=Own-Path"]
    assert dump(load("autoencoder-kl-f4", right)) == dump(load("Autoencoder_KL_f4", other))
    Path("a.yaml").write_text("preset: few_step\nTrain:\n  weight-decay: 0.25\nobjective: Few-Step\n")
    assert load("a.yaml").train.weight_decay == 0.25
    assert (load("a.yaml").preset, load("a.yaml").objective.kind) == ("few-step", "few_step")


def test_an_override_in_another_spelling_changes_what_stands_below_it() -> None:
    recipe = load("pixel", ["model.schedule={kind: scaled_linear, steps: 50}", "Model.Schedule.Kind=scaled-linear"])
    assert recipe.model.schedule.kind == "scaled_linear" and recipe.model.schedule.steps == 50
    assert load("pixel", ["data.held-out=0.5", "data.held_out=0.25"]).data.held_out == 0.25


def test_a_word_alone_as_the_source_takes_keys_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("data:\n  source: photos\n")
    for name, overrides in (("pixel", ["data.source=photos"]), (tmp_path / "a.yaml", [])):
        recipe = load(name, [*overrides, "data.source.path=others", "train.steps=1"])
        assert recipe.data.source is not None and str(recipe.data.source) == "others"


def test_a_key_that_stands_there_twice_is_told_in_both_spellings(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("data:\n  held_out: 0.1\n  held-out: 0.2\n")
    with pytest.raises(UserError, match=r"line 3: the key 'data\.held_out' stands here a second time"):
        load(tmp_path / "a.yaml")


@pytest.mark.parametrize(
    ("override", "own"),
    [
        ("data.source=Digits", "path: Digits"),
        ("data.source={kind: folder, path: Scaled-Linear}", "path: Scaled-Linear"),
        ("model.conditioner={kind: labels, classes: [A-b, a_b, Labels]}", "classes: [A-b, a_b, Labels]"),
        ("model.conditioner={kind: encoder, source: My-Encoder}", "source: My-Encoder"),
        ("model.first_stage={kind: trained, run: Few_Step}", "run: Few_Step"),
    ],
)
def test_what_is_a_users_own_is_left_as_it_is(override: str, own: str) -> None:
    assert own in dump(load("pixel", [override]))


def test_settings_are_chosen_by_any_spelling(tmp_path: Path) -> None:
    model = Store().open(saved("pixels", tmp_path / "run")).model
    right = settings(model, Ask(sampler="heun", method="cfg_zero").changes)
    assert settings(model, Ask(sampler="Heun", method="CFG-Zero").changes) == right
    assert right.grid.kind == "karras"


@pytest.mark.parametrize(
    ("word", "name"), [("Scaled-Linar", "scaled_linear"), ("SIGMOD", "sigmoid"), ("rectified-flo", "rectified_flow")]
)
def test_the_nearest_name_is_found_in_any_spelling(word: str, name: str) -> None:
    assert close_match(word, kinds()) == f" Did you mean '{name}'?"
    assert meant(word, kinds()) is None


def test_a_run_that_is_called_like_a_schedule_is_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    own = Store().open(saved("pixels", Path("Scaled-Linear"))).model.config.schedule
    assert find_schedule("Scaled-Linear") == own
    assert find_schedule("scaled-linear").kind == "scaled_linear"
