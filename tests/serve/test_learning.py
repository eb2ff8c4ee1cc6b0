"""The Learn tab's answers: what the closed forms say, and no input that breaks them."""

import asyncio
import base64
import itertools
import math
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, get_args

import httpx
import numpy as np
import pytest
import torch
from PIL import Image
from studios import live, settings_of

from carrara.measure import lessons
from carrara.measure.schedules import digit, kinds
from carrara.sample import SAMPLERS
from carrara.serve.api import learning
from carrara.serve.learning import WAITING, Exhibit, Lessons
from carrara.serve.said import Busy


def asked(client: httpx.Client, path: str, **query: Any) -> Any:
    answer = client.get(f"/api/learn/{path}", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def decoded(frame: str) -> np.ndarray:
    content = base64.b64decode(frame.removeprefix("data:image/webp;base64,"))
    return np.asarray(Image.open(BytesIO(content)).convert("RGB"))


def test_all_schedules_and_samplers_can_be_chosen() -> None:
    assert get_args(learning.Schedule) == tuple(kinds())
    assert get_args(learning.Sampler) == tuple(SAMPLERS)


def test_curves_are_the_closed_forms(client: httpx.Client) -> None:
    found = {one["name"]: one for one in asked(client, "schedules", points=11)["schedules"]}
    assert list(found) == kinds()
    flow = found["rectified_flow"]
    assert flow["abar"] == pytest.approx([(1 - k / 10) ** 2 for k in range(11)], abs=1e-6)
    assert flow["logsnr"][5] == 0 and flow["logsnr"][0] is None and flow["end"] is None
    betas = np.linspace(1e-4, 0.02, 1000)
    assert found["linear"]["abar"][10] == pytest.approx(np.prod(1 - betas), abs=1e-6)
    cosine = [math.cos((k / 10 + 0.008) / 1.008 * math.pi / 2) ** 2 for k in range(10)]
    assert found["cosine"]["abar"][:10] == pytest.approx([value / cosine[0] for value in cosine], abs=1e-5)
    assert found["ve"]["sigma"][10] == 80
    assert found["scaled_linear"]["leak"] == pytest.approx(2.3e-3, rel=0.05)


def test_zero_terminal_snr_leaves_nothing(client: httpx.Client) -> None:
    found = asked(client, "schedules", zero=True, points=3)
    assert [one["name"] for one in found["schedules"] if one["leak"] > found["leak"]] == ["ve"] * 0
    assert all(one["end"] is None for one in found["schedules"] if one["discrete"])


@pytest.mark.parametrize("schedule", kinds())
def test_at_first_the_picture_is_the_picture(client: httpx.Client, schedule: str) -> None:
    made = asked(client, "noising", schedule=schedule, frames=3)
    first = decoded(made["frames"][0]).astype(int)
    away = np.abs(first - digit().pixels[..., :1]).max()
    assert away <= (1 if schedule == "ve" else 0)  # whose sigma is 0.002 at t = 0
    assert len(made["frames"]) == 3 and made["times"] == [0, 0.5, 1]


def test_an_upload_is_noised_and_made_small(client: httpx.Client) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (100, 400, 3), np.uint8)
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    name = client.post("/api/uploads", files={"file": ("a.png", buffer.getvalue())}).json()["id"]
    made = asked(client, "noising", picture=name, schedule="rectified_flow", frames=5)
    assert (made["width"], made["height"]) == (128, 32)
    assert decoded(made["frames"][2]).shape == (32, 128, 3)
    assert made["alpha"] == [1, 0.75, 0.5, 0.25, 0] and made["sigma"] == [0, 0.25, 0.5, 0.75, 1]


def test_a_state_is_alpha_of_the_picture_and_sigma_of_one_noise() -> None:
    x0, flow = torch.full((1, 1, 64, 64), 0.5), lessons.schedules()["rectified_flow"]
    states = lessons.noised(x0, flow, torch.tensor([0.25, 1.0], dtype=torch.float64))
    torch.testing.assert_close(states[0], 0.75 * x0[0] + 0.25 * states[1])
    assert abs(states[1].mean().item()) < 4 / 64 and abs(states[1].std().item() - 1) < 0.05


