"""Data that are offered to the studio, sent to it, and looked into."""

import errno
import struct
import time
import zipfile
from io import BytesIO
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from fastapi.testclient import TestClient
from workshops import asked, message, png

from carrara.files import archives, wave_bytes
from carrara.serve import datasets, inspections


def sent(client: TestClient, *files: tuple[str, bytes], title: str | None = None) -> Any:
    fields = {} if title is None else {"title": title}
    return client.post("/api/data", files=[("files", (name, content)) for name, content in files], data=fields)


def kept(answer: Any) -> str:
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def looked(client: TestClient, name: str) -> dict[str, Any]:
    for _ in range(3000):
        found = client.get(f"/api/data/{name}").raise_for_status().json()
        if found["state"] != "looking":
            return found
        time.sleep(0.01)
    raise AssertionError("looking does not end")


def zipped(*files: tuple[str, bytes]) -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files:
            archive.writestr(zipfile.ZipInfo(name), content)
    return buffer.getvalue()


def left(folder: Path) -> list[str]:
    uploads = folder / "uploads"
    return sorted(path.name for path in uploads.iterdir()) if uploads.is_dir() else []


def test_a_folder_is_kept_as_one_file_and_its_folders_are_classes(tmp_path: Path) -> None:
    files = [(f"pets/{kind}/{k}.png", png(2 * k + (kind == "dog"))) for kind in ("cat", "dog") for k in range(6)]
    with asked(tmp_path) as client:
        name = kept(sent(client, *files, ("pets/.DS_Store", b"x"), ("pets/__MACOSX/a.png", png())))
        assert left(tmp_path) == ["pets.zip"]
        found = looked(client, name)
        assert (found["state"], found["total"], found["preset"]) == ("ready", 12, "pixel"), found
        assert ["classes", "6 cat, 6 dog"] in found["facts"]
        assert {"pixel", "latent"} <= {one["name"] for one in found["presets"]}
        assert not {"few-step", "chorales", "sound"} & {one["name"] for one in found["presets"]}
        assert client.get(found["sheet"]).headers["content-type"] == "image/webp"
        assert str(tmp_path) not in client.get(f"/api/data/{name}").text
        first = client.get("/api/data").json()["data"][0]
        assert first == {"id": "pets", "title": "pets", "kind": "pictures", "builtin": False, "uploaded": True}
    with asked(tmp_path) as client:  # after a restart
        assert looked(client, name)["state"] == "ready"


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    with asked(tmp_path) as client:
        ids = [kept(sent(client, ("a.png", png(k)), ("b.png", png(k + 9)), title="Katzen: 猫/..")) for k in range(2)]
    assert ids[0] != ids[1]
    assert left(tmp_path) == ["Katzen- 猫-2.zip", "Katzen- 猫.zip"]


def test_what_is_wrong_is_found(tmp_path: Path) -> None:
    files = [("x/1.png", png(1)), ("x/2.png", png(1)), ("x/broken.png", png(3)[:90]), ("x/notes.psd", b"?")]
    with asked(tmp_path) as client:
        found = looked(client, kept(sent(client, *files)))
    kinds = {one["finding"]: one for one in found["findings"]}
    assert kinds["duplicate"]["examples"] == [{"file": "x/2.png", "detail": "", "other": "x/1.png"}]
    assert kinds["duplicate"]["count"] == 1 and kinds["duplicate"]["says"] == datasets_says("duplicate")
    assert "broken.png" in str(kinds["truncated"]["examples"])
    assert kinds["passed over"]["examples"][0]["file"] == "*.psd"


def datasets_says(finding: str) -> str:
    from carrara.serve.inspections import SAYS

    return SAYS[finding]


def test_a_zip_file_is_kept_as_it_is(tmp_path: Path) -> None:
    content = zipped(("a/1.png", png(1)), ("a/2.png", png(2)))
    with asked(tmp_path) as client:
        name = kept(sent(client, ("Fotos 1.ZIP", content)))
        assert (tmp_path / "uploads" / "Fotos 1.zip").read_bytes() == content
        assert looked(client, name)["total"] == 2


