"""Fine-tuning in the Train tab: plans that begin with a served model, their dry runs, and trainings."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from tuned_pictures import drawn
from workshops import asked, killed_at_the_end, message, until

from carrara.lora import read_adapter
from small_models import saved

BRIEF = {
    "train.steps": "3",
    "train.minutes": "",
    "train.batch": "2",
    "preview.every": "0",
    "preview.held_out": "2",
    "objective.learn.layers": "[conv1, emb]",
    "objective.learn.rank": "2",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tuning")
    for kind, name in (("pixels", "base"), ("autoencoder", "stage")):
        saved(kind, folder / "runs" / name)
    drawn(folder / "pets", "cat", "dog")
    drawn(folder / "birds", "wren", "owl")
    return folder


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[TestClient]:
    with killed_at_the_end(folder / "runs"), asked(folder, data=(folder / "pets", folder / "birds")) as found:
        yield found


def planned(client: TestClient, data: str = "pets", **said: Any) -> dict[str, Any]:
    answer = client.post("/api/plans", json={"data": data, "start": "base", **said})
    assert answer.status_code == 200, answer.text
    return answer.json()


def keys(plan: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {key["key"]: key for key in plan["keys"]}


def test_a_plan_begins_with_a_model_and_shows_what_can_be_said_of_it(client: TestClient) -> None:
    plan = planned(client)
    found = keys(plan)
    assert (plan["name"], plan["mistakes"], plan["stages"]) == (
        "base-pets", [], [{"title": "finetuning", "kind": "finetuning"}],
    )  # fmt: skip
    assert list(found)[:2] == ["objective.learn", "objective.caption"]
    assert (found["objective.learn"]["value"], found["objective.learn"]["choices"]) == ("lora", ["lora", "all"])
    assert "objective.learn.rank" in found and not any(name.startswith(("model.", "sample.")) for name in found)
    assert "objective.learn.rank" not in keys(planned(client, changes={"objective.learn": "all"}))
    assert "objective.learn" not in keys(client.post("/api/plans", json={"data": "pets"}).json())


def test_mistakes_stand_at_their_keys(client: TestClient) -> None:
    wrong = {
        "objective.learn.rank": ("0", "the rank of an adapter"),
        "objective.start": ("/etc", "leads to files"),
        "model.backbone.channels": ("4", "what one starts from"),
        "sample.steps": ("4", "what one starts from"),
        "objective.drop": ("0.5", "what one starts from"),
    }
    plan = planned(client, changes={**BRIEF, **{key: text for key, (text, _) in wrong.items()}})
    found = {one["key"]: one["message"] for one in plan["mistakes"]}
    assert found.keys() == wrong.keys() and all(said in found[key] for key, (_, said) in wrong.items()), found
    plan = planned(client, changes={**BRIEF, "objective.learn.layers": "[nothing]"})
    assert [one["key"] for one in plan["mistakes"]] == ["objective.learn.layers"]


def test_data_of_other_classes_are_refused_until_a_caption_is_said(client: TestClient, folder: Path) -> None:
    plan = planned(client, "birds", changes={"train.steps": "5"})
    (mistake,) = plan["mistakes"]
    assert mistake["key"] is None and "the model knows the classes cat, dog" in mistake["message"]
    assert plan["stages"] == [] and "objective.caption" in keys(plan)
    plan = planned(client, "birds", changes={"objective.caption": "cat"})
    assert plan["mistakes"] == [] and keys(plan)["objective.caption"]["changed"]
    refused = client.post("/api/plans", json={"data": "pets", "start": "stage"})
    assert "does not diffuse" in refused.json()["mistakes"][0]["message"] and str(folder) not in refused.text
    assert "there is no model" in message(client.post("/api/plans", json={"data": "pets", "start": "x"}), 404)


@pytest.mark.slow
@pytest.mark.parametrize(("learn", "learns"), [("lora", True), ("all", False)])
def test_a_dry_run_says_what_learns(client: TestClient, learn: str, learns: bool) -> None:
    changes = {**BRIEF, "objective.learn": learn}
    changes = changes if learns else {key: value for key, value in changes.items() if "learn." not in key}
    name = client.post("/api/rehearsals", json={"data": "pets", "start": "base", "changes": changes}).json()["id"]
    found: dict[str, Any] = {"state": "running"}
    while found["state"] == "running":  # the studio ends it after a time
        time.sleep(0.1)
        found = client.get(f"/api/rehearsals/{name}").json()
    assert found["state"] == "done", found
    rows = dict(found["stages"][0]["rows"])
    total = int(rows["parameters"].partition(" ")[0].replace(",", ""))
    assert ("learning" in rows) == learns
    assert not learns or 0 < int(rows["learning"].partition(" ")[0].replace(",", "")) < total


@pytest.mark.slow
def test_a_training_learns_an_adapter_that_its_base_is_offered(client: TestClient, folder: Path) -> None:
    said = {"data": "pets", "start": "base", "changes": BRIEF}
    name = client.post("/api/trainings", json=said).raise_for_status().json()["id"]
    until(client, name, lambda one: one["state"] == "finished")
    assert read_adapter(folder / "runs" / "base-pets" / "model")
    options = dict[str, Any]()
    for _ in range(100):  # the folder of runs is looked at now and then
        options = {one["name"]: one for one in client.get("/api/models/base").json()["options"]}
        if "lora" in options:
            break
        time.sleep(0.1)
    assert options["lora"]["choices"] == ["base-pets"]
    plan = planned(client, name="base-pets", changes={**BRIEF, "train.steps": "5"})
    assert plan["resumes"] and plan["mistakes"] == []
    client.post("/api/trainings", json={**said, "name": "base-pets", "changes": {**BRIEF, "train.steps": "5"}})
    shown = until(client, name, lambda one: one["state"] == "finished" and one["step"] == 5)
    assert shown["title"] == "base-pets"
    app: Any = client.app
    app.state.workshop.trainings.find(name).process.wait()