def test_particles_end_in_the_exact_law(client: httpx.Client) -> None:
    """With many steps mean and variance are the target's: DDIM by its order, DDPM within four standard errors."""
    mean = (lessons.BUMPS.weights * lessons.BUMPS.means[:, 0]).sum().item()
    second = (lessons.BUMPS.weights * (lessons.BUMPS.means[:, 0] ** 2 + lessons.BUMPS.stds**2)).sum().item()
    std = math.sqrt(second - mean**2)
    schedule = lessons.schedules()["cosine"]
    for name in ("ddim", "ddpm"):
        ends = lessons.particles(SAMPLERS[name](), schedule, 100)[1][-1]
        assert abs(ends.mean().item() - mean) < 4 * std / math.sqrt(len(ends))
        assert abs(ends.std().item() / std - 1) < 4 / math.sqrt(2 * len(ends))
    made = asked(client, "ways", steps=32)
    ddpm, ddim = made["ways"]
    errors = ddim["errors"]
    assert 1.8 < errors[4] / errors[5] < 2.2 and 1.8 < errors[5] / errors[6] < 2.2  # of first order
    assert ddim["error"] == errors[made["steps"].index(32)] < ddpm["error"]
    assert len(ddim["paths"]) == 60 and len(ddim["paths"][0]) == 33
    assert sum(made["density"]["p"]) * 5 / 200 == pytest.approx(1, abs=1e-3)
    assert sum(ddim["ends"]) * 5 / 80 == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "dpmpp", "unipc"])
def test_the_roll_is_made_of_the_points_that_are_known(client: httpx.Client, sampler: str) -> None:
    made = asked(client, "roll", sampler=sampler, points=20, count=200)
    data = np.array(made["data"]).reshape(-1, 2)
    ends = np.array(made["frames"][-1]).reshape(-1, 2)
    near = np.linalg.norm(ends[:, None] - data, axis=2)
    assert near.min(1).mean() < 0.03 and made["near"] == pytest.approx(near.min(1).mean(), abs=0.005)
    assert len(np.unique(near.argmin(1))) == 20
    begun = np.array(made["frames"][0]).reshape(-1, 2)
    assert abs(begun.mean()) < 4 / math.sqrt(400) and abs(begun.std() - 1) < 4 / math.sqrt(800)


@pytest.mark.parametrize("schedule", kinds())
def test_the_roll_becomes_noise(client: httpx.Client, schedule: str) -> None:
    made = asked(client, "roll", forward=True, schedule=schedule, points=600, steps=20)
    first, last = (np.array(made["frames"][k]).reshape(-1, 2) for k in (0, -1))
    assert np.abs(first - np.array(made["data"]).reshape(-1, 2)).max() <= 0.02
    assert abs(last.std() - 1) < 4 / math.sqrt(1200) + 0.02
    assert abs(last.mean()) < 4 / math.sqrt(1200) + 0.02


@pytest.mark.parametrize("scale", [-1.0, 0.0, 1.0, 3.0, 7.5])
def test_arrows_are_what_the_formula_says(client: httpx.Client, scale: float) -> None:
    """sigma (s_null + w (s_cond - s_null)), with the scores of noised Gaussians written out."""
    made = asked(client, "guidance", scale=scale, schedule="rectified_flow")
    places, means = np.array(made["places"]).reshape(-1, 2), np.array(made["means"])
    at = made["times"].index(0.5)
    alpha = sigma = 0.5
    variance = (alpha * made["std"]) ** 2 + sigma**2
    each = np.stack([(alpha * mean - places) / variance for mean in means])
    share = np.exp(-0.5 * variance * (each**2).sum(2))
    null = (share[..., None] * each).sum(0) / share.sum(0)[:, None]
    expected = {"cond": each[0], "null": null, "guided": null + scale * (each[0] - null)}
    for name, vectors in expected.items():
        found = np.array(made[name][at]).reshape(-1, 2)
        np.testing.assert_allclose(found, sigma * vectors, atol=2e-3 * (1 + abs(scale)))  # places have three digits


def test_guidance_that_is_off_ends_in_the_class(client: httpx.Client) -> None:
    """Within four standard errors of 300 particles; beyond 1 they end farther out and closer together."""
    off, on = (asked(client, "guidance", scale=scale) for scale in (1, 3))
    mean, std = off["means"][0], off["std"]
    assert np.abs(np.array(off["mean"]) - mean).max() < 4 * std / math.sqrt(300)
    assert abs(off["spread"] / std - 1) < 4 / math.sqrt(1200)
    assert all(more > less for more, less in zip(on["mean"], off["mean"], strict=True))
    assert on["spread"] < 0.9 * off["spread"]
    late = asked(client, "guidance", scale=3, high=0.3)
    assert np.abs(np.array(late["mean"]) - off["mean"]).max() < 0.06


