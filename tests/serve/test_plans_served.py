"""Plans over HTTP: what would be trained, the keys with their docs, mistakes at the key, and dry runs."""

import time
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from workshops import CHANGES, asked, message

from carrara.recipe.loading import load, presets
from carrara.serve.keys import keys_of, written
from carrara.serve.wanted import kinds_chosen


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with asked(tmp_path_factory.mktemp("plans")) as found:
        yield found


def planned(client: TestClient, **said: Any) -> dict[str, Any]:
    answer = client.post("/api/plans", json={"data": "digits", **said})
    assert answer.status_code == 200, answer.text
    return answer.json()


def keys(plan: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {key["key"]: key for key in plan["keys"]}


def test_a_plan_says_what_and_why(client: TestClient, tmp_path: Path) -> None:
    plan = planned(client)
    assert (plan["name"], plan["preset"], plan["resumes"], plan["mistakes"]) == ("digits", "digits", False, [])
    assert plan["stages"] == [{"title": "diffusion", "kind": "diffusion"}]
    assert planned(client, preset="pixel")["reasons"]
    assert [one["title"] for one in planned(client, preset="vae")["stages"]] == ["autoencoder"]


def test_keys_have_values_docs_and_types(client: TestClient) -> None:
    found = keys(planned(client))
    assert list(found)[:3] == ["train.steps", "train.minutes", "train.batch"]
    assert found["train.batch"] | {"doc": ""} == {
        "key": "train.batch",
        "section": "train",
        "value": "64",
        "usual": "64",
        "changed": False,
        "doc": "",
        "type": "int",
        "main": True,
    }
    assert found["train.minutes"]["unit"] == "minutes" and "wall-clock" in found["train.minutes"]["doc"]
    assert found["model.schedule"]["type"] == "choice" and "rectified_flow" in found["model.schedule"]["choices"]
    assert found["train.betas"]["type"] == "pair" and found["data.flip"]["type"] == "bool"
    assert all(key["doc"] for key in found.values()), [name for name, key in found.items() if not key["doc"]]
    assert not any(name.endswith((".path", ".run", ".teacher", ".only", ".kind")) for name in found)


def test_changes_are_marked_and_count(client: TestClient) -> None:
    plan = planned(client, changes={"train.steps": "500", "model.schedule": "linear", "train.lr": ""})
    found = keys(plan)
    steps = found["train.steps"]
    assert (steps["value"], steps["usual"], steps["changed"]) == ("500", "", True)
    assert found["train.minutes"]["value"] == "" and found["train.minutes"]["usual"] == "1"
    assert "model.schedule.beta_start" in found and "model.schedule.s" not in found
    assert [one["key"] for one in plan["mistakes"]] == ["train.lr"]


@pytest.mark.parametrize(
    ("changes", "key", "said"),
    [
        ({"train.stps": "5"}, "train.stps", "Did you mean 'train.steps'?"),
        ({"train.steps": "many"}, "train.steps", "valid integer"),
        ({"train.steps": "5", "train.batch": "0"}, "train.batch", "above 0"),
        ({"model.schedule": "linaer"}, "model.schedule", "Did you mean 'linear'?"),
        ({"data.size": "1"}, "data.size", "at least 4"),
        ({"train.betas": "[1, 2"}, "train.betas", "quotes"),
        ({"train": "{steps: 5}"}, "train", "is a section"),
        ({"data.source": "/etc"}, "data.source", "chosen above"),
        ({"data.source.path": "/etc"}, "data.source.path", "chosen above"),
        ({"data.source.only": "/etc/passwd"}, "data.source.only", "chosen above"),
        ({"data.source.metadata": "../x.csv"}, "data.source.metadata", "in the data"),
        ({"model.first_stage": "{kind: trained, run: /etc}"}, "model.first_stage", "leads to files"),
        ({"model.conditioner": "{kind: encoder, source: /etc}"}, "model.conditioner", "leads to files"),
        ({"a=b": "1"}, "a=b", "no key"),
        ({"x" * 150: "1"}, "x" * 150, "unknown key"),
        ({"seed": "&a [*a, *a]"}, "seed", "quotes"),
    ],
)
def test_a_mistake_stands_at_its_key_and_the_rest_is_planned(
    client: TestClient, changes: dict[str, str], key: str, said: str
) -> None:
    plan = planned(client, changes={**changes, "train.warmup": "7"})
    found = {one["key"]: one["message"] for one in plan["mistakes"]}
    assert list(found) == [key] and said in found[key], found
    assert keys(plan)["train.warmup"]["value"] == "7"
    assert "argument" not in found[key]
    refused = message(client.post("/api/trainings", json={"data": "digits", "changes": changes}))
    assert refused.startswith(key)


@pytest.mark.parametrize("name", ["../up", "a/b", ".hidden", "-x", "", "x" * 61, "a\nb"])
def test_names_lead_nowhere(client: TestClient, name: str) -> None:
    plan = planned(client, name=name)
    assert plan["name"] == "digits"
    assert [one["key"] for one in plan["mistakes"]] == (["name"] if name else [])


def test_what_the_preset_leaves_open_stays_as_it_was_chosen(client: TestClient, tmp_path: Path, photos: Path) -> None:
    with asked(tmp_path / "studio", data=(photos,)) as here:
        usual = here.post("/api/plans", json={"data": "photos"}).json()
        changes = {"model.backbone.channels": "128", "train.batch": "4"}
        plan = here.post("/api/plans", json={"data": "photos", "changes": changes}).json()
    assert plan["mistakes"] == []
    before, after = keys(usual), keys(plan)
    different = {name for name in before if before[name]["value"] != after[name]["value"]}
    assert different == {"model.backbone.channels", "train.batch"}


def test_unknown_data_and_presets_are_sentences(client: TestClient) -> None:
    assert "Did you mean" in message(client.post("/api/plans", json={"data": "digts"}), 404)
    assert "unknown preset" in message(client.post("/api/plans", json={"data": "digits", "preset": "digitz"}))
    assert "preset" in message(client.post("/api/plans", json={"data": "digits", "preset": "/etc/x.yaml"}))
    assert "wrong" in message(client.post("/api/plans", json={"data": "digits", "shell": "rm"}))
    assert "wrong" in message(client.post("/api/plans", json=[]))


def test_every_presets_keys_are_written_as_they_are_read() -> None:
    for name in presets():
        recipe = load(name)
        found = {key.key: key.value for key in keys_of(recipe) if key.value}
        assert all(key.doc for key in keys_of(recipe))
        said = {**kinds_chosen(recipe, recipe, found), **found}
        again = load(name, [f"{one}={said[one]}" for one in sorted(said, key=lambda one: one.count("."))])
        assert again == recipe, name
    assert written((1, (2.5, None))) == "[1, [2.5, ]]"


def test_a_dry_run_leaves_no_trace(tmp_path: Path) -> None:
    with asked(tmp_path) as client:
        begun = client.post("/api/rehearsals", json={"data": "digits", "changes": CHANGES})
        assert begun.status_code == 202, begun.text
        for _ in range(1200):
            found = client.get(f"/api/rehearsals/{begun.json()['id']}").json()
            if found["state"] != "running":
                break
            time.sleep(0.1)
        assert found["state"] == "done", found
        (stage,) = found["stages"]
        assert stage["title"] == "diffusion" and stage["seconds"] > 0 and "free" in stage["disk"]
        assert [name for name, _ in stage["rows"]][:3] == ["data", "sample", "parameters"]
        assert "no such dry run" in message(client.get("/api/rehearsals/none"), 404)
        wrong = {"data": "digits", "changes": {"train.steps": "x"}}
        assert message(client.post("/api/rehearsals", json=wrong)).startswith("train.steps")
    assert list(tmp_path.iterdir()) == []
