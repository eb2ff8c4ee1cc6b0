"""What is kept, found again and brought back: the gallery, uploads, every verb, recall, and ways from noise."""

import base64
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import fields, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from studios import bytes_of, live, made, settings_of

from carrara.backbone import MlpConfig, UNetConfig
from carrara.conditioning import UnconditionalConfig
from carrara.draw import VERBS
from carrara.files import is_regular
from carrara.medium import read_about
from carrara.modality import Sound
from carrara.model import DiffusionModel
from carrara.pixels import read_picture
from small_models import PIXELS, saved

KINDS_OF = {"upscale": "lowres", "map": "map", "reconstruct": "autoencoder", "traverse": "vae"}
"""The models of verbs that not every model can do."""
OPTIONS: dict[str, dict[str, Any]] = {
    "inpaint": {"box": "1,1,4,4", "resamplings": 2},
    "outpaint": {"margins": "0,4,0,0", "resamplings": 2},
    "restore": {"task": "deblur"},
    "rewrite": {"source": "cat"},
}
"""What verbs cannot do without."""


def sent(client: httpx.Client, content: bytes, name: str = "a.png") -> dict[str, Any]:
    answer = client.post("/api/uploads", files={"file": (name, content)})
    assert answer.status_code == 200, answer.text
    return answer.json()


def recalled(client: httpx.Client, content: bytes, name: str = "a.png") -> dict[str, Any]:
    return client.post("/api/recall", files={"file": (name, content)}).raise_for_status().json()


def test_the_bin_is_emptied_for_good_and_nothing_else_is_touched(tmp_path: Path) -> None:
    run = saved("pixels", tmp_path / "run")
    with live(settings_of(run)) as (client, _):
        made(client, model="run", ask={"prompts": ["cat"], "seed": 1, "count": 3})
        first, second, third = (one["id"] for one in client.get("/api/pictures").json()["pictures"])
        for name in (first, third):
            client.delete(f"/api/pictures/{name}").raise_for_status()
        client.post(f"/api/pictures/{third}/restore").raise_for_status()
        assert client.delete("/api/bin", params={"model": "nobody"}).status_code == 404
        assert client.delete("/api/bin", params={"model": "run"}).json() == {"deleted": 1}
        assert client.delete("/api/bin").json() == {"deleted": 0}
        assert client.get("/api/pictures", params={"bin": True}).json()["pictures"] == []
        assert client.get(f"/api/pictures/{first}").status_code == 404
    folder = run / "samples" / "studio"
    assert {path.name for path in folder.iterdir()} == {f"{a}{b}" for a in (second, third) for b in (".png", ".json")}


def test_pictures_are_found_starred_and_taken_from_the_bin(tmp_path: Path) -> None:
    run = saved("pixels", tmp_path / "run")
    with live(settings_of(run)) as (client, _):
        for seed, wish in enumerate(["cat", "dog", "cat"]):
            made(client, model="run", ask={"prompts": [wish], "seed": seed, "count": 1})
        listed = client.get("/api/pictures").json()
        assert [one["seed"] for one in listed["pictures"]] == [2, 1, 0] and listed["next"] is None
        first = client.get("/api/pictures", params={"limit": 2}).json()
        rest = client.get("/api/pictures", params={"limit": 2, "before": first["next"]}).json()
        assert [one["seed"] for one in first["pictures"] + rest["pictures"]] == [2, 1, 0] and rest["next"] is None
        name = listed["pictures"][0]["id"]
        found = client.get("/api/pictures", params={"search": "CAT run"}).json()["pictures"]
        assert [one["seed"] for one in found] == [2, 0]
        assert client.put(f"/api/pictures/{name}/star").json()["starred"]
        assert client.delete(f"/api/pictures/{listed['pictures'][1]['id']}").json()["bin"]
        thumb = client.get(f"/pictures/{name}/thumb")
        assert thumb.headers["content-type"] == "image/webp" and Image.open(BytesIO(thumb.content)).size == (8, 8)
    with live(settings_of(run)) as (client, _):  # it survives
        stars = client.get("/api/pictures", params={"starred": True}).json()["pictures"]
        assert [one["id"] for one in stars] == [name]
        (thrown,) = client.get("/api/pictures", params={"bin": True}).json()["pictures"]
        assert thrown["prompt"] == "dog" and len(client.get("/api/pictures").json()["pictures"]) == 2
        client.post(f"/api/pictures/{thrown['id']}/restore")
        assert not client.delete(f"/api/pictures/{name}/star").json()["starred"]
        assert len(client.get("/api/pictures").json()["pictures"]) == 3
        assert client.get("/api/pictures", params={"limit": 0}).status_code == 400
        assert client.get("/api/pictures/0").status_code == 404


