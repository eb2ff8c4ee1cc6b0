"""Mistakes name the field that is wrong."""

from typing import Any

import httpx
import pytest

JOBS, OPENAI = "/api/jobs", "/v1/images/generations"


@pytest.mark.parametrize(
    ("path", "said", "param"),
    [
        (JOBS, {"model": "nothing"}, "model"),
        (JOBS, {"model": "pixels", "ask": {"stepz": 3}}, "stepz"),
        (JOBS, {"model": "pixels", "ask": {"steps": "many"}}, "steps"),
        (JOBS, {"model": "pixels", "ask": {"steps": 100_000}}, "steps"),
        (JOBS, {"model": "pixels", "ask": {"steps": 3, "guidance": 2, "count": 0}}, "count"),
        (JOBS, {"model": "pixels", "ask": {"prompts": ["cat", "bird"], "seed": 4}}, "prompts"),
        (JOBS, {"model": "pixels", "ask": {"sampler": "magic", "seed": 4}}, "sampler"),
        (JOBS, {"model": "pixels", "ask": {"size": "large"}}, "size"),
        (JOBS, {"model": "pixels", "ask": {"size": "9000x9000", "seed": 1}}, "size"),
        (JOBS, {"model": "pixels", "ask": {"interval": [0.9, 0.1], "steps": 3}}, "interval"),
        (JOBS, {"model": "pixels", "ask": {"weak": "nothing"}}, "weak"),
        (JOBS, {"model": "pixels", "ask": {"label": "cat"}}, "label"),
        (JOBS, {"model": "pixels", "vary": ["steps=some"]}, "vary"),
        (JOBS, {"model": "pixels", "verb": "melt"}, "verb"),
        (JOBS, {"model": "pixels", "verb": "inpaint"}, "images"),
        (JOBS, {"model": "pixels", "verb": "img2img", "images": ["gone"]}, "images"),
        (JOBS, {"model": "pixels", "ask": 3}, "ask"),
        (OPENAI, {"model": "nothing", "prompt": "cat"}, "model"),
        (OPENAI, {"prompt": "cat"}, "model"),
        (OPENAI, {"model": "pixels", "prompt": "bird"}, "prompt"),
        (OPENAI, {"model": "pixels", "prompt": "cat", "n": 65}, "n"),
        (OPENAI, {"model": "pixels", "prompt": "cat", "size": "large"}, "size"),
        (OPENAI, {"model": "pixels", "prompt": "cat", "steps": 0}, "steps"),
        (OPENAI, {"model": "pixels", "prompt": "cat", "colour": "red"}, "colour"),
        (OPENAI, {"model": "pixels", "prompt": "cat", "output_format": "gif"}, "output_format"),
    ],
)
def test_the_field_that_is_wrong_is_named(client: httpx.Client, path: str, said: dict[str, Any], param: str) -> None:
    answer = client.post(path, json=said)
    assert answer.status_code in (400, 404), answer.text
    assert answer.json()["error"]["param"] == param, answer.json()


def test_the_option_of_a_verb_is_named(client: httpx.Client, png: bytes) -> None:
    image = client.post("/api/uploads", files={"file": ("a.png", png)}).json()["id"]
    for options, param in (
        ({"strength": "high"}, "strength"),
        ({"power": 1}, "power"),
    ):
        said = {"model": "pixels", "verb": "img2img", "images": [image], "options": options}
        error = client.post(JOBS, json=said).json()["error"]
        assert error["param"] == param, error
    said = {"model": "pixels", "verb": "restore", "images": [image]}
    assert client.post(JOBS, json=said).json()["error"]["param"] == "task"
    assert client.post("/api/uploads", files={"file": ("a.png", b"none")}).json()["error"]["param"] == "file"
    assert client.post("/api/recall", files={"file": ("a.png", png)}).json()["error"]["param"] == "file"
    edit = client.post("/v1/images/edits", files={"image": ("a.png", b"none")}, data={"model": "pixels"})
    assert edit.json()["error"]["param"] == "image"