def test_hostile_names_lead_nowhere(tmp_path: Path) -> None:
    names = ("../../evil.png", "/etc/evil.png", "..\\..\\evil.png", "C:\\evil.png", "a/../../b.png", "a\x00b.png")
    link = zipfile.ZipInfo("link.png")
    link.external_attr = 0o120777 << 16
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(zipfile.ZipInfo(name), png())
        archive.writestr(link, "/etc/passwd")
        archive.writestr("good.png", png(5))
    with asked(tmp_path / "here") as client:
        one = kept(sent(client, ("evil.zip", buffer.getvalue())))
        other = kept(sent(client, *((name.replace("\x00", "?"), png(k)) for k, name in enumerate(names))))
        named = kept(sent(client, ("../../../up.zip", buffer.getvalue()), title="../../up"))
        assert looked(client, one)["state"] == looked(client, other)["state"] == "ready"
        assert looked(client, other)["total"] == len(names)
        assert "passwd" not in client.get(f"/api/data/{one}").text
        assert client.get("/api/data/..%2F..%2Fetc").status_code == 404
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == left(tmp_path / "here")
    assert named and all(path.parent == tmp_path / "here" / "uploads" for path in tmp_path.rglob("*.zip"))
    with zipfile.ZipFile(tmp_path / "here" / "uploads" / f"{other}.zip") as archive:
        assert not any(".." in name or name.startswith("/") or ":" in name for name in archive.namelist())


def test_a_name_without_an_end_is_refused(tmp_path: Path) -> None:
    head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="' + b"a" * 20_000 + b'.png"\r\n\r\n'
    kind = {"content-type": "multipart/form-data; boundary=x"}
    with asked(tmp_path) as client:
        answer = client.post("/api/data", content=head + png() + b"\r\n--x--\r\n", headers=kind)
        assert answer.status_code == 400 and message(answer)
    assert left(tmp_path) == []


def test_bombs_stay_small(tmp_path: Path) -> None:
    """A declared size is refused before anything is unpacked; a directory of millions before it is read."""
    bomb = BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("good.png", png())
        archive.writestr("zeros.png", bytes(1 << 26))
    lying = bytearray(zipped(("good.png", png())))
    at = lying.rfind(b"PK\x05\x06")
    lying[at + 12 : at + 16] = struct.pack("<I", archives.DIRECTORY + 1)
    honest, end = bytes(zipped(("good.png", png()))), 22
    where = len(honest) - end  # a record of larger files, which readers believe whatever the plain one says
    record = b"PK\x06\x06" + struct.pack("<Q", 44) + bytes(28) + struct.pack("<QQ", archives.DIRECTORY + 1, 0)
    locator = b"PK\x06\x07" + struct.pack("<IQI", 0, where, 1)
    larger = honest[:where] + record + locator + honest[where:]
    assert len(record) == 56 and len(locator) == 20
    with asked(tmp_path) as client:
        assert "directory" in message(sent(client, ("larger.zip", larger)))
        found = looked(client, kept(sent(client, ("bomb.zip", bomb.getvalue()))))
        assert found["state"] == "ready" and "good.png" not in str(found["findings"])
        assert "zeros.png" in str(found["findings"])
        assert "directory" in message(sent(client, ("lying.zip", bytes(lying))))
    assert left(tmp_path) == ["bomb.zip"]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ((), "multipart form"),
        ((("a.zip", b"PK nothing"),), "zip file"),
        ((("a.zip", zipped(("a.txt", b"words"))),), "nothing can be trained on"),
        ((("a/b.psd", b"x"), ("a/c.doc", b"y")), "1 .psd"),
        ((("a.zip", zipped(("1.png", png()))), ("b.png", png())), "one zip file, or many"),
        ((("b.png", png()), ("a.zip", zipped(("1.png", png())))), "one zip file, or many"),
    ],
    ids=["none", "broken", "useless zip", "useless", "both", "both, other way round"],
)
def test_what_is_useless_is_one_sentence_and_leaves_nothing(tmp_path: Path, files: Any, said: str) -> None:
    with asked(tmp_path) as client:
        found = message(sent(client, *files))
        assert said in found and str(tmp_path) not in found
        form = {"content-type": "multipart/form-data; boundary=x"}
        cut = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\nabc'
        assert "no end" in message(client.post("/api/data", content=cut, headers=form))
        assert "nothing was sent" in message(client.post("/api/data", content=b"--x--\r\n", headers=form))
    assert left(tmp_path) == []