def test_a_picture_without_its_file_is_taken_in(tmp_path: Path) -> None:
    run = saved("pixels", tmp_path / "run")
    with live(settings_of(run)) as (client, _):
        (picture,) = made(client, model="run", ask={"prompts": ["dog"], "seed": 7, "count": 1})
    folder = run / "samples" / "studio"
    (folder / f"{picture['id']}.json").unlink()
    (folder / "ffffffffffffffffffffff.png").write_bytes(b"no picture")
    (folder / "notes.json").write_text("{}")
    with live(settings_of(run)) as (client, _):
        (again,) = client.get("/api/pictures").json()["pictures"]
        assert again == {**picture, "group": None}


def test_names_are_data_and_no_markup(tmp_path: Path) -> None:
    run = saved("pixels", tmp_path / "<script>alert(1)</script>")
    with live(settings_of(run)) as (client, _):
        (one,) = client.get("/api/models").json()["models"]
        assert one["id"] == "script"
        for path in ("/docs", f"/api/models/{one['id']}", "/api/pictures"):
            answer = client.get(path)
            assert "<script>" not in answer.text or answer.headers["content-type"].startswith("application/json")


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_is_described_run_and_recalled(client: httpx.Client, png: bytes, name: str) -> None:
    model = KINDS_OF.get(name, "pixels")
    (form,) = [one for one in client.get(f"/api/models/{model}").json()["verbs"] if one["name"] == name]
    own = {one.name for one in fields(VERBS[name])} - {"image", "images", "mask"}
    shown = {one["name"] for one in form["options"]}
    assert shown == own - {"span", "channels"} and all(one["doc"] for one in form["options"])
    assert form["mask"] == (name == "inpaint") and form["doc"]
    needed = {one["name"] for one in form["options"] if one["needed"]}
    assert needed <= OPTIONS.get(name, {}).keys()
    count = 2 if name == "interpolate" else 1 if form["images"] else 0
    images = [sent(client, png, f"{k}.png")["id"] for k in range(count)]
    ask = {"prompts": ["dog"]} if "prompts" not in form["leaves"] else {}
    ask |= {"steps": 4} if "steps" not in form["leaves"] else {}
    options = OPTIONS.get(name, {})
    pictures = made(client, model=model, verb=name, ask=ask, options=options, images=images)
    assert pictures and all(one["verb"] == name for one in pictures)
    again = recalled(client, bytes_of(client, pictures[0]))
    assert (again["model"], again["verb"], again["message"]) == (model, name, None)
    assert len(again["images"]) == count and options.items() <= again["options"].items()
    assert again["ask"].get("prompts", []) == ask.get("prompts", [])
    said = {"model": model, "verb": name, "ask": again["ask"], "options": again["options"], "images": again["images"]}
    said["ask"] = {key: value for key, value in said["ask"].items() if key not in form["leaves"]}
    once_more = made(client, **said)
    first, again = (np.asarray(Image.open(BytesIO(bytes_of(client, p[0]))), int) for p in (pictures, once_more))
    assert np.abs(first - again).max() <= 1  # one is drawn again of several: on some processors rounded otherwise


def test_a_brush_is_a_mask(client: httpx.Client, png: bytes) -> None:
    mask = np.zeros((10, 12), np.uint8)
    mask[2:5, 3:9] = 255
    buffer = BytesIO()
    Image.fromarray(mask).save(buffer, "PNG")
    image, drawn = sent(client, png)["id"], sent(client, buffer.getvalue(), "mask.png")["id"]
    said = {"model": "pixels", "verb": "inpaint", "options": {"resamplings": 2}, "ask": {"count": 1}}
    (picture,) = made(client, **said, images=[image], mask=drawn)
    before, after = (np.asarray(Image.open(BytesIO(one))) for one in (png, bytes_of(client, picture)))
    assert np.array_equal(before[mask == 0], after[mask == 0]) and not np.array_equal(before, after)
    again = recalled(client, bytes_of(client, picture))
    assert (again["images"], again["mask"]) == ([image], drawn)
    (further,) = made(client, model="pixels", verb="variation", images=[picture["id"]], ask={"count": 1})
    assert (
        client.get(f"/api/pictures/{further['id']}").json()["record"]["edit"]["image"]["file"].startswith(picture["id"])
    )


