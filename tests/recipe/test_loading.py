"""Recipes are read from presets, files and arguments; every mistake is told with its place, all at once."""

from collections.abc import Callable
from pathlib import Path

import pytest

from carrara.backbone import MlpConfig, UNetConfig
from carrara.data import FolderSource, OpenMojiSource, SwissRollSource
from carrara.errors import UserError
from carrara.noise import Cosine, Linear
from carrara.objective import DiffusionSettings
from carrara.recipe.loading import accepted, dump, load, presets
from carrara.recipe.schema import Recipe
from carrara.sample import Ddim, DpmPp

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    monkeypatch.chdir(tmp_path)

    def written(text: str) -> Path:
        path = Path("photos.yaml")
        path.write_text(text)
        return path

    return written


def mistakes(name: str | Path, *overrides: str) -> list[str]:
    with pytest.raises(UserError) as error:
        load(name, overrides)
    return str(error.value).splitlines()


@pytest.mark.parametrize("name", presets())
def test_every_preset_parses_and_survives_dump_and_load(name: str, write: Write) -> None:
    recipe = load(name)
    assert recipe.preset == name
    assert len(presets()[name]) > 20
    assert load(write(dump(recipe))) == recipe
    diffuses = isinstance(recipe.objective, DiffusionSettings)
    times = ["objective.times=log_normal"] if diffuses else ["objective.kind=diffusion", "objective.times=log_normal"]
    is_row = recipe.data.source is not None and recipe.data.source.spatial == 1
    size = "24" if is_row else "[16, 24]"
    changed = load(name, ["train.steps=7", f"data.size={size}", "sample.threshold=0.9", *times])
    assert load(write(dump(changed))) == changed != recipe


def test_the_shipped_presets() -> None:
    autoencoders = {"autoencoder-kl-f4", "autoencoder-vq-f4", "tiny-decoder", "vae", "vae-two-layer"}
    diffusers = {
        "ddpm-cifar",
        "chorales",
        "digits",
        "digits-absorbing",
        "latent",
        "mean-flow",
        "openmoji-text",
        "pixel",
        "sprites",
        "stable-diffusion",
        "swissroll",
        "sound",
        "sound-latent",
        "array",
        "table",
        "volume",
    }
    others = {"inpaint", "segmentation", "upscale-x4", "classifier", "few-step", "fine-tuning"}
    assert set(presets()) == autoencoders | diffusers | others
    paper = load("ddpm-cifar")
    assert isinstance(paper.model.backbone, UNetConfig)
    assert paper.model.backbone == UNetConfig(dropout=0.1)
    assert (paper.train.steps, paper.train.batch, paper.train.lr, paper.model.schedule) == (
        800_000,
        128,
        2e-4,
        Linear(),
    )


def test_a_file_begins_as_a_preset_and_arguments_have_the_last_word(write: Write) -> None:
    path = write("preset: digits\nseed: 3\ntrain:\n  steps: 5\n  lr: 1.0e-3\nmodel:\n  schedule: linear\n")
    recipe, digits = load(path, ["train.lr=0.5", "seed=4"]), load("digits")
    assert (recipe.preset, recipe.seed, recipe.train.steps, recipe.train.lr) == ("digits", 4, 5, 0.5)
    assert recipe.model.schedule == Linear()
    assert recipe.model.backbone == digits.model.backbone
    assert recipe.data == digits.data


def test_a_file_without_a_preset_begins_with_the_defaults(write: Write) -> None:
    recipe = load(write("train: {minutes: 2}\n"))
    assert recipe == Recipe.model_validate({"train": {"minutes": 2}})
    assert recipe.preset is None


@pytest.mark.parametrize(
    ("overrides", "found"),
    [
        (["train.steps=9"], (9, None)),
        (["train.minutes=0.5"], (None, 0.5)),
        (["train.steps=9", "train.minutes=2"], (None, 2.0)),
        (["train.minutes=2", "train.steps=9"], (9, None)),
        (["train={steps: 9}"], (9, None)),
    ],
)
def test_a_run_has_steps_or_minutes_the_last_said(overrides: list[str], found: tuple[object, object]) -> None:
    for name in ("digits", "swissroll"):  # one has minutes, the other steps
        train = load(name, overrides).train
        assert (train.steps, train.minutes) == found


