"""Adapters in the studio: which fit which model, drawing with them, and what pictures say of them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from adapters_learned import family, learned
from studios import CPU, bytes_of, live, made, settings_of

import carrara.serve.adapters as served_adapters
from carrara import pixels
from carrara.draw import Ask, collect, request
from carrara.lora import read_adapter, shapes_of
from carrara.medium import read_about
from carrara.store import Store

TWO = ["watercolour:0.8", "pencil:1"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    return family(tmp_path_factory.mktemp("adapters"))


@pytest.fixture(scope="module")
def served(runs: tuple[Path, ...]) -> Iterator[tuple[httpx.Client, Any]]:
    with live(settings_of(*runs)) as here:
        yield here


def offered(client: httpx.Client, model: str) -> tuple[list[str], dict[str, str]]:
    """The adapters that a model may be given, and what the strangers among them began with."""
    about = client.get(f"/api/models/{model}").raise_for_status().json()
    options = [one for one in about["options"] if one["name"] == "lora"]
    assert all(one["type"] == "weighed" and one["main"] for one in options)
    return options[0]["choices"] if options else [], about["strangers"]


def recalled(client: httpx.Client, content: bytes) -> dict[str, Any]:
    return client.post("/api/recall", files={"file": ("a.png", content)}).raise_for_status().json()


def test_a_header_says_what_an_adapter_is_for(runs: tuple[Path, ...]) -> None:
    for run in runs[3:]:
        assert shapes_of(run / "model") == {name: one.shape for name, one in read_adapter(run / "model").items()}


def test_each_model_is_offered_what_fits_and_no_other_is_opened(client: httpx.Client, served: Any) -> None:
    assert offered(client, "base") == (["watercolour", "pencil"], {"pencil": "twin"})
    assert served[1].shelf.opened_ids() == ["base"]
    assert offered(client, "twin") == (["pencil", "watercolour"], {"watercolour": "base"})
    assert offered(client, "wide") == (["waves"], {})
    assert offered(client, "watercolour") == (["pencil"], {"pencil": "twin"})
    assert offered(client, "waves") == ([], {})


def test_a_header_is_read_once_and_again_when_its_file_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, runs = list[Path](), family(tmp_path)

    def counted(path: Path) -> dict[str, tuple[int, ...]]:
        read.append(path)
        return shapes_of(path)

    monkeypatch.setattr(served_adapters, "shapes_of", counted)
    with live(settings_of(*runs)) as (client, _):
        for model in ("base", "twin", "base"):
            offered(client, model)
        assert sorted(read) == sorted(run / "model" for run in runs[3:])
        (runs[3] / "model" / "adapter_model.safetensors").write_bytes(b"damaged")
        assert offered(client, "base")[0] == ["pencil"] and len(read) == 4


def test_a_job_adds_what_the_command_would(client: httpx.Client, runs: tuple[Path, ...]) -> None:
    ask: dict[str, Any] = {"prompts": ["cat"], "seed": 3, "count": 1}
    (picture,) = made(client, model="base", ask={**ask, "lora": TWO})
    (without,) = made(client, model="base", ask=ask)
    opened = Store(CPU).open(runs[0])
    lora = (f"{runs[3]}:0.8", str(runs[4]))
    alone = collect(opened, request(opened, Ask(prompts=("cat",), seed=3, count=1, lora=lora))).values
    path = runs[0] / "samples" / "studio" / f"{picture['id']}.png"
    assert np.array_equal(np.asarray(pixels.read_picture(path)), pixels.to_uint8(alone)[0])
    assert bytes_of(client, picture) != bytes_of(client, without)
    assert [one["times"] for one in read_about(path)["request"]["adapters"]] == [0.8, 1.0]
    assert (picture["adapters"], without["adapters"]) == (["watercolour 0.8", "pencil 1"], [])
    found = client.get("/api/pictures?search=pencil").json()["pictures"]
    assert [one["id"] for one in found] == [picture["id"]]


@pytest.mark.parametrize(
    ("lora", "words"),
    [
        (["waves"], "the adapter 'waves' is for another network"),
        (["watercolour:1000"], "cannot be taken 1000 times"),
        (["watercolour:much"], "'much' is no weight"),
        (["twin"], "'twin' is no adapter"),
        (["pencil"] * 17, '"lora" is at most 16 here'),
    ],
)
@pytest.mark.parametrize("said", [{}, {"vary": ["steps=1,2"]}], ids=["samples", "sheet"])
def test_a_refusal_is_at_its_field_and_names_no_place(
    client: httpx.Client, runs: tuple[Path, ...], lora: list[str], words: str, said: dict[str, Any]
) -> None:
    answer = client.post("/api/jobs", json={"model": "base", "ask": {"lora": lora}, **said})
    error = answer.json()["error"]
    assert answer.status_code == 400 and error["param"] == "lora" and words in error["message"]
    assert str(runs[0].parent) not in answer.text


def test_an_edit_adds_them_too(client: httpx.Client, png: bytes) -> None:
    image = client.post("/api/uploads", files={"file": ("a.png", png)}).json()["id"]
    said: dict[str, Any] = {"model": "base", "verb": "img2img", "images": [image]}
    (picture,), (without,) = (made(client, ask={"count": 1, **more}, **said) for more in ({"lora": TWO}, {}))
    assert bytes_of(client, picture) != bytes_of(client, without) and picture["adapters"]
    again = recalled(client, bytes_of(client, picture))
    assert (again["verb"], again["ask"]["lora"], again["message"]) == ("img2img", TWO, None)


def test_openai_s_clients_add_them(client: httpx.Client, png: bytes) -> None:
    said: dict[str, Any] = {"model": "base", "prompt": "cat", "seed": 3}
    drawn = client.post("/v1/images/generations", json={**said, "lora": TWO}).json()["data"]
    (own,) = made(client, model="base", ask={"prompts": ["cat"], "seed": 3, "count": 1, "lora": TWO})
    assert client.get(f"/pictures/{drawn[0]['id']}.png").content == bytes_of(client, own)
    for lora, shown in ((TWO, ["watercolour 0.8", "pencil 1"]), (TWO[:1], ["watercolour 0.8"])):
        files = {"image": ("a.png", png)}
        edited = client.post("/v1/images/edits", data={**said, "lora": lora}, files=files).raise_for_status().json()
        assert client.get(f"/api/pictures/{edited['data'][0]['id']}").json()["adapters"] == shown


def test_a_picture_brings_its_adapters_back(client: httpx.Client) -> None:
    (picture,) = made(client, model="base", ask={"prompts": ["dog"], "seed": 4, "count": 1, "lora": TWO})
    back = recalled(client, bytes_of(client, picture))
    assert back["ask"]["lora"] == TWO and back["message"] is None
    (again,) = made(client, model=back["model"], ask=back["ask"])
    assert bytes_of(client, again) == bytes_of(client, picture)
    way = client.get(f"/api/pictures/{picture['id']}/trajectory").json()
    assert len(way["frames"]) == 3
    (sheet,) = made(client, model="base", ask={"seed": 4, "lora": TWO}, vary=["steps=1,2"])
    assert recalled(client, bytes_of(client, sheet))["ask"]["lora"] == TWO


def test_it_is_said_what_is_not_as_it_was(tmp_path: Path) -> None:
    runs = family(tmp_path)
    with live(settings_of(*runs)) as (client, _):
        (picture,) = made(client, model="base", ask={"seed": 4, "count": 1, "lora": TWO})
        content = bytes_of(client, picture)
        (tmp_path / "base" / "samples" / "studio" / f"{picture['id']}.json").unlink()
        learned(runs[0], runs[3], seed=9)
        back = recalled(client, content)
        assert back["ask"]["lora"] == TWO and "'watercolour' has learned since" in back["message"]
    with live(settings_of(runs[0], runs[3])) as (client, _):
        back = recalled(client, content)
        assert back["ask"]["lora"] == TWO[:1]
        assert back["message"].count("; ") == 1 and "'pencil', which was added" in back["message"]
        assert str(tmp_path) not in str(back)
        known = client.get("/api/pictures").json()["pictures"]
        assert [one["adapters"] for one in known] == [["watercolour 0.8", "pencil 1"]]
    with live(settings_of(runs[2])) as (client, _):
        assert "not served here" in recalled(client, content)["message"]
