"""OpenAI's own client against a live studio, and who is let in."""

import base64
import logging
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from studios import bytes_of, live, made, settings_of

from carrara.errors import UserError
from carrara.serve.settings import ServeSettings

openai = pytest.importorskip("openai")
TOKEN = "a-long-secret"


@pytest.fixture
def official(client: httpx.Client) -> Iterator[Any]:
    with openai.OpenAI(base_url=f"{client.base_url}/v1", api_key="any", max_retries=0) as made:
        yield made


def opened(b64: str) -> Image.Image:
    with Image.open(BytesIO(base64.b64decode(b64))) as image:
        image.load()
        return image


def file(size: tuple[int, int] = (8, 8), mode: str = "RGB", alpha: slice | None = None) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], len(mode)), np.uint8)
    if mode == "RGBA":
        pixels[..., 3] = 255
        pixels[alpha or slice(0), :, 3] = 0
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def test_models(official: Any) -> None:
    assert [model.id for model in official.models.list()][:2] == ["pixels", "latents"]
    assert official.models.retrieve("vae").owned_by == "carrara"
    with pytest.raises(openai.NotFoundError, match="there is no model"):
        official.models.retrieve("nothing")


def test_generations(official: Any, client: httpx.Client) -> None:
    extra = {"seed": 4, "steps": 5, "guidance": 2, "negative": "dog", "sampler": "ddim"}
    answer = official.images.generate(model="pixels", prompt="cat", n=2, extra_body=extra)
    assert len(answer.data) == 2 and answer.output_format == "png" and answer.size == "8x8"
    own = made(client, model="pixels", ask={"prompts": ["cat"], "count": 2, **extra})
    assert [base64.b64decode(one.b64_json) for one in answer.data] == [bytes_of(client, one) for one in own]
    assert [one.seed for one in answer.data] == [4, 5]
    wide = official.images.generate(model="pixels", prompt="cat", size="16x12", response_format="url")
    assert opened(base64.b64encode(httpx.get(wide.data[0].url).content).decode()).size == (16, 12)
    jpeg = official.images.generate(model="pixels", prompt="cat", output_format="jpeg", quality="high", user="me")
    assert opened(jpeg.data[0].b64_json).format == "JPEG"


def test_partial_pictures_are_streamed(official: Any) -> None:
    ask = {"model": "pixels", "prompt": "dog", "extra_body": {"steps": 9, "seed": 3}}
    events = list(official.images.generate(stream=True, partial_images=3, **ask))
    assert [event.type for event in events] == ["image_generation.partial_image"] * 3 + ["image_generation.completed"]
    assert [event.partial_image_index for event in events[:3]] == [0, 1, 2]
    assert all(opened(event.b64_json).size == (8, 8) for event in events)
    assert events[-1].b64_json == official.images.generate(**ask).data[0].b64_json
    assert events[-1].usage.total_tokens == 0 and events[-1].size == "8x8"
    edited = list(official.images.edit(image=file(), stream=True, partial_images=1, **ask))
    assert [event.type for event in edited] == ["image_edit.partial_image", "image_edit.completed"]


def test_a_mask_says_where_something_new_is_made(official: Any) -> None:
    image = file()
    mask = file(mode="RGBA", alpha=slice(4))
    answer = official.images.edit(image=image, mask=mask, prompt="cat", model="pixels", extra_body={"resamplings": 2})
    before, after = np.asarray(Image.open(BytesIO(image))), np.asarray(opened(answer.data[0].b64_json))
    assert np.array_equal(before[4:], after[4:]) and not np.array_equal(before[:4], after[:4])


def test_edits_and_variations(official: Any) -> None:
    several = official.images.edit(image=[("a.png", file()), ("b.png", file())], prompt="cat", model="pixels", n=2)
    assert len(several.data) == 4
    own = {"verb": "restore", "task": "deblur", "blur": 1.5}
    assert len(official.images.edit(image=file(), prompt="cat", model="pixels", extra_body=own).data) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # OpenAI's client would rather not
        varied = official.images.create_variation(image=file(), model="pixels", n=3, extra_body={"strength": 0.9})
    assert len({one.b64_json for one in varied.data}) == 3


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"prompt": "bird"}, "unknown label"),
        ({"prompt": "cat", "size": "large"}, "is no size"),
        ({"prompt": "cat", "extra_body": {"stepz": 3}}, "stepz"),
        ({"prompt": "cat", "extra_body": {"steps": "x"}}, '"steps" is wrong'),
        ({"prompt": "cat", "n": 65}, "at most 64"),
        ({"prompt": "cat", "model": None}, "which model"),
        ({"prompt": "cat", "extra_body": {"weak": "/etc"}}, "there is no model"),
    ],
)
def test_mistakes_reach_the_official_client(official: Any, said: dict[str, Any], words: str) -> None:
    with pytest.raises((openai.BadRequestError, openai.NotFoundError), match=words):
        official.images.generate(**{"model": "pixels", **said})
    with pytest.raises(openai.BadRequestError, match="unknown edit"):
        official.images.edit(image=file(), prompt="", model="pixels", extra_body={"verb": "melt"})
    with pytest.raises(openai.BadRequestError, match="cannot be used"):
        official.images.edit(image=b"no picture", prompt="", model="pixels")