def test_recall_brings_every_setting_back(client: httpx.Client) -> None:
    ask = {
        "prompts": ["cat:0.5+dog:0.5"], "count": 2, "seed": 11, "steps": 6, "guidance": 2.5, "sampler": "ddim",
        "grid": "karras", "method": "apg", "interval": [0.1, 0.9], "rescale": 0.3, "threshold": 0.99, "size": "16x12",
        "negative": "cat", "cache": 2,
    }  # fmt: skip
    pictures = made(client, model="pixels", ask=ask)
    again = recalled(client, bytes_of(client, pictures[1]))
    assert again["model"] == "pixels" and again["verb"] is None and again["message"] is None and again["vary"] == []
    wanted = {**ask, "count": 1, "seed": 12}
    assert {key: again["ask"][key] for key in wanted} == wanted
    (same,) = made(client, model="pixels", ask=again["ask"])
    assert bytes_of(client, same) == bytes_of(client, pictures[1])
    (sheet,) = made(client, model="pixels", ask={"prompts": ["dog"], "seed": 3}, vary=["steps=1,2"])
    back = recalled(client, bytes_of(client, sheet))
    assert back["vary"] == ["steps=1,2"] and back["ask"]["prompts"] == ["dog"] and back["ask"]["seed"] == 3


def test_recall_says_what_is_missing(client: httpx.Client, png: bytes, tmp_path: Path) -> None:
    answer = client.post("/api/recall", files={"file": ("../../x.png", png)})
    assert answer.status_code == 400 and "carries no recipe" in answer.json()["error"]["message"]
    assert "/" not in answer.json()["error"]["message"].replace("PNG/", "")
    other = saved("pixels", tmp_path / "other", seed=5)
    with live(settings_of(other)) as (own, _):
        content = bytes_of(own, made(own, model="other", ask={"count": 1})[0])
    back = recalled(client, content)
    assert back["model"] is None and "not served" in back["message"] and back["ask"]["steps"] == 3


def test_uploads_are_decoded_within_bounds(client: httpx.Client, png: bytes) -> None:
    assert sent(client, png, "../../etc/passwd")["name"] == "passwd.png"
    shown = sent(client, png, "<b>ü/../a b.png")
    assert (shown["width"], shown["height"], shown["name"]) == (12, 10, "a_b.png")
    large = BytesIO()
    Image.new("L", (3000, 3000)).save(large, "PNG")
    for content, words in ((b"", "cannot be used"), (b"GIF89a", "cannot be used"), (large.getvalue(), "the most here")):
        answer = client.post("/api/uploads", files={"file": ("a.png", content)})
        message = answer.json()["error"]["message"]
        assert answer.status_code == 400 and words in message and "/tmp" not in message
    assert client.post("/api/uploads", data={"file": "text"}).status_code == 400


def test_the_way_of_a_picture_ends_with_it(client: httpx.Client, png: bytes) -> None:
    pictures = made(client, model="latents", ask={"prompts": ["dog"], "count": 2, "steps": 10})
    way = client.get(f"/api/pictures/{pictures[1]['id']}/trajectory", params={"frames": 4}).json()
    assert len(way["frames"]) == len(way["times"]) == 4 and way["times"] == sorted(way["times"], reverse=True)
    last = Image.open(BytesIO(base64.b64decode(way["frames"][-1].partition(",")[2])))
    assert way["times"][-1] == 0 and np.array_equal(
        np.asarray(last.convert("RGB")), np.asarray(Image.open(BytesIO(bytes_of(client, pictures[1]))))
    )
    assert all(job["id"] for job in client.get("/api/jobs").json()["jobs"])


@pytest.mark.parametrize("verb", ["img2img", "variation", "inpaint", "outpaint", "restore", "rewrite"])
def test_the_way_of_an_edit_ends_with_it(client: httpx.Client, png: bytes, verb: str) -> None:
    about = {"options": OPTIONS.get(verb, {}), "images": [sent(client, png)["id"]]}
    prompts = {"prompts": ["dog"]} if verb == "rewrite" else {}
    pictures = made(client, model="pixels", verb=verb, ask={"steps": 8, **prompts}, **about)
    client.delete(f"/api/pictures/{pictures[0]['id']}").raise_for_status()
    picture = pictures[-1]
    answer = client.get(f"/api/pictures/{picture['id']}/trajectory", params={"frames": 4})
    assert answer.status_code == 200, answer.text
    way = answer.json()
    assert 3 <= len(way["frames"]) == len(way["times"]), way["times"]
    last = Image.open(BytesIO(base64.b64decode(way["frames"][-1].partition(",")[2])))
    assert np.array_equal(np.asarray(last.convert("RGB")), np.asarray(Image.open(BytesIO(bytes_of(client, picture)))))
    assert len(set(way["frames"])) > 2


