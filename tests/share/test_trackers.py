"""What trackers' own readers read is what the log says, line for line, however often it was told."""

import json
import shutil
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from re import sub
from typing import Any

import numpy as np
import pytest
from PIL import Image

from carrara.files.wandb import records
from carrara.share.trackers import TRACKERS
from carrara.share.trackers.reading import stages
from tiny import Command

pytestmark = pytest.mark.filterwarnings("default")  # of the trackers' own
Read = Mapping[tuple[str, int], list[float]]
"""By name and step, all values that there are: more than one is one too many."""


def line(step: int) -> dict[str, Any]:
    return {"step": step, "loss": 1 / step, "images": 4 * step, "seconds": 0.1 * step, "lr": 1e-4, "grad_norm": None}


def write(path: Path, *lines: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.writelines(json.dumps(one) + "\n" for one in lines)


def preview(run: Path, step: int) -> None:
    (run / "samples").mkdir(exist_ok=True)
    Image.fromarray(np.full((4, 6, 3), step, np.uint8)).save(run / "samples" / f"step-{step:06d}.png")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """What two trainings have written, without the trainings: a first stage's, and one of four steps."""
    folder = tmp_path / "runs" / "cats"
    for stage in (folder / "autoencoder", folder):
        write(stage / "log.jsonl", *map(line, range(1, 5)))
        (stage / "recipe.yaml").write_text("train: {lr: 0.1, steps: 4}\ndata: {source: {path: /home/ada/cats}}\n")
    write(folder / "held_out.jsonl", {"step": 2, "loss@t=0.5": 0.5}, {"step": 4, "loss@t=0.5": 0.25})
    preview(folder, 2)
    measured = {"kid": {"value": 0.125, "error": 0.5}, "pairs": ["a.png"], "measured": {"step": 4, "weights": "ab"}}
    write(folder / "evaluation" / "kid.json", measured)
    return folder


def expected(stage: Path) -> Read:
    """What the files of a stage say."""
    values: dict[tuple[str, int], list[float]] = {}
    for kind, name in (("training", "log"), ("held_out", "held_out")):
        if (path := stage / f"{name}.jsonl").exists():
            for one in map(json.loads, path.read_text().splitlines()):
                numbers = {key: value for key, value in one.items() if key != "step" and value is not None}
                values |= {(f"{kind}/{key}", one["step"]): [float(value)] for key, value in numbers.items()}
    if (stage / "evaluation").exists():
        values |= {("evaluation/kid/kid.value", 4): [0.125], ("evaluation/kid/kid.error", 4): [0.5]}
    return values


def read_tensorboard(place: Path, name: str, identity: str) -> tuple[Read, list[int], Mapping[str, Any]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(place / name), size_guidance={"scalars": 0, "images": 0, "tensors": 0})
    events.Reload()
    values: dict[tuple[str, int], list[float]] = {}
    for tag in events.Tags()["scalars"]:
        for one in events.Scalars(tag):
            values.setdefault((tag, one.step), []).append(one.value)
    texts = [one for tag in events.Tags()["tensors"] for one in events.Tensors(tag)]
    rows = texts[0].tensor_proto.string_val[0].decode().splitlines()
    assert len(texts) == 1
    pictures = [one for tag in events.Tags()["images"] for one in events.Images(tag)]
    assert all((one.width, one.height) == (6, 4) for one in pictures)
    return values, [one.step for one in pictures], {"config": rows}


def read_wandb(place: Path, name: str, identity: str) -> tuple[Read, list[int], Mapping[str, Any]]:
    import wandb
    from wandb.proto.wandb_internal_pb2 import Record

    wandb.teardown()  # waits for the process that writes, as the end of a command does
    values: dict[tuple[str, int], list[float]] = {}
    pictures, rows, config = [], [], dict[str, Any]()
    for path in sorted(place.glob(f"wandb/offline-run-*-{identity}/run-{identity}.wandb")):
        for content in records(path):
            record = Record()
            record.ParseFromString(content)
            config |= {one.key: json.loads(one.value_json) for one in record.run.config.update}
            row = {one.key or one.nested_key[0]: json.loads(one.value_json) for one in record.history.item}
            if not row:
                continue
            rows.append(row["_step"])
            step = row["trainer/step"]
            for key, value in row.items():
                if key == "previews/samples":
                    pictures.append(step)
                elif not key.startswith("_") and key != "trainer/step":
                    values.setdefault((key, step), []).append(value)
    assert rows == list(range(len(rows)))
    return values, pictures, config


def read_mlflow(place: Path, name: str, identity: str) -> tuple[Read, list[int], Mapping[str, Any]]:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=place.absolute().as_uri())
    experiment = client.get_experiment_by_name("carrara")
    assert experiment is not None
    (found,) = client.search_runs([experiment.experiment_id], f"tags.`carrara.run` = '{identity}'")
    assert found.info.run_name == name
    values: dict[tuple[str, int], list[float]] = {}
    for key in found.data.metrics:
        for one in client.get_metric_history(found.info.run_id, key):
            values.setdefault((key, one.step), []).append(one.value)
    artifacts = client.list_artifacts(found.info.run_id, "previews")
    return values, [int(Path(one.path).stem[5:]) for one in artifacts], found.data.params


