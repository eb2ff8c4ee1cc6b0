"""A subject of a few pictures: what learns of a model and what does not, and what the model drew before beside it."""

import shutil
from io import BytesIO
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from carrara.conditioning import EncodedTextConfig, LearnedText, LearnedTextConfig, UnconditionalConfig, VectorsConfig
from carrara.data import Arrays, DataInfo
from carrara.data.prior import WithPrior
from carrara.draw import Request, finish, sample
from carrara.errors import UserError
from carrara.model import DiffusionModel
from carrara.objective import Token
from carrara.recipe.kinds.subjects import columns_of, told_of
from carrara.recipe.loading import load
from carrara.run.plan import Plan, plan, plan_finetuning
from carrara.run.session import Session
from carrara.seeds import Draws
from carrara.store import OpenModel, open_model
from carrara.types import WEIGHT
from small_models import saved

CPU = torch.device("cpu")
BRIEF = (
    *("train.batch=4", "train.steps=4", "train.minutes=null", "train.precision=float32", "train.compile=false"),
    *("checkpoint.every=2", "preview.every=0", "sample.steps=2", "data.held_out=0"),
)
UNET = (
    "model.backbone={kind: unet, channels: 8, multipliers: [1, 2], blocks: 1, attention_levels: [1], "
    "transformer_depths: [0, 1], context_width: 0}"
)
PRIOR = "objective.prior={prompt: dog, count: 3}"
TEXT = "model.conditioner={kind: text, width: 8, depth: 1, heads: 1, pieces: 100}"


def trained(planned: Plan) -> None:
    for stage in planned.stages:
        for _ in Session(stage, CPU):
            pass


def opened(run: Path) -> DiffusionModel:
    model = open_model(run)
    assert isinstance(model, DiffusionModel)
    return model


def drawn(model: DiffusionModel, *wishes: str | None) -> Tensor:
    seeds = tuple(range(len(wishes)))
    return finish(sample(OpenModel(model=model), Request(wishes=wishes, seeds=seeds, settings=model.config.sample)))