def test_a_model_says_what_it_believes(client: httpx.Client) -> None:
    """Without noise it is the picture, whatever the weights; a model of latents says that it is one."""
    for model, latent in (("pixels", False), ("latents", True)):
        made = asked(client, "guess", model=model, t=0.5)
        assert made["latent"] is latent
        assert decoded(made["estimate"]).shape == decoded(made["state"]).shape == (8, 8, 3)
    almost, noise = (decoded(asked(client, "guess", model="pixels", t=t)["state"]).astype(int) for t in (0, 1))
    assert almost[:, :, 0].std() > 20 and np.abs(almost - noise).mean() > 20


def test_two_samplers_begin_alike(client: httpx.Client) -> None:
    made = asked(client, "steps", model="pixels", prompt="cat", steps=4, seed=3)
    ddpm, ddim = made["ways"]
    assert (ddpm["sampler"], ddim["sampler"]) == ("ddpm", "ddim")
    assert len(ddpm["states"]) == len(ddim["estimates"]) == len(ddim["times"]) == 4
    assert ddim["estimates"][0] == ddpm["estimates"][0] and ddim["states"][-1] != ddpm["states"][-1]


WRONG = {
    "noising": [{"schedule": "no"}, {"frames": 1}, {"frames": 10**9}, {"picture": "../a"}, {"picture": "a"}],
    "schedules": [{"points": 10**6}, {"zero": "perhaps"}],
    "ways": [{"steps": 0}, {"steps": "nan"}, {"paths": 10**6}],
    "roll": [{"points": 1}, {"points": 10**5}, {"sampler": "absorbing"}, {"seed": -1}, {"count": 0}, {"steps": 51}],
    "guidance": [{"scale": "nan"}, {"scale": "inf"}, {"scale": 1e9}, {"low": 0.9, "high": 0.1}, {"low": -1}],
    "guess": [{}, *({"model": model, "t": 0.5} for model in ("no", "vae", "map")), {"model": "pixels", "t": 2}],
    "steps": [{"model": "pixels", "prompt": "x" * 201}, {"model": "pixels", "prompt": "cow"}, {"model": "autoencoder"}],
}  # fmt: skip


@pytest.mark.parametrize(("path", "query"), [(path, query) for path, all in WRONG.items() for query in all], ids=str)
def test_what_cannot_be_is_one_sentence(client: httpx.Client, path: str, query: dict[str, Any]) -> None:
    answer = client.get(f"/api/learn/{path}", params=query)
    assert answer.status_code in (400, 404)
    assert answer.json()["error"]["message"] and "/tmp" not in answer.text


@pytest.mark.parametrize(("sampler", "schedule"), list(zip(SAMPLERS, itertools.cycle(kinds()), strict=False)))
def test_no_choice_breaks(client: httpx.Client, sampler: str, schedule: str) -> None:
    for points, steps in ((2, 1), (50, 50)):
        asked(client, "roll", sampler=sampler, schedule=schedule, points=points, steps=steps, count=20)
    asked(client, "guidance", schedule=schedule, scale=20)
    asked(client, "ways", schedule=schedule, steps=1)


def test_nobody_waits_for_a_lesson(client: httpx.Client) -> None:
    """While the dearest ones are made, who asks for health gets it at once; what was made before is there at once."""
    dear = [{"sampler": "heun", "steps": 50, "points": 600, "count": 500, "seed": seed} for seed in range(3)]
    with ThreadPoolExecutor(3) as together:
        waiting = [together.submit(asked, client, "roll", **query) for query in dear]
        took = list[float]()
        while not all(one.done() for one in waiting):
            began = time.perf_counter()
            assert client.get("/healthz").status_code == 200
            took.append(time.perf_counter() - began)
    assert len(took) > 5 and sorted(took)[len(took) // 2] < 0.2
    began = time.perf_counter()
    asked(client, "roll", **dear[0])
    assert time.perf_counter() - began < 0.5


@dataclass(frozen=True, kw_only=True)
class Plain(Exhibit):
    number: int

    def made(self) -> dict[str, Any]:
        return {"text": "x" * 1000}


def test_few_answers_are_kept_and_few_wait() -> None:
    here = Lessons(most=2500)

    async def ask(count: int) -> list[Any]:
        return await asyncio.gather(*(here.answer(Plain(number=k)) for k in range(count)), return_exceptions=True)

    try:
        answers = asyncio.run(ask(40))
        assert [type(one) for one in answers] == [bytes] * WAITING + [Busy] * (40 - WAITING)
        assert len(here._kept) == 2 and here._size == sum(map(len, here._kept.values()))
    finally:
        here.close()


def test_a_studio_without_a_picture_model_teaches_too(runs: Path) -> None:
    with live(settings_of(runs / "vae")) as (client, _):
        assert asked(client, "schedules", points=2)["schedules"]
        assert client.get("/api/learn/guess", params={"model": "vae", "t": 0.5}).status_code == 400