def test_more_than_may_come_is_refused_while_it_comes(tmp_path: Path) -> None:
    def body() -> Any:
        yield b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
        for _ in range(64):
            yield bytes(1 << 12)

    form = {"content-type": "multipart/form-data; boundary=x"}
    with asked(tmp_path, data_bytes=1 << 16) as client:
        assert client.post("/api/data", content=bytes(1 << 17), headers=form).status_code == 413
        assert client.post("/api/data", content=body(), headers=form).status_code == 413
    assert left(tmp_path) == []


def test_a_full_disk_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: object, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with asked(tmp_path) as client:
        monkeypatch.setattr(archives.Packing, "write", full)
        found = message(sent(client, ("a/1.png", png()), ("a/2.png", png())))
        assert "full" in found or "space" in found
    assert left(tmp_path) == []


def test_what_a_killed_studio_has_left_is_swept(tmp_path: Path) -> None:
    unfinished = tmp_path / "uploads" / ".abc.999999999.tmp"
    unfinished.mkdir(parents=True)
    (unfinished / "data.zip").write_bytes(b"half")
    with asked(tmp_path):
        assert left(tmp_path) == []


def test_sounds_and_tables_are_what_they_are(tmp_path: Path) -> None:
    import numpy as np

    wave = wave_bytes(np.zeros((800, 1), np.int16), 8000)
    with asked(tmp_path) as client:
        sounds = kept(sent(client, *((f"s/{k}.wav", wave) for k in range(3))))
        table = kept(sent(client, ("rows.csv", b"a,b\n1,2\n3,4\n5,6\n7,8\n")))
        assert {one["id"]: one["kind"] for one in client.get("/api/data").json()["data"]}[sounds] == "sounds"
        assert looked(client, table)["preset"] == "table", looked(client, table)
        assert looked(client, sounds)["preset"] == "sound", looked(client, sounds)
    assert left(tmp_path) == ["rows.csv", "s.zip"]


def test_folders_are_offered_and_what_is_built_in(tmp_path: Path, photos: Path) -> None:
    with asked(tmp_path / "studio", data=(photos,)) as client:
        offered = {one["id"]: one for one in client.get("/api/data").json()["data"]}
        assert offered["photos"]["uploaded"] is False and offered["digits"]["builtin"] is True
        found = looked(client, "photos")
        assert found["state"] == "ready" and str(photos) not in str(found)
        digits = looked(client, "digits")
        assert ["examples", "1,797"] in digits["facts"] and digits["preset"] == "digits"
        assert client.get("/api/data/photos/sheet").status_code == 200
        assert "there are no data" in message(client.get("/api/data/photo"), 404)
    assert not (tmp_path / "studio" / "uploads").exists()


def test_what_was_asked_about_last_is_looked_at_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who walks through a list with arrow keys asks about all, and waits for where they stopped."""
    looked_at, begun, goes_on = list[str](), Event(), Event()

    def look(found: inspections.Inspection) -> None:
        looked_at.append(found.offered.id)
        begun.set()
        goes_on.wait(60)
        found.state = "ready"

    monkeypatch.setattr(inspections, "_look", look)
    with asked(tmp_path) as client:
        assert client.get("/api/data/digits").json()["state"] == "looking"
        assert begun.wait(60), "looking does not begin"
        for name in ("openmoji", "chorales", "moons", "openmoji"):
            assert client.get(f"/api/data/{name}").json()["state"] == "looking"
        goes_on.set()
        assert all(looked(client, name)["state"] == "ready" for name in ("chorales", "moons", "openmoji"))
    assert looked_at == ["digits", "openmoji", "moons", "chorales"]


def test_names_are_brought_to_what_is_safe() -> None:
    assert datasets._parts("a/b/c d.png") == ["a", "b", "c d.png"]
    assert datasets._parts("../..//x") == ["x"]
    assert datasets._parts("C:\\x\\<y>.png") == ["x", "_y_.png"]
    assert datasets._parts("...") == ["file"]
    assert datasets._parts("猫/花.png") == ["猫", "花.png"]
    assert len(datasets._parts("x" * 1000 + ".png")[0]) < 140
