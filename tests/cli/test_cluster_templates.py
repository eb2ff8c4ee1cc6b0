"""The templates of docs/cluster: what they start is a command that torchrun and Carrara understand, and their keys are
those that Slurm, SkyPilot and Kubernetes know."""

import importlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from torch.distributed.run import get_args_parser

from carrara.cli.app import app
from tiny import TINY

FOLDER = Path(__file__).parents[2] / "docs" / "cluster"
SLURM = {"SLURM_JOB_NODELIST": "one,two", "SLURM_NNODES": "2", "SLURM_GPUS_ON_NODE": "8", "SLURM_JOB_ID": "7"}
SKYPILOT = {
    "SKYPILOT_NUM_NODES": "2",
    "SKYPILOT_NUM_GPUS_PER_NODE": "8",
    "SKYPILOT_TASK_ID": "sky-7",
    "SKYPILOT_NODE_IPS": "one\ntwo",
}
KNOWN: Mapping[str, Sequence[str]] = {
    "skypilot": ("name", "num_nodes", "resources", "envs", "volumes", "setup", "run"),
    "resources": ("accelerators", "use_spot", "job_recovery"),
    "pytorchjob": ("apiVersion", "kind", "metadata", "spec"),
    "spec": ("nprocPerNode", "elasticPolicy", "runPolicy", "pytorchReplicaSpecs"),
    "elasticPolicy": ("minReplicas", "maxReplicas", "maxRestarts", "rdzvBackend"),
    "Worker": ("replicas", "restartPolicy", "template"),
}
"""Keys as they stand in the documentation of SkyPilot and of Kubeflow."""


def document(name: str) -> dict[str, Any]:
    return yaml.safe_load((FOLDER / name).read_text())


def stubs(folder: Path, **scripts: str) -> str:
    """A PATH on which some commands are these scripts."""
    folder.mkdir()
    for name, script in scripts.items():
        (folder / name).write_text(f"#!/bin/bash\n{script}\n")
        (folder / name).chmod(0o755)
    return os.pathsep.join([str(folder), str(Path(sys.executable).parent), os.environ["PATH"]])


def understood(words: Sequence[str], nodes: str, processes: str) -> None:
    """By torchrun, and what it starts by Carrara."""
    read = get_args_parser().parse_args(list(words))
    assert (read.nnodes, read.nproc_per_node, read.module, read.training_script) == (nodes, processes, True, "carrara")
    function, given, _ = app.parse_args(read.training_script_args, exit_on_error=False, print_error=False)
    assert function.__name__ == "train" and given.kwargs["run"] == Path("/shared/runs/photos")


def test_slurm(tmp_path: Path) -> None:
    """With stubs in the place of Slurm: one process of each host is torchrun, and all meet on the first host."""
    path = stubs(tmp_path / "bin", srun=f'printf "%s\\n" "$@" > {tmp_path}/words', scontrol="echo one; echo two")
    words = ["bash", str(FOLDER / "slurm.sh"), "/shared/photos", "/shared/runs/photos", "train.shard=hybrid"]
    subprocess.run(words, env={**os.environ, **SLURM, "PATH": path}, check=True, timeout=30)
    step, *line = (tmp_path / "words").read_text().splitlines()
    assert step == "--kill-on-bad-exit=1" and line[0] == "torchrun"
    assert "one:29500" in line and line[line.index("--max-restarts") + 1] == "3"
    understood(line[1:], "2", "8")
    said = subprocess.run(words[:2], env={**os.environ, **SLURM, "PATH": path}, capture_output=True, text=True)
    assert said.returncode and "the data come first" in said.stderr
    options = [one.split()[1] for one in (FOLDER / "slurm.sh").read_text().splitlines() if one.startswith("#SBATCH")]
    assert {"--requeue", "--signal=B:TERM@120"} <= set(options)


def test_skypilot(tmp_path: Path) -> None:
    task = document("skypilot.yaml")
    assert set(task) <= set(KNOWN["skypilot"]) and set(task["resources"]) <= set(KNOWN["resources"])
    path = stubs(tmp_path / "bin", torchrun=f'printf "%s\\n" "$@" > {tmp_path}/words')
    environment = {**os.environ, **SKYPILOT, "PATH": path}
    subprocess.run(["bash", "-eu", "-c", task["run"]], env=environment, check=True, timeout=30)
    line = (tmp_path / "words").read_text().splitlines()
    assert "one:29500" in line and line[line.index("--max-restarts") + 1] == "3"
    understood(line, "2", "8")