def pictures(folder: Path, count: int) -> Path:
    folder.mkdir(parents=True)
    for k in range(count):
        Image.fromarray(np.full((8, 8, 3), 20 * k, np.uint8)).save(folder / f"{k}.png")
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has learned to read for two steps."""
    folder = tmp_path_factory.mktemp("subject")
    for k in range(8):
        pictures(folder / "photos", 8) if not k else None
        (folder / "photos" / f"{k}.txt").write_text(f"a {('red', 'blue')[k % 2]} heart", encoding="utf-8")
    trained(
        plan(str(folder / "photos"), "pixel", folder / "base", [*BRIEF, UNET, TEXT, "data.size=8", "train.steps=2"])
    )
    return folder / "base"


@pytest.fixture(scope="module")
def subject(base: Path) -> Path:
    return pictures(base.with_name("subject"), 3)


def token(base: Path, subject: Path, run: Path, *more: str) -> Plan:
    learn = ("objective.learn={kind: token, word: mine, begin: red heart}", "objective.caption=a mine")
    return plan_finetuning(base, str(subject), run, [*BRIEF, *learn, "train.lr=0.1", *more])


@pytest.fixture(scope="module")
def word(base: Path, subject: Path) -> Path:
    trained(token(base, subject, base.with_name("word")))
    return base.with_name("word")


def test_a_new_word_alone_learns(base: Path, word: Path) -> None:
    before, after = opened(base), opened(word)
    new = after.state_dict()
    moved = {name for name, value in before.state_dict().items() if not torch.equal(new[name], value)}
    assert moved == set() and new.keys() - before.state_dict().keys() == {"conditioner.words.0"}
    assert isinstance(before.conditioner, LearnedText)
    began = before.conditioner.embedding_of("red heart")
    assert (new["conditioner.words.0"] - began).abs().max() > 0.01


def test_a_new_word_is_said_in_prompts_and_changes_no_other(base: Path, word: Path) -> None:
    before, after = opened(base), opened(word)
    with torch.no_grad():  # the network of so short a training hears nothing
        for model in (before, after):
            for name, weight in sorted(model.denoiser.named_parameters()):
                weight += 0.1 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(len(name)))
    assert torch.equal(drawn(before, "a red heart", None), drawn(after, "a red heart", None))
    assert not torch.equal(drawn(after, "a mine"), drawn(after, "a heart"))
    assert torch.equal(drawn(after, "a Mine"), drawn(after, "a mine"))


@pytest.mark.parametrize(
    ("word", "why"),
    [("Café", "'cafe' is known"), ("\u200b", "is no word"), ("MINE", "'mine' is known"), ("", "is no word")],
)
def test_a_word_is_new_as_it_is_read(word: str, why: str) -> None:
    known = LearnedTextConfig(width=8, heads=1, depth=1, vocabulary="[PAD] [UNK] a cafe").with_word("mine")
    assert known.with_word("Thé").words == ("mine", "the")
    with pytest.raises(UserError, match=why):
        known.with_word(word)


@pytest.mark.parametrize("learned", [("heart", "zz"), ("a", "a"), ("",), ("q", "q", "zz")])
def test_words_that_would_stand_for_others_are_refused(learned: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="each of them is another"):
        LearnedTextConfig(width=8, heads=1, depth=1, vocabulary="[PAD] [UNK] heart", learned=learned)


def test_a_caption_says_a_word_beside_a_comma(base: Path, subject: Path, tmp_path: Path) -> None:
    said = ("objective.learn={kind: token, word: mine}", "objective.caption='a Mine, red heart'")
    plan_finetuning(base, str(subject), tmp_path / "run", [*BRIEF, *said])


def prepared(planned: Plan) -> list[bytes]:
    """What was drawn before, once it is."""
    for _ in Session(planned.stages[0], CPU)._prepare():  # pyright: ignore[reportPrivateUsage]
        pass
    return [file.read_bytes() for file in sorted((planned.folder / "prior").rglob("*.png"))]


def test_what_was_drawn_before_is_drawn_again_where_it_is_damaged(base: Path, subject: Path, tmp_path: Path) -> None:
    content = prepared(preserved(base, subject, tmp_path / "run"))
    files = sorted((tmp_path / "run" / "prior").rglob("*.png"))
    files[0].write_bytes(content[0][:40])
    files[1].write_bytes(b"")
    assert prepared(preserved(base, subject, tmp_path / "run")) == content


def test_each_of_what_was_drawn_before_is_of_its_own_seed(
    subject: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many are drawn at a time."""
    base, said = (
        saved("pixels", tmp_path / "base"),
        ("objective.caption=dog", "objective.prior={prompt: cat, count: 5}"),
    )
    whole = prepared(plan_finetuning(base, str(subject), tmp_path / "whole", [*BRIEF, *said]))
    monkeypatch.setattr("carrara.draw.prior.AT_A_TIME", 2)
    parts = prepared(plan_finetuning(base, str(subject), tmp_path / "parts", [*BRIEF, *said]))
    one, other = ([np.asarray(Image.open(BytesIO(png))).astype(int) for png in pngs] for pngs in (whole, parts))
    assert all(np.abs(a - b).max() <= 1 for a, b in zip(one, other, strict=True)) and len(set(whole)) == 5


def test_a_word_in_a_word_is_not_read() -> None:
    config = LearnedTextConfig(width=8, heads=1, depth=1, vocabulary="[PAD] [UNK] a mi ##ne ##s").with_word("mine")
    reader = config.build(4)
    assert isinstance(reader, LearnedText)
    assert [row.tokens.tolist() for row in reader.read(["a mine", "a mines"])] == [[2, 6], [2, 3, 4, 5]]


@pytest.mark.slow
def test_a_word_that_goes_on_learning_gives_the_same_weights(base: Path, subject: Path, word: Path) -> None:
    again = base.with_name("again")
    for event in Session(token(base, subject, again).stages[0], CPU):
        if getattr(event, "step", 0) == 3:
            break
    assert not (again / "model").exists()
    trained(token(base, subject, again))
    for name, value in opened(word).state_dict().items():
        assert torch.equal(value, opened(again).state_dict()[name]), name


