"""The files of the page, without a browser: words, weight, policy and what was taken from others."""

import hashlib
import json
import re
from pathlib import Path

import pytest

import carrara

PAGE = Path(carrara.__file__).parent / "serve" / "page"
NOTICE = Path(__file__).parents[2] / "NOTICE"
OWN = sorted(PAGE.glob("*.js"))


def words(lang: str) -> dict[str, str]:
    return json.loads((PAGE / f"words.{lang}.json").read_text("utf-8"))


def test_every_english_word_is_there_in_chinese_with_the_same_gaps() -> None:
    def gaps(text: str) -> set[str]:
        return set(re.findall(r"\{(\w+)\}", text))

    english, chinese = words("en"), words("zh")
    assert english.keys() - chinese.keys() == set()
    assert {key for key in english if gaps(english[key]) != gaps(chinese[key])} == set()


def test_chinese_has_its_own_punctuation() -> None:
    syntax = {"prompt.doc"}  # what one types is half-width
    half = re.compile("[\u4e00-\u9fff][,;:!?()]|[,;:!?()][\u4e00-\u9fff]|[,;](?=\\d)")
    assert {key for key, text in words("zh").items() if half.search(text)} - syntax == set()


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.name)
def test_what_is_said_is_in_the_list_of_words(path: Path) -> None:
    said = set(re.findall(r'(?<![\w.])t\("([^"]+)"', path.read_text("utf-8")))
    assert said - words("en").keys() == set()


def loaded(*names: str) -> set[Path]:
    """Files of the page, with all that they import."""
    found, waiting = set[Path](), [PAGE / name for name in names]
    while waiting:
        path = waiting.pop().resolve()
        if path not in found and path.suffix == ".js":
            source = path.read_text("utf-8")
            lazy = () if path.name == "studio.js" else re.findall(r'import\("(\.[^"]+)"\)', source)
            waiting += [path.parent / other for other in (*re.findall(r'(?:from|import) ?"(\.[^"]+)"', source), *lazy)]
        found.add(path)
    return found


def tabs() -> dict[str, list[str]]:
    """The tabs that are read when they are opened: what each reads."""
    lines = [line for line in (PAGE / "studio.js").read_text("utf-8").splitlines() if "lazily(() =>" in line]
    names = [re.findall(r'"([^"]+)"', line) for line in lines]
    return {own[0]: [name for name in own[2:] if name.endswith((".js", ".css"))] for own in names}


@pytest.mark.parametrize("tab", ["", *tabs()])
def test_the_page_is_light(tab: str) -> None:
    """The first view, and the first view with each of the other tabs, in all languages."""
    index = re.findall(r'(?:src|href)="([^"]+)"', (PAGE / "index.html").read_text("utf-8"))
    first = ["index.html", *index, "words.en.json", "words.zh.json"]
    assert sum(path.stat().st_size for path in loaded(*first, *tabs().get(tab, []))) < 300_000


def test_a_strict_policy_forbids_nothing_of_the_page() -> None:
    index = (PAGE / "index.html").read_text("utf-8")
    assert re.findall(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=", index) == []
    for path in OWN:
        source = path.read_text("utf-8")
        assert not re.search(r"\beval\(|new Function|innerHTML|\sstyle=", source), path.name
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", source), path.name


def test_what_is_from_others_is_as_notice_says() -> None:
    said = dict(re.findall(r"^ {4}([0-9a-f]{64}) (\S+\.js)$", NOTICE.read_text("utf-8"), re.MULTILINE))
    there = {path.name: path for path in (PAGE / "vendor").glob("*.js")}
    assert {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in there.items()} == {
        name: digest for digest, name in said.items()
    }