def test_kubernetes() -> None:
    job = document("pytorchjob.yaml")
    spec = job["spec"]
    worker = spec["pytorchReplicaSpecs"]["Worker"]
    found = {"pytorchjob": job, "spec": spec, "elasticPolicy": spec["elasticPolicy"], "Worker": worker}
    for name, section in found.items():
        assert set(section) <= set(KNOWN[name]), name
    assert spec["elasticPolicy"]["maxReplicas"] == spec["elasticPolicy"]["minReplicas"] == worker["replicas"] == 2
    pod = worker["template"]["spec"]
    (container,) = pod["containers"]
    assert str(container["resources"]["limits"]["nvidia.com/gpu"]) == spec["nprocPerNode"]
    assert {one["name"] for one in container["volumeMounts"]} == {one["name"] for one in pod["volumes"]}
    assert pod["terminationGracePeriodSeconds"] >= 120 and container["command"][0] == "torchrun"
    told = ["--nnodes", "2", "--nproc-per-node", spec["nprocPerNode"]]  # by the operator, as PET_NNODES and the like
    understood([*told, *container["command"][1:]], "2", "8")


def test_skypilot_by_its_own_schema() -> None:
    schemas = pytest.importorskip("sky.utils.schemas", reason="pip install skypilot has the schema, and 29 MB more")
    jsonschema_rs = pytest.importorskip("jsonschema_rs", reason="the extra dev has it")
    task = document("skypilot.yaml")
    jsonschema_rs.validate(schemas.get_task_schema(), task)
    jsonschema_rs.validate(schemas.get_resources_schema(), task["resources"])


def test_kubernetes_by_the_operators_own_classes() -> None:
    """Every key is one that the classes of Kubeflow and Kubernetes have, and no value is of another kind."""
    reason = "pip install kubeflow-training has them, and 126 MB of kubernetes'"
    kubeflow = pytest.importorskip("kubeflow.training.models", reason=reason)
    kubernetes = importlib.import_module("kubernetes.client.models")

    def check(value: Any, kind: str) -> None:
        if kind.startswith("list["):
            return [check(one, kind[5:-1]) for one in value] and None
        if kind.startswith("dict("):
            return [check(one, kind[5:-1].split(", ")[1]) for one in value.values()] and None
        model = getattr(kubeflow, kind, getattr(kubernetes, kind, None))
        if model is None:
            basic = {"str": str, "int": int, "bool": bool}.get(kind, object)
            assert isinstance(value, basic), (value, kind)
            return None
        names = {spelled: name for name, spelled in model.attribute_map.items()}
        for key, one in value.items():
            assert key in names, f"{kind} has no {key}"
            check(one, model.openapi_types[names[key]])
        return None

    check(document("pytorchjob.yaml"), "KubeflowOrgV1PyTorchJob")


@pytest.mark.slow
def test_slurm_saves_and_queues_again(photos: Path, tmp_path: Path) -> None:
    """The script itself, with two small processes, until Slurm says that the time is nearly over."""
    path = stubs(
        tmp_path / "bin",
        srun='shift; exec "$@"',
        scontrol=f'if [ "$1" = requeue ]; then echo "$2" > {tmp_path}/requeued; else echo localhost; fi',
    )
    one = {**SLURM, "SLURM_NNODES": "1", "SLURM_GPUS_ON_NODE": "2", "PORT": "29673", "PATH": path}
    environment = {**os.environ, **one, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    words = ["bash", str(FOLDER / "slurm.sh"), str(photos), str(tmp_path / "run"), *TINY, "preview.every=0"]
    with subprocess.Popen(
        [*words, "train.shard=full"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as job:
        for _ in range(1200):
            if (tmp_path / "run" / "log.jsonl").is_file():
                break
            time.sleep(0.1)
        time.sleep(1)
        job.send_signal(signal.SIGTERM)
        said, _ = job.communicate(timeout=120)
    assert job.returncode != 0 and "Stopped and saved after step" in said, said
    assert (tmp_path / "requeued").read_text() == "7\n"
    assert any((tmp_path / "run" / "checkpoints").iterdir())
