"""Numbers of recipes, options and models are finite; infinity is taken where it has a meaning, and nowhere else."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import yaml
from pydantic import TypeAdapter, ValidationError

from carrara.cli.entry import main
from carrara.draw import VERBS, Ask
from carrara.errors import UserError
from carrara.model import ModelConfig
from carrara.recipe.loading import dump, load
from carrara.recipe.schema import Recipe
from carrara.toolkit import ask_of, verb_of

SCHEMA = Recipe.model_json_schema()
INFINITE = {("train", "clip"), ("autoencoder", "train", "clip"), ("sample", "sampler", "churn_max")}
"""What is off, or has no end, where it is infinite."""
Section = tuple[tuple[str, ...], dict[str, Any]]


def numbers(node: dict[str, Any], path: tuple[str, ...] = (), kind: str | None = None) -> Iterator[Section]:
    """Every number of a schema: its path, and the section that it stands in with a gap, ``...``, in its place."""
    if "$ref" in node:
        yield from numbers(SCHEMA["$defs"][node["$ref"].rpartition("/")[2]], path, kind)
    for member in (*node.get("anyOf", ()), *node.get("oneOf", ())):
        yield from numbers(member, path, kind)
    own = node.get("properties", {}).get("kind", {}).get("const")
    for name, below in node.get("properties", {}).items():
        for found, values in numbers(below, (*path, name)):
            yield found, {name: values, **({"kind": own} if own else {})}
    if node.get("type") == "number":
        yield path, ...
    if node.get("type") == "array":
        for below in node.get("prefixItems", ()) or [node.get("items", {})]:
            yield from (
                (found, [values] * max(1, len(node.get("prefixItems", ())))) for found, values in numbers(below, path)
            )


def filled(values: Any, number: float) -> Any:
    if values is ...:
        return number
    if isinstance(values, list):
        return [filled(value, number) for value in values]
    return {name: filled(value, number) for name, value in values.items()} if isinstance(values, dict) else values


FOUND = list(numbers(SCHEMA))
LISTS = {("data", "source", "columns"), ("model", "conditioner", "encoders")}
"""Lists of sections."""


def test_all_kinds_of_numbers_are_found():
    paths = {path for path, _ in FOUND}
    wanted = {("train", "lr"), ("train", "betas"), ("objective", "weighting", "gamma"), ("model", "schedule", "s")}
    assert len(FOUND) > 60 and wanted | INFINITE <= paths


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf], ids=str)
def test_no_number_of_a_recipe_is_none(number):
    for path, values in FOUND:
        if path in INFINITE or path[:3] in LISTS:
            continue
        section = filled(values, number)[path[0]]
        with pytest.raises(UserError) as error:
            load("digits", [f"{path[0]}={yaml.safe_dump(section, default_flow_style=True).strip()}"])
        key = ".".join(path)
        lines = str(error.value).splitlines()
        assert any(key in line and "finite number" in line for line in lines), (key, str(error.value))


@pytest.mark.parametrize("number", [".nan", ".inf"])
@pytest.mark.parametrize("key", ["mean", "std"])
def test_no_number_of_a_column_is_none(key, number):
    with pytest.raises(UserError, match=r"data\.source\.columns is .*finite number"):
        load("digits", [f"data.source={{kind: table, path: a, columns: [{{name: a, {key}: {number}}}]}}"])


@pytest.mark.parametrize("number", [".nan", ".inf"])
def test_no_number_of_an_encoder_is_none(number):
    with pytest.raises(UserError, match=r"model\.conditioner\.encoders is .*finite number"):
        load("digits", [f"model.conditioner={{kind: clip, encoders: [{{eps: {number}}}]}}"])


@pytest.mark.parametrize("number", [".nan", "-.inf"])
@pytest.mark.parametrize("key", ["train.clip={}", "sample.sampler={{kind: heun, churn_max: {}}}"])
def test_where_infinity_means_something_no_other_such_number_does(key, number):
    with pytest.raises(UserError, match=r"clip must be above 0|churn_min is at most churn_max"):
        load("digits", [key.format(number)])


def test_a_sentence_names_the_key_and_the_rule():
    with pytest.raises(UserError) as error:
        load("sprites", ["train.lr=.nan", "model.schedule.s=.inf"])
    assert str(error.value).splitlines() == [
        "argument 'model.schedule.s=.inf': model.schedule.s is inf: input should be a finite number.",
        "argument 'train.lr=.nan': train.lr is nan: input should be a finite number.",
    ]


def test_infinity_stays_where_it_means_something(tmp_path):
    recipe = load("digits", ["train.clip=.inf", "sample.sampler={kind: heun, churn: 1.0}"])
    assert recipe.train.clip == math.inf and recipe.sample.sampler.churn_max == math.inf
    file = tmp_path / "again.yaml"
    file.write_text(dump(recipe))
    assert load(file) == recipe


@pytest.mark.parametrize("number", ["nan", "inf", "-inf"])
@pytest.mark.parametrize(
    "words",
    [
        "sample RUN --guidance N",
        "sample RUN --interval 0 N",
        "sample RUN --classifier-scale N",
        "edit RUN img2img a.png --strength N",
        "edit RUN restore a.png --task blur --blur N",
        "distill RUN --steps 2 --minutes N",
    ],
)
def test_no_option_is_none(capsys, words, number):
    given = [number if word == "N" else word for word in words.split()]
    if number == "-inf":
        given = [*given[:-2], f"{given[-2]}={number}"] if given[-2].startswith("--") else given
    with pytest.raises(SystemExit) as end:
        main(given)
    said = capsys.readouterr().err
    assert end.value.code == 2 and "finite number" in said and "Traceback" not in said


def test_python_refuses_them_too():
    for name in ("guidance", "rescale", "threshold", "classifier_scale"):
        with pytest.raises(UserError, match=f"{name} cannot be nan: .*finite number"):
            ask_of(**{name: math.nan})
    with pytest.raises(UserError, match="finite number"):
        ask_of(interval=(0.0, math.inf))
    assert ask_of(guidance=2.0) == Ask(guidance=2.0)
    with pytest.raises(UserError, match=r"strength cannot be nan: .*finite number"):
        verb_of(VERBS["variation"], (np.zeros((4, 4, 3), np.uint8),), {"strength": math.nan})


def test_a_models_numbers_are_finite():
    values = {"shape": [2], "backbone": "mlp", "schedule": {"kind": "cosine", "s": math.nan}, "parameterization": "v"}
    with pytest.raises(ValidationError, match="finite number"):
        TypeAdapter(ModelConfig).validate_python(values)