def read_trackio(place: Path, name: str, identity: str) -> tuple[Read, list[int], Mapping[str, Any]]:
    from trackio.sqlite_storage import SQLiteStorage

    values: dict[tuple[str, int], list[float]] = {}
    pictures: list[int] = []
    run = f"{name}-{identity[:6]}".replace("/", "-")
    for row in SQLiteStorage.get_logs("carrara", run):
        for key, value in row.items():
            if key == "previews/samples":
                pictures.append(row["step"])
            elif key not in ("step", "timestamp"):
                values.setdefault((key, row["step"]), []).append(value)
    return values, pictures, SQLiteStorage.get_run_config("carrara", run) or {}


READERS: Mapping[str, Callable[[Path, str, str], tuple[Read, list[int], Mapping[str, Any]]]] = {
    "tensorboard": read_tensorboard,
    "wandb": read_wandb,
    "mlflow": read_mlflow,
    "trackio": read_trackio,
}


SLOW = {"wandb", "mlflow", "trackio"}
"""Which start processes of their own, or take long to be imported."""


@pytest.fixture(params=[pytest.param(one, marks=[pytest.mark.slow] * (one in SLOW)) for one in sorted(TRACKERS)])
def tracker(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A tracker that is installed."""
    if find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    for name in ("WANDB_DIR", "WANDB_MODE", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "elsewhere"))
    return str(request.param)


def check(tracker: str, run: Path, place: Path, shown: list[int]) -> None:
    """What the tracker's reader reads of each stage is what the run's files say, once."""
    for stage in stages(run):
        values, pictures, config = READERS[tracker](place, stage.name, stage.identity)
        wanted = expected(stage.folder)
        if tracker == "tensorboard":  # which keeps numbers of 32 bits
            wanted = {key: [float(np.float32(one)) for one in found] for key, found in wanted.items()}
        if tracker == "mlflow":
            wanted = {(sub(r"[^\w./: -]+", "_", name), step): found for (name, step), found in wanted.items()}
        assert values == wanted
        assert pictures == (shown if stage.folder == run else [])
        told = str(config)
        assert "train.lr" in told and "0.1" in told and "/home/ada" not in told


def test_a_tracker_has_what_the_log_says(tracker: str, run: Path, tmp_path: Path, carrara: Command) -> None:
    before = {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in run.rglob("*")}
    place = tmp_path / "there"
    code, text = carrara("track", run, "--to", tracker, "--out", place)
    assert code == 0 and "12 entries were new" in text
    check(tracker, run, place, [2])
    assert {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in run.rglob("*")} == before

    code, text = carrara("track", run, "--to", tracker, "--out", place)
    assert code == 0 and "\n0 entries were new" in text
    check(tracker, run, place, [2])

    write(run / "log.jsonl", line(5), line(6))
    preview(run, 6)
    with (run / "log.jsonl").open("a") as file:
        file.write('{"step": 7, "lo')
    code, text = carrara("track", run, "--to", tracker, "--out", place)
    assert code == 0 and "\n3 entries were new" in text
    text = (run / "log.jsonl").read_text()
    (run / "log.jsonl").write_text(text.rpartition("{")[0])
    check(tracker, run, place, [2, 6])


def test_following_ends_with_the_training(
    run: Path, tmp_path: Path, carrara: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tensorboard")
    whole = (run / "log.jsonl").read_text()
    first = run / "autoencoder"
    shutil.move(run / "log.jsonl", tmp_path / "later.jsonl")
    (first / "log.jsonl").write_text(whole[:20])
    moments = iter(
        (
            lambda: (first / "log.jsonl").write_text(whole),
            lambda: write(run / "log.jsonl", line(1), line(2), line(3)),
            # killed, and gone on with from step 2: the log is another file
            lambda: (write(run / "new", line(1), line(2)), (run / "new").replace(run / "log.jsonl")),
            lambda: write(run / "log.jsonl", line(3), line(4)),
        )
    )
    left = [4]

    def working(_: Path) -> object | None:
        left[0] -= 1
        return None if left[0] < 0 else "somebody"

    monkeypatch.setattr("carrara.share.trackers.command.working", working)
    monkeypatch.setattr("carrara.share.trackers.command.time.sleep", lambda _: next(moments)())
    code, text = carrara("track", run, "--to", "tensorboard", "--follow", "--out", tmp_path / "there")
    assert code == 0 and "12 entries were new" in text
    check("tensorboard", run, tmp_path / "there", [2])


def test_the_place_is_beside_the_run(run: Path, carrara: Command) -> None:
    pytest.importorskip("tensorboard")
    code, text = carrara("track", run, "--to", "tensorboard")
    assert code == 0 and f"tensorboard --logdir {run.parent / 'tensorboard'}\n" in text
    check("tensorboard", run, run.parent / "tensorboard", [2])


@pytest.mark.parametrize(
    ("run", "to", "says"),
    [
        ("cats", "wand", "Did you mean 'wandb'?"),
        ("none", "tensorboard", "has no recipe.yaml"),
        ("cats", "mlflow", "pip install 'carrara[mlflow]'"),
    ],
)
def test_mistakes_are_sentences(
    run: str, to: str, says: str, tmp_path: Path, carrara: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    if to == "mlflow":
        monkeypatch.setattr("carrara.share.trackers.command.find_spec", lambda _: None)
    elif to == "tensorboard":
        pytest.importorskip("tensorboard")
    code, text = carrara("track", tmp_path / run, "--to", to, "--out", tmp_path / "there")
    assert code == 2 and says in text and not (tmp_path / "there").exists()


def test_what_a_tracker_refuses_is_a_sentence(
    run: Path, tmp_path: Path, carrara: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tensorboard")

    def refuse(*_: object) -> None:
        raise RuntimeError("no more room\nin there")

    monkeypatch.setattr("carrara.share.trackers.tensorboard.TensorBoard.write", refuse)
    code, text = carrara("track", run, "--to", "tensorboard", "--out", tmp_path / "there")
    assert code == 2 and "tensorboard refuses (no more room)" in text


def test_a_file_of_another_kind_is_no_file_of_wandb(tmp_path: Path) -> None:
    (tmp_path / "a.wandb").write_bytes(b"something else")
    with pytest.raises(ValueError, match="no file of Weights & Biases"):
        list(records(tmp_path / "a.wandb"))


def test_records_of_wandb_are_put_together(tmp_path: Path) -> None:
    """A record in two pieces, one that fits, and one that is still being written."""

    def piece(kind: int, content: bytes) -> bytes:
        return bytes(4) + len(content).to_bytes(2, "little") + bytes([kind]) + content

    head = b":W&B\xe1\xbe\x00"
    first = piece(2, b"a" * ((1 << 15) - len(head) - 7))
    (tmp_path / "a.wandb").write_bytes(head + first + piece(4, b"b") + piece(1, b"whole") + piece(1, b"half")[:-2])
    assert [len(one) for one in records(tmp_path / "a.wandb")] == [(1 << 15) - 14 + 1, 5]