def test_a_file_with_steps_and_minutes_is_refused(write: Write) -> None:
    (line,) = mistakes(write("train:\n  steps: 5\n  minutes: 2\n"))
    assert "train: set one of steps and minutes" in line
    assert "photos.yaml, line 1" in line


def test_members_of_unions_by_name_in_full_and_by_one_key() -> None:
    assert load("digits", ["model.schedule=cosine"]).model.schedule == Cosine()
    assert load("digits", ["model.schedule={kind: cosine, s: 0.1}"]).model.schedule == Cosine(s=0.1)
    assert load("sprites", ["model.schedule.s=0.1"]).model.schedule == Cosine(s=0.1)  # over the preset's bare name
    assert load("digits", ["model.schedule=linear", "model.schedule.beta_end=0.03"]).model.schedule == Linear(
        beta_end=0.03
    )
    assert load("digits", ["sample.sampler=ddim", "sample.sampler.eta=0.5"]).sample.sampler == Ddim(eta=0.5)
    assert load("digits").sample.sampler == DpmPp()


def test_another_kind_replaces_the_member_below_whatever_the_order() -> None:
    assert load("digits", ["model.backbone=mlp"]).model.backbone == MlpConfig()
    for overrides in (
        ["model.backbone.kind=mlp", "model.backbone.width=64"],
        ["model.backbone.width=64", "model.backbone.kind=mlp"],
    ):
        assert load("digits", overrides).model.backbone == MlpConfig(width=64)


def test_one_key_of_a_member_keeps_the_others() -> None:
    network, changed = (
        load("sprites").model.backbone,
        load("sprites", ["model.backbone.blocks=3"]).model.backbone,
    )
    assert isinstance(network, UNetConfig)
    assert isinstance(changed, UNetConfig)
    assert (changed.blocks, changed.channels, changed.modulation) == (3, network.channels, network.modulation)


def test_values_are_yaml() -> None:
    recipe = load("digits", ["data.source='a=b: c'", "data.flip=true", "train.lr=1e-4", "train.betas=[0.5, 0.6]"])
    assert recipe.data.source == FolderSource(path="a=b: c")
    assert recipe.data.flip is True
    assert recipe.train.lr == 1e-4
    assert recipe.train.betas == (0.5, 0.6)
    assert load("digits", ["data.size=12"]).data.size == (12, 12)


def test_a_key_that_is_written_twice(write: Write) -> None:
    path = write("train:\n  lr: 0.1\n  batch: 8\n  lr: 0.2\n")
    (line,) = mistakes(path)
    assert line.endswith("photos.yaml, line 2)")
    assert "photos.yaml, line 4: the key 'train.lr' stands here a second time" in line