def test_a_second_word_beside_the_first(base: Path, subject: Path, word: Path, tmp_path: Path) -> None:
    learn = ("objective.learn={kind: token, word: other}", "objective.caption=a other mine", "train.lr=0.1")
    trained(plan_finetuning(word, str(subject), tmp_path / "two", [*BRIEF, *learn]))
    first, both = opened(word).state_dict(), opened(tmp_path / "two").state_dict()
    assert both.keys() - first.keys() == {"conditioner.words.1"}
    assert all(torch.equal(both[name], value) for name, value in first.items())


def preserved(base: Path, subject: Path, run: Path, *more: str) -> Plan:
    said = ("objective.caption=a red heart", "objective.prior={prompt: a heart, count: 5, weight: 2}")
    return plan_finetuning(base, str(subject), run, [*BRIEF, *said, *more])


@pytest.mark.parametrize("learn", ["all", "lora"])
def test_what_was_drawn_before_is_in_the_batches(base: Path, subject: Path, tmp_path: Path, learn: str) -> None:
    run = tmp_path / "run"
    trained(preserved(base, subject, run, f"objective.learn={{kind: {learn}}}"))
    files = sorted((run / "prior").rglob("*.png"))
    assert [path.name for path in files] == [f"{k:05d}.png" for k in range(5)]
    expected = drawn(opened(base), *["a heart"] * 5)
    for k, path in enumerate(files):
        found = np.asarray(Image.open(path), np.float32) / 127.5 - 1
        assert np.abs(found - expected[k].clamp(-1, 1).movedim(0, -1).numpy()).max() < 1 / 127
    session = Session(preserved(base, subject, run, f"objective.learn={{kind: {learn}}}").stages[0], CPU)
    batches = list(islice(session._batches(0), 50))  # pyright: ignore[reportPrivateUsage]
    weights = torch.cat([batch.columns[WEIGHT] for batch in batches])
    assert set(weights.flatten().tolist()) == {1.0, 2.0} and weights.mean().item() == pytest.approx(1.5, abs=0.05)


def test_a_stopped_run_with_a_prior_goes_on_to_the_bit(base: Path, subject: Path, tmp_path: Path) -> None:
    trained(preserved(base, subject, tmp_path / "whole"))
    for event in Session(preserved(base, subject, tmp_path / "parts").stages[0], CPU):
        if getattr(event, "step", 0) == 2:
            break
    first = next((tmp_path / "parts" / "prior").rglob("*.png"))
    content = first.read_bytes()
    first.unlink()
    trained(preserved(base, subject, tmp_path / "parts"))
    assert first.read_bytes() == content
    one, other = (opened(tmp_path / name).state_dict() for name in ("whole", "parts"))
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_the_weight_of_the_prior_is_in_the_loss(base: Path, subject: Path, tmp_path: Path) -> None:
    session = Session(preserved(base, subject, tmp_path / "run").stages[0], CPU)
    for _ in session._prepare():  # pyright: ignore[reportPrivateUsage]
        pass
    batch = next(session._batches(0))  # pyright: ignore[reportPrivateUsage]
    draws = Draws(0, batch.position)
    weighed = session.objective(batch, "main", draws).per_sample
    columns: Mapping[str, Tensor] = {name: value for name, value in batch.columns.items() if name != WEIGHT}
    plain = session.objective(
        type(batch)(x=batch.x, position=batch.position, columns=columns), "main", draws
    ).per_sample
    assert torch.equal(weighed, plain * batch.columns[WEIGHT][:, 0])


def test_half_of_an_epoch_is_of_either() -> None:
    data = Arrays(DataInfo(name="x", channels=1, native=(4, 4)), np.zeros((3, 4, 4, 1), np.uint8))
    both = WithPrior(data, 5, lambda k: np.full((4, 4, 1), k + 1, np.uint8), caption="c", columns={}, weight=0.5)
    assert [int(both.pixels(k).max()) for k in range(len(both))] == [0] * 5 + [1, 2, 3, 4, 5]
    assert len({both.key(k) for k in range(10)}) == 10
    assert [both.columns(k)[WEIGHT].tolist() for k in (0, 9)] == [[1.0], [0.5]]  # pyright: ignore