def test_the_way_of_an_edit_whose_picture_is_gone_is_a_sentence(client: httpx.Client, served: Any, png: bytes) -> None:
    (edited,) = made(
        client, model="pixels", verb="variation", ask={"count": 1}, images=[(one := sent(client, png))["id"]]
    )
    served[1].uploads._kept.pop(one["id"])
    answer = client.get(f"/api/pictures/{edited['id']}/trajectory")
    assert answer.status_code in (400, 404) and "Traceback" not in answer.text and answer.json()["error"]["message"]


def test_files_of_other_media_are_given_out(tmp_path: Path) -> None:
    plain = replace(PIXELS, conditioner=UnconditionalConfig(), sample=replace(PIXELS.sample, clip=False))
    unet = UNetConfig(channels=8, multipliers=(1,), blocks=1, attention_levels=())
    DiffusionModel(replace(plain, shape=(1, 64), backbone=unet, modality=Sound(rate=800))).save(tmp_path / "tones")
    DiffusionModel(replace(plain, shape=(2,), backbone=MlpConfig(width=8, depth=1))).save(tmp_path / "plane")
    with live(settings_of(tmp_path / "tones", tmp_path / "plane")) as (client, _):
        about = client.get("/api/models/tones").json()
        assert about["medium"] == "sounds" and not {"tile", "clip"} & {one["name"] for one in about["options"]}
        pictures = made(client, model="tones", ask={"count": 2})
        assert [[one["type"] for one in picture["files"]] for picture in pictures] == [["audio/wav"]] * 2
        sound = client.get(pictures[1]["files"][0]["url"])
        assert sound.headers["content-type"] == "audio/wav" and sound.content[:4] == b"RIFF"
        back = recalled(client, sound.content, "a.wav")
        assert back["model"] == "tones" and back["ask"]["seed"] == 1
        assert Image.open(BytesIO(bytes_of(client, pictures[1]))).size == (pictures[1]["width"], pictures[1]["height"])
        said = {"model": "tones", "verb": "img2img", "images": [pictures[0]["id"]], "ask": {"count": 1}}
        assert made(client, **said)[0]["files"]
        (points,) = made(client, model="plane", ask={"count": 20})
        assert points["files"][0]["type"] == "application/octet-stream"
        answer = client.post("/v1/images/generations", json={"model": "tones", "prompt": ""})
        assert answer.status_code == 400 and "makes no pictures" in answer.json()["error"]["message"]


SERVE = """
import sys
from pathlib import Path
from carrara.serve.running import run
from carrara.serve.settings import ServeSettings
run(ServeSettings(port=0, runs=(Path(sys.argv[1]),)))
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs signals")
def test_what_is_killed_leaves_no_half_picture(tmp_path: Path) -> None:
    run, kept = saved("pixels", tmp_path / "run"), set[str]()
    for round_ in range(2):
        process = subprocess.Popen(
            [sys.executable, "-c", SERVE, str(run)], stdout=subprocess.PIPE, text=True, cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        assert process.stdout is not None
        found = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
        assert found is not None
        with httpx.Client(base_url=found[0], timeout=60) as client:
            listed = {one["id"] for one in client.get("/api/pictures", params={"limit": 200}).json()["pictures"]}
            assert kept <= listed
            for k in range(20):
                said = {"model": "run", "ask": {"count": 8, "seed": 100 * k, "steps": 1 + k % 2}}
                client.post("/api/jobs", json=said).raise_for_status()
            time.sleep(0.1 + 0.2 * round_)
            kept = {one["id"] for one in client.get("/api/pictures", params={"limit": 200}).json()["pictures"]}
            process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        for path in (run / "samples" / "studio").glob("*.png"):
            assert read_picture(path).size == (8, 8) and read_about(path)["picture"] == "sample"
        for path in (run / "samples" / "studio").glob("*.json"):
            assert is_regular(path.with_suffix(".png")) and json.loads(path.read_text())["id"] == path.stem
    with live(settings_of(run)) as (client, _):
        assert kept and kept <= {
            one["id"] for one in client.get("/api/pictures", params={"limit": 200}).json()["pictures"]
        }
    assert not list((run / "samples" / "studio").glob(".*")), "what was unfinished is gone"
