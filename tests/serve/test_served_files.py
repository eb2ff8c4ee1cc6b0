"""The files of the page: a fixed list, with types and tags."""

from pathlib import Path

from studios import live, settings_of

from carrara.serve.pages import found


def test_only_files_of_known_types_are_of_the_page(tmp_path: Path) -> None:
    for name in ("index.html", "studio.js", "vendor/preact.js", "words.en.json", "icon.svg", "secret.py"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(name)
    assert sorted(found(tmp_path)) == ["icon.svg", "index.html", "studio.js", "vendor/preact.js", "words.en.json"]


def test_a_file_that_is_known_is_not_sent_again(tmp_path: Path, runs: Path) -> None:
    (tmp_path / "index.html").write_text("<!doctype html><title>a</title>")
    (tmp_path / "a.js").write_text("1")
    with live(settings_of(runs / "pixels"), found(tmp_path)) as (client, _):
        first = client.get("/")
        assert first.headers["content-type"] == "text/html; charset=utf-8" and first.text.startswith("<!doctype")
        assert client.get("/a.js").headers["content-type"] == "text/javascript; charset=utf-8"
        again = client.get("/", headers={"If-None-Match": first.headers["etag"]})
        assert again.status_code == 304 and not again.content
        (tmp_path / "index.html").write_text("another")
        assert client.get("/", headers={"If-None-Match": first.headers["etag"]}).text == "another"
        assert client.get("/b.js").status_code == 404