def test_the_word_is_in_the_recipe_and_in_the_folder_alone(word: Path, tmp_path: Path) -> None:
    shutil.copytree(word / "model", tmp_path / "moved")
    config = opened(tmp_path / "moved").config.conditioner
    assert isinstance(config, LearnedTextConfig) and config.words == ("mine",)
    assert "words.0" in load_file(tmp_path / "moved" / "conditioner.safetensors")
    assert load(word / "recipe.yaml").model.conditioner == config


ERRORS = {
    "the word 'heart' is known": ("objective.learn={kind: token, word: heart}", "objective.caption=a heart"),
    "is no word that a prompt": ("objective.learn={kind: token, word: 'my own'}", "objective.caption=a heart"),
    "no caption says 'mine'": ("objective.learn={kind: token, word: mine}", "objective.caption=a heart"),
    "none is named": ("objective.learn=token", "objective.caption=a heart"),
    "cannot begin as": ("objective.learn={kind: token, word: mine, begin: 'ζ'}", "objective.caption=a mine"),
    "cannot read 'ζ'": ("objective.caption=a ζ",),
    "leave prior out": ("objective.learn={kind: token, word: mine}", "objective.prior={prompt: a heart}"),
    "1 to 1,000,000": ("objective.prior={count: 0}",),
}


@pytest.mark.parametrize("why", ERRORS)
def test_what_cannot_be_is_a_sentence(base: Path, subject: Path, tmp_path: Path, why: str) -> None:
    with pytest.raises(UserError, match=why):
        trained(plan_finetuning(base, str(subject), tmp_path / "run", [*BRIEF, *ERRORS[why]]))
    assert not (tmp_path / "run" / "model").exists()


def test_a_model_of_classes_is_told_the_class_of_its_subject(subject: Path, tmp_path: Path) -> None:
    base = saved("pixels", tmp_path / "base")
    said = ("objective.caption=dog", "objective.prior={prompt: cat, count: 3}")
    session = Session(plan_finetuning(base, str(subject), tmp_path / "run", [*BRIEF, *said]).stages[0], CPU)
    for _ in session._prepare():  # pyright: ignore[reportPrivateUsage]
        pass
    batches = list(islice(session._batches(0), 8))  # pyright: ignore[reportPrivateUsage]
    labels = torch.cat([batch.columns["label"] for batch in batches])
    own = torch.cat([batch.columns[WEIGHT] for batch in batches])
    assert labels.shape == (32, 2) and own.numel() == 32
    assert {tuple(row) for row in labels.tolist()} == {(0.0, 1.0), (1.0, 0.0)}
    for name in ("fox", "wolf"):
        shutil.copytree(subject, tmp_path / "others" / name)
    with pytest.raises(UserError, match=r"the data's are fox, wolf: .* objective\.caption=NAME"):
        plan_finetuning(base, str(tmp_path / "others"), tmp_path / "other", list(BRIEF))
    with pytest.raises(UserError, match="unknown label 'cow'"):
        plan_finetuning(base, str(subject), tmp_path / "other", [*BRIEF, "objective.caption=cow"])


def test_conditions_without_words_of_their_own_are_refused() -> None:
    learn = Token(word="mine")
    with pytest.raises(UserError, match="takes no new word"):
        told_of(EncodedTextConfig(width=8), learn)
    with pytest.raises(UserError, match="reads no text"):
        told_of(UnconditionalConfig(), learn)
    with pytest.raises(UserError, match="is told nothing"):
        columns_of(UnconditionalConfig(), "a heart")
    with pytest.raises(UserError, match="is told numbers"):
        columns_of(VectorsConfig(size=2), "a heart")


def test_a_model_that_sees_pictures_draws_nothing_before(subject: Path, tmp_path: Path) -> None:
    base = saved("lowres", tmp_path / "base")
    planned = plan_finetuning(base, str(subject), tmp_path / "run", [*BRIEF, "objective.caption=dog", PRIOR])
    with pytest.raises(UserError, match="draws nothing without: leave prior out"):
        trained(planned)