def test_all_mistakes_at_once_each_with_its_place(write: Write) -> None:
    path = write("preset: digits\ntrain:\n  stesp: 5\n  lr: fast\nmodel:\n  schedule: cosin\nsed: 3\n")
    lines = mistakes(path, "data.flip=perhaps", "sample.steps=0")
    assert len(lines) == 6
    for place, words in {
        "photos.yaml, line 3": "unknown key 'train.stesp'. Did you mean 'train.steps'? Accepted here: steps, minutes,",
        "photos.yaml, line 4": "train.lr is 'fast'",
        "photos.yaml, line 6": "'cosin' is no model.schedule: it is one of linear, scaled_linear, cosine, sigmoid,",
        "photos.yaml, line 7": "unknown key 'sed'. Did you mean 'seed'?",
        "argument 'data.flip=perhaps'": "data.flip is 'perhaps'",
        "argument 'sample.steps=0'": "sampling takes at least 1 step, got 0",
    }.items():
        assert [words in line for line in lines if line.startswith(f"{place}: ")] == [True], place


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("train.stesp=3", "unknown key 'train.stesp'. Did you mean 'train.steps'?"),
        ("steps=3", "unknown key 'steps'. Did you mean 'train.steps'?"),
        ("lr=3", "unknown key 'lr'. Did you mean 'train.lr'?"),
        ("size=3", "unknown key 'size'. Did you mean 'data.size'?"),
        ("model.backbone.chanels=3", "Did you mean 'model.backbone.channels'? Accepted here: kind, channels,"),
        ("model.backbone.width=3", "Accepted here: kind, channels, multipliers, blocks,"),
        ("model.schedule.beta_start=3", "Accepted here: kind, shift."),
        ("zzz=3", "unknown key 'zzz'. Accepted here: preset, seed, data,"),
        ("a.b.c=1", "unknown key 'a'. Accepted here: preset,"),
        ("model.schedule=cosin", "Did you mean 'cosine'?"),
        ("model.schedule.kind=cosin", "Did you mean 'cosine'?"),
        ("sample.sampler=ddmi", "it is one of ddpm, ddim, euler, euler_a, heun, dpmpp, dpmpp_sde, unipc, lms"),
        ("objective.weighting=minsnr", "Did you mean 'min_snr'?"),
        ("train.precision=fp16", "train.precision is 'fp16', but must be 'auto', 'float32' or 'bfloat16'"),
        ("model.backbone=3", "model.backbone needs a 'kind', such as model.backbone.kind="),
        ("train=3", "train is a section: name a key in it, such as train.steps="),
        ("data=null", "data is a section: name a key in it, such as data.source="),
        ("model=unet", "model is a section: name a key in it, such as model.backbone="),
        ("seed=x", "seed is 'x': input should be a valid integer"),
        ("train.batch=2.5", "train.batch is 2.5: input should be a valid integer"),
        ("train.betas=[0.9]", "train.betas has too few values"),
        ("data.size=[1,2,3]", "these data have 2 edges, and 1x2x3 are 3"),
        ("data.size=3", "as 4x4 pixels, got 3x3"),
        ("train.steps=0", "a run of 0 steps or minutes does not train"),
        ("objective.drop=2", "drop is a probability, from 0 to 1, and is 2"),
        ("sample.rescale=3", "rescale lie in [0, 1]"),
        ("sample.interval=[1, 0]", "the interval's low comes first"),
        ("sample.threshold=0", "threshold is a percentile in (0, 1]"),
        ("model.backbone.attention_levels=[9]", "(9,) must be among the levels 0 to 1"),
    ],
)
def test_a_mistake_in_an_argument(override: str, words: str) -> None:
    (line,) = mistakes("digits", override)
    assert line.startswith(f"argument '{override}': ")
    assert words in line


@pytest.mark.parametrize(
    ("override", "words"),
    [
        (
            "data.source.pionts=3",
            "Did you mean 'data.source.points'? Accepted here: kind, points, thickness.",
        ),
        ("data.source.points=0", "data.source: take 1 point or more"),
        ("data.source.thickness=-1", "a thickness of 0 or more, not 20000, -1.0"),
        (
            "data.source.kind=swisroll",
            "'swisroll' is no data.source: it is one of folder, digits, openmoji,",
        ),
        ("data.source=3", "data.source needs a 'kind', such as data.source.kind="),
        ("data.source={kind: digits, points: 3}", "unknown key 'data.source.points'."),
        ("data.points=0", "take 1 point or more"),
        ("data.points=x", "data.points is 'x': input should be a valid integer"),
        ("data.source={kind: folder}", "the key 'data.source.path' is missing"),
    ],
)
def test_a_mistake_in_a_source(override: str, words: str) -> None:
    (line,) = mistakes("swissroll", override)
    assert line.startswith(f"argument '{override}': ")
    assert words in line