@pytest.mark.parametrize("streamed", [False, True])
def test_who_leaves_has_cancelled(served: tuple[httpx.Client, Any], streamed: bool) -> None:
    client, studio = served
    said = {"model": "pixels", "prompt": "cat", "n": 32, "steps": 1000, "stream": streamed}
    with pytest.raises(httpx.ReadTimeout):
        client.post("/v1/images/generations", json=said, timeout=0.3)
    job = studio.jobs.newest()[0]
    for _ in range(500):
        if job.over:
            break
        time.sleep(0.01)
    assert job.state == "cancelled" and not job.pictures


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "evil.example"}, 421),
        ({"Host": "127.0.0.1.evil.example:80"}, 421),
        ({"Host": "10.0.0.7"}, 421),
        ({"Host": "localhost"}, 200),
        ({"Host": "LOCALHOST:1234"}, 200),
        ({"Host": "[::1]:80"}, 200),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost:7", "Host": "localhost:7"}, 200),
        ({"Origin": "http://localhost:8", "Host": "localhost:7"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, 403),
        ({"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, 200),
        ({"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}, 200),
    ],
)
def test_names_and_pages_of_others_are_refused(client: httpx.Client, headers: dict[str, str], status: int) -> None:
    answer = client.get("/api/models", headers=headers)
    assert answer.status_code == status
    assert "access-control-allow-origin" not in answer.headers


def test_every_answer_protects_the_browser(client: httpx.Client) -> None:
    for path in ("/", "/api/models", "/nothing", "/healthz", "/docs", "/openapi.json"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "script-src 'self'" in policy and "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"
    assert client.get("/docs").text.count("<script") == 0 and "http" not in client.get("/docs").text


def test_bodies_are_capped_before_they_are_read(client: httpx.Client) -> None:
    large = b"x" * (2 << 20)
    assert client.post("/api/jobs", content=large).status_code == 413

    def trickled() -> Iterator[bytes]:
        for _ in range(4):
            yield large[: 1 << 19]

    answer = client.post("/api/jobs", content=trickled())
    assert answer.status_code == 413 and "bytes that may be sent" in answer.json()["error"]["message"]
    assert client.get("/healthz").status_code == 200


def test_other_machines_need_the_token(runs: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(UserError, match="needs a token"):
        ServeSettings(host="0.0.0.0")
    with pytest.raises(UserError, match="8 to"):
        ServeSettings(token="short")
    caplog.set_level(logging.DEBUG)
    with live(settings_of(runs / "pixels", host="0.0.0.0", token=TOKEN)) as (client, _):
        assert client.get("/healthz").status_code == 200
        for headers in ({}, {"Authorization": "Bearer wrong-secret"}, {"Cookie": "carrara_token=wrong"}):
            assert client.get("/api/models", headers=headers).status_code == 401
        assert client.get("/metrics").status_code == client.get("/pictures/a.png").status_code == 401
        assert client.get("/api/models", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
        assert client.get("/?token=wrong-secret").status_code == 401
        answer = client.get(f"/?token={TOKEN}")
        assert answer.status_code == 303 and answer.headers["location"] == "/"
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie and "samesite=strict" in cookie
        assert client.get("/api/models").status_code == 200, "the cookie lets in"
    ours = [one.getMessage() for one in caplog.records if not one.name.startswith(("httpx", "httpcore"))]
    assert ours and not any(TOKEN in message for message in ours)


@pytest.mark.parametrize(
    "path",
    [
        "/../../etc/passwd", "/..%2f..%2fetc%2fpasswd", "/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd", "/etc/passwd",
        "/pictures/..%2f..%2fconfig.png", "/pictures/..%2f..%2frecipe.yaml", "/pictures/%2fetc%2fpasswd.png",
        "/pictures/a/../../config.json", "/pictures/0000000000000000000000.json", "/api/models/..%2f..%2fetc",
        "/api/pictures/..%2fx", "/page/../app.py", "/..%5c..%5capp.py", "/%00",
    ],
)  # fmt: skip
def test_no_path_reaches_the_file_system(client: httpx.Client, path: str) -> None:
    host, port = str(client.base_url.host), client.base_url.port
    with socket.create_connection((host, port)) as raw:
        raw.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: raw.recv(65536), b""))
    assert answer.split(b" ", 2)[1] in (b"404", b"400"), answer[:100]
    assert b"root:" not in answer and b"Traceback" not in answer


def test_the_command_says_what_is_wrong(carrara: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, said = carrara("serve", "--host", "0.0.0.0")
    assert code == 2 and "--token SECRET" in said and "Traceback" not in said
    code, said = carrara("serve", tmp_path / "nothing")
    assert code == 2 and "there is no run" in said
    code, said = carrara("serve", "openmoji", "--data", tmp_path / "nothing")
    assert code == 2 and "there is no folder and no file" in said
    code, said = carrara("serve", "--help")
    assert code == 0 and "--port" in said and "Where to listen" in said
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, said = carrara("serve", "openmoji", "--port", taken.getsockname()[1])
    assert code == 2 and "nothing can listen" in said
    monkeypatch.setattr("carrara.serve.command.find_spec", lambda name: None)
    code, said = carrara("serve")
    assert code == 2 and "pip install 'carrara[serve]'" in said


def test_starting_imports_no_server() -> None:
    code = "import sys, carrara, carrara.cli; assert not {'fastapi', 'uvicorn', 'starlette'} & sys.modules.keys()"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