def test_sources_are_spelled_as_in_older_recipes(write: Write) -> None:
    """There a source is a name, its keys stand beside it, and those of other sources mean nothing."""
    old = write("preset: swissroll\ndata:\n  source: swissroll\n  skin_tones: false\n  points: 100\n  thickness: 0.5\n")
    assert load(old).data.source == SwissRollSource(points=100, thickness=0.5)
    assert load(old, ["data.points=7"]).data.source == SwissRollSource(points=7, thickness=0.5)
    assert load(old, ["data.source.points=7"]).data.source == SwissRollSource(points=7, thickness=0.5)
    assert load("swissroll", ["data={points: 7}"]).data.source == SwissRollSource(points=7)
    assert load("digits", ["data.points=7", "data.source=swissroll"]).data.source == SwissRollSource(points=7)
    assert load("digits", ["data.points=7", "data.skin_tones=true"]) == load("digits")
    assert load("openmoji-text", ["data.source=openmoji"]) == load("openmoji-text")
    assert load("openmoji-text", ["data.skin_tones=false"]).data.source == OpenMojiSource()
    assert load("openmoji-text", ["data.source=photos", "data.skin_tones=true"]).data.source == FolderSource(
        path="photos"
    )
    assert load(write("preset: pixel\ndata: {source: ''}\n")).data.source is None


def test_a_mistake_in_an_older_recipe_has_its_own_place_and_key(write: Write) -> None:
    (line,) = mistakes(write("preset: swissroll\ndata:\n  points: x\n  source: swissroll\n"))
    assert line.startswith("photos.yaml, line 3: data.points is 'x': ")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("foo", "'foo' is not of the form key=value, such as train.steps=1000"),
        ("=3", "'=3' is not of the form key=value"),
        ("train.steps=[1", "the value in 'train.steps=[1' cannot be read: put it in quotes"),
        ("preset=digit", "a preset is what a recipe begins as: name it with preset"),
    ],
)
def test_what_is_no_argument(override: str, words: str) -> None:
    (line,) = mistakes("digits", override)
    assert line.startswith(words)


def test_a_key_of_another_kind_is_not_dropped_silently() -> None:
    (line,) = mistakes("digits", "model.backbone.chanels=3", "model.backbone.kind=mlp")
    assert "unknown key 'model.backbone.chanels'" in line
    (line,) = mistakes("digits", "model.schedule=linear", "model.schedule.s=0.1")
    assert "unknown key 'model.schedule.s'" in line


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("train: {steps: 3\n", "photos.yaml, line 2: this is not valid YAML (expected ',' or '}'"),
        ("seed: 1\na: b: c\n", "photos.yaml, line 2: this is not valid YAML"),
        ("- a\n- b\n", "photos.yaml: a recipe is a mapping of keys to values"),
        ("hello", "photos.yaml: a recipe is a mapping of keys to values"),
        ("\x00", "photos.yaml: this is not valid YAML"),
        ("preset: dig\n", "photos.yaml, line 1: unknown preset 'dig': it is one of array, autoencoder-kl-f4, "),
        ("seed: 3\npreset: dig\n", "photos.yaml, line 2: unknown preset 'dig'"),
        ("preset: digits\ntrain: 5\n", "photos.yaml, line 2: train is a section: name a key in it"),
        ("preset: digits\ntrain:\n", "photos.yaml, line 2: train is a section: name a key in it"),
        ("seed: 3\n", "the recipe: the key 'train' is missing"),
        ("", "the recipe: the key 'train' is missing"),
        (
            "preset: digits\nx: !!python/object/apply:os.system ['exit']\n",
            "photos.yaml, line 2: this is not valid YAML",
        ),
    ],
)
def test_a_mistake_in_a_file(write: Write, text: str, words: str) -> None:
    (line,) = mistakes(write(text))
    assert line.startswith(words)


def test_names_that_lead_nowhere() -> None:
    (line,) = mistakes("digit")
    assert line.startswith("unknown preset 'digit': it is one of array, autoencoder-kl-f4, ")
    assert line.endswith("Did you mean 'digits'?")
    (line,) = mistakes("nowhere.yaml")
    assert line.startswith("the recipe 'nowhere.yaml' cannot be read: ")


def test_accepted_keys_follow_the_kind() -> None:
    assert accepted((), {})[:3] == ["preset", "seed", "data"]
    assert accepted(("model", "backbone"), {"model": {"backbone": {"kind": "mlp"}}}) == ["kind", "width", "depth"]
    assert "channels" in accepted(("model", "backbone"), {"model": {"backbone": "unet"}})
    assert accepted(("nowhere",), {}) == []
