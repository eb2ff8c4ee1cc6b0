"""Folders as people have them: flat ones, those of other trainers, of data sets, of phones.

Each is made by this script, with what must be recognised in it and what must be said.

    python tests/data/people.py

prints the table of docs/data.md: each folder goes through ``carrara inspect data`` for it.
"""

import contextlib
import csv
import io
import json
import logging
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
from picture_files import encoded, picture
from PIL import Image

from carrara.data import Dataset
from carrara.data.settings import DataSettings

Files = Mapping[str, bytes]
"""What is in a folder: the contents of files by their names within it."""
LONGEST = 5
"""Lines of what is said that are shown."""
_FORMS = {".jpg": "JPEG", ".jpeg": "JPEG", ".tif": "TIFF", ".tiff": "TIFF", ".jfif": "JPEG"}


@dataclass(frozen=True, kw_only=True)
class Given:
    """A folder, and what must become of it.

    Attributes:
        name: of the folder.
        whose: who has such a folder.
        files: makes what is in it.
        pictures: how many are used, those that are held out too.
        classes: their names, in order.
        captions: how many pictures have one.
        example: a picture, and its captions.
        held_out: how many pictures the folder itself holds out; None where it does not split them.
        vector: how many numbers each picture has.
        maps: how many pictures have a map.
        says: what must stand in what is said.
        options: keys that are given.
        refused: whether the folder is refused, in a sentence.
        archive: whether all of it is a zip file.
    """

    name: str
    whose: str
    files: Callable[[], Files]
    pictures: int = 0
    classes: tuple[str, ...] = ()
    captions: int = 0
    example: tuple[str, tuple[str, ...]] | None = None
    held_out: int | None = None
    vector: int = 0
    maps: int = 0
    says: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    refused: bool = False
    archive: bool = False

    def make(self, below: Path) -> Path:
        """Makes it below a path, and says where it is."""
        place = below / (f"{self.name}.zip" if self.archive else self.name)
        if self.archive:
            place.write_bytes(zipped(self.files()))
            return place
        place.mkdir()
        for name, content in self.files().items():
            if name.endswith("/"):
                (place / name).mkdir(parents=True)
                continue
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes(content)
        return place


def drawn(*names: str, alpha: bool = False) -> dict[str, bytes]:
    """A small picture under each name, each another one."""
    return {name: _picture(name, alpha) for name in names}


def numbered(folder: str, count: int, form: str = "{}.png") -> dict[str, bytes]:
    """So many pictures in a folder, which may be the whole one."""
    return drawn(*(f"{folder}/{form.format(k)}".lstrip("/") for k in range(1, count + 1)))


def texts(**by_name: str) -> dict[str, bytes]:
    return {name: text.encode() for name, text in by_name.items()}


def beside(pictures: Iterable[str], ending: str = ".txt", text: str = "a picture of {}") -> dict[str, bytes]:
    """A text beside each picture, with the picture's name in it."""
    return {
        f"{name.rpartition('.')[0]}{ending}": text.format(name.rpartition("/")[2].rpartition(".")[0]).encode()
        for name in pictures
    }


def rows(*values: Mapping[str, Any]) -> bytes:
    """JSON lines."""
    return "".join(f"{json.dumps(value)}\n" for value in values).encode()


def table(head: Sequence[str], *values: Sequence[object], mark: str = ",") -> bytes:
    """Values with marks between."""
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=mark).writerows([head, *values])
    return file.getvalue().encode()


def zipped(files: Files) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file.getvalue()


def parquet(columns: Mapping[str, Sequence[object]]) -> bytes:
    import pyarrow
    from pyarrow import parquet as written

    file = io.BytesIO()
    written.write_table(pyarrow.table(dict(columns)), file)
    return file.getvalue()


def _picture(name: str, alpha: bool) -> bytes:
    image = picture(16, 16, crc32(name.encode()))
    if alpha:
        image.putalpha(Image.fromarray(np.tri(16, dtype=np.uint8) * 255))
    ending = name[name.rindex(".") :].lower()
    return encoded(image, _FORMS.get(ending, ending[1:].upper()))


def _classes() -> dict[str, bytes]:
    return numbered("bird", 3) | numbered("cat", 3) | numbered("dog", 3)


def _shards() -> dict[str, bytes]:
    pictures = numbered("00000", 3, "00000000{}.jpg") | numbered("00001", 3, "00001000{}.jpg")
    told = beside(pictures, ".json", '{{"caption": "of {0}", "url": "https://a.example/{0}", "width": 16}}')
    return pictures | beside(pictures) | told | {"00000_stats.json": b'{"count": 3, "successes": 3}'}


def _kohya() -> dict[str, bytes]:
    trained = numbered("img/10_sks dog", 3) | numbered("img/5_sks cat", 2)
    return trained | numbered("reg/1_dog", 4) | beside(trained, text="sks, {}") | {"log/": b"", "model/": b""}


def _birds() -> dict[str, bytes]:
    pictures = numbered("images/001.Albatross", 2, "Albatross_000{}.jpg") | numbered(
        "images/002.Auklet", 2, "Auklet_{}.jpg"
    )
    told = beside(pictures, text="this bird is {}\nit has a beak\n")
    return pictures | {name.replace("images/", "text/"): text for name, text in told.items()}


def _coco() -> dict[str, bytes]:
    def captions(first: int, count: int) -> bytes:
        images = [
            {"id": k, "file_name": f"{k:012}.jpg", "width": 16, "height": 16} for k in range(first, first + count)
        ]
        told = [
            {"id": 9 * k + j, "image_id": k, "caption": f"view {j} of {k}"}
            for k in range(first, first + count)
            for j in (1, 2)
        ]
        return json.dumps({"info": {}, "images": images, "annotations": told}).encode()

    return drawn(*(f"train2017/{k:012}.jpg" for k in range(1, 5)), *(f"val2017/{k:012}.jpg" for k in range(5, 7))) | {
        "annotations/captions_train2017.json": captions(1, 4),
        "annotations/captions_val2017.json": captions(5, 2),
    }


def _encodings() -> dict[str, bytes]:
    text = "ein süßes Kätzchen"
    forms = {
        "a": text.encode(),
        "b": text.encode("utf-8-sig"),
        "c": text.encode("utf-16"),
        "d": text.encode("utf-16-be"),
    }
    return drawn(*(f"{name}.png" for name in forms)) | {f"{name}.txt": content for name, content in forms.items()}


def _wrong() -> bytes:
    good = {"file_name": "1.png", "text": "good"}
    return rows(good) + b"not json\n" + rows(*({"file_name": "2.png", "text": k} for k in range(24)))


def _faulty() -> dict[str, bytes]:
    content = _picture("a.png", alpha=False)
    return numbered("", 3) | {"broken.png": b"no picture", "short.png": content[: len(content) // 2], "empty.jpg": b""}


FOLDERS: tuple[Given, ...] = (
    Given(name="flat", whose="somebody with pictures", files=lambda: numbered("", 6), pictures=6, says=("6 pictures",)),
    Given(
        name="clutter",
        whose="Windows, macOS and a camera's endings",
        files=lambda: (
            drawn("a.jpg", "b.JPEG", "c.PNG", "d.webp", "e.gif", "f.bmp", "g.TIF")
            | {"Thumbs.db": b"\0", ".DS_Store": b"\0", "desktop.ini": b"[x]", "._a.jpg": b"\0\5\26\7"}
        ),
        pictures=7,
        says=("7 pictures",),
    ),
    Given(
        name="phone",
        whose="a phone, copied",
        files=lambda: (
            numbered("DCIM/100APPLE", 4, "IMG_000{}.JPG")
            | dict.fromkeys(("DCIM/100APPLE/IMG_0005.MOV", "DCIM/100APPLE/IMG_0001.AAE"), b"\0")
        ),
        pictures=4,
        says=(".mov", ".aae"),
    ),
    Given(
        name="dates",
        whose="a phone, sorted by days",
        files=lambda: numbered("2023-05-01", 2) | numbered("2023-05-02", 2),
        pictures=4,
        says=("numbers or dates", "data.source.classes=first"),
    ),
    Given(
        name="sprites",
        whose="somebody who draws pixels with transparency",
        files=lambda: drawn(*(f"hero-{k}.png" for k in range(4)), alpha=True),
        pictures=4,
        says=("data.channels=4",),
    ),
    Given(
        name="classes",
        whose="torchvision's ImageFolder",
        files=_classes,
        pictures=9,
        classes=("bird", "cat", "dog"),
        says=("3 folders", "3 cat"),
    ),
    Given(
        name="one-stray",
        whose="the same, and a picture that fell out",
        files=lambda: _classes() | drawn("cover.png"),
        pictures=9,
        classes=("bird", "cat", "dog"),
        says=("1 picture beside them", "left out", "data.source.classes"),
    ),
    Given(
        name="many-strays",
        whose="somebody who has begun to sort",
        files=lambda: numbered("", 6) | numbered("cat", 2) | numbered("dog", 2),
        pictures=10,
        says=("no classes", "data.source.classes"),
    ),
    Given(
        name="unlabelled",
        whose="somebody whose folders mean nothing to a model",
        files=lambda: numbered("holiday", 2) | numbered("work", 2),
        options=("data.source.classes=none",),
        pictures=4,
    ),
    Given(
        name="wrapped",
        whose="an unpacked zip file of a Mac",
        files=lambda: (
            numbered("archive/My Data/cat", 2)
            | numbered("archive/My Data/dog", 2)
            | {"__MACOSX/archive/My Data/cat/1.png": b"\0\5", "__MACOSX/archive/My Data/dog/1.png": b"\0\5"}
        ),
        pictures=4,
        classes=("cat", "dog"),
        says=("2 folders",),
    ),
    Given(
        name="nas",
        whose="a Synology, with thumbnails",
        files=lambda: (
            numbered("cat", 2)
            | numbered("dog", 2)
            | numbered("cat/@eaDir/1.png", 2, "SYNOPHOTO_THUMB_{}.jpg")
            | numbered("@eaDir", 2)
        ),
        pictures=4,
        classes=("cat", "dog"),
    ),
    Given(
        name="digits-0-to-2",
        whose="MNIST as pictures",
        files=lambda: numbered("0", 2) | numbered("1", 2) | numbered("2", 2),
        pictures=6,
        classes=("0", "1", "2"),
    ),
    Given(
        name="empty-class",
        whose="somebody who has not got far",
        files=lambda: numbered("cat", 2) | numbered("dog", 2) | {"bird/": b""},
        pictures=4,
        classes=("cat", "dog"),
        says=("empty class", "bird"),
    ),
    Given(
        name="one-class",
        whose="somebody with one subject",
        files=lambda: numbered("my cat", 4),
        pictures=4,
    ),
    Given(
        name="nested",
        whose="a taxonomist",
        files=lambda: numbered("animals/cat", 2) | numbered("animals/dog", 2) | numbered("plants/fern", 2),
        pictures=6,
        classes=("animals", "plants"),
        says=("data.source.classes=deep",),
    ),
    Given(
        name="nested-deep",
        whose="the same, with the key",
        files=lambda: numbered("animals/cat", 2) | numbered("animals/dog", 2) | numbered("plants/fern", 2),
        options=("data.source.classes=deep",),
        pictures=6,
        classes=("animals/cat", "animals/dog", "plants/fern"),
    ),
    Given(
        name="any-names",
        whose="anybody outside of ASCII",
        files=lambda: numbered("Käse & Brot", 2) | numbered("寿司", 2) | numbered("100% [red]", 2, "a b ({}).png"),
        pictures=6,
        classes=("100% [red]", "Käse & Brot", "寿司"),
    ),
    Given(
        name="split",
        whose="torchvision's examples",
        files=lambda: (
            numbered("train/cat", 3) | numbered("train/dog", 3) | numbered("val/cat", 1) | numbered("val/dog", 1)
        ),
        pictures=8,
        classes=("cat", "dog"),
        held_out=2,
        says=("train/", "val/", "held out", "data.source.split=none"),
    ),
    Given(
        name="split-of-three",
        whose="Kaggle",
        files=lambda: (
            numbered("data/Train/cat", 3)
            | numbered("data/Train/dog", 3)
            | numbered("data/Valid/cat", 1)
            | numbered("data/Valid/dog", 1)
            | numbered("data/Test/cat", 2)
            | numbered("data/Test/dog", 1)
        ),
        pictures=8,
        classes=("cat", "dog"),
        held_out=2,
        says=("Valid/", "held out", "Test/", "left out", "3 pictures"),
    ),
    Given(
        name="train-and-test",
        whose="papers' data",
        files=lambda: numbered("train", 5) | numbered("test", 2),
        pictures=7,
        held_out=2,
        says=("train/", "test/", "held out"),
    ),
    Given(
        name="no-split",
        whose="somebody who wants all of it",
        files=lambda: (
            numbered("train/cat", 3) | numbered("train/dog", 3) | numbered("val/cat", 1) | numbered("val/dog", 1)
        ),
        options=("data.source.split=none", "data.source.classes=none"),
        pictures=8,
    ),
    Given(
        name="kohya",
        whose="kohya's scripts",
        files=_kohya,
        pictures=5,
        classes=("sks cat", "sks dog"),
        captions=5,
        example=("img/10_sks dog/1.png", ("sks, 1",)),
        says=("10_", "repeats", "data.source.repeats=keep", "reg/", "left out"),
    ),
    Given(
        name="kohya-keep",
        whose="the same, with the key",
        files=_kohya,
        options=("data.source.repeats=keep",),
        pictures=5,
        classes=("10_sks dog", "5_sks cat"),
        captions=5,
        says=("reg/",),
    ),
    Given(
        name="kohya-one",
        whose="kohya's scripts, one subject with tags",
        files=lambda: (pictures := numbered("img/20_ohwx man", 4)) | beside(pictures, ".caption", "1boy, solo, {}"),
        pictures=4,
        captions=4,
        example=("img/20_ohwx man/2.png", ("1boy, solo, 2",)),
    ),
    Given(
        name="kohya-json",
        whose="kohya's scripts, with their JSON",
        files=lambda: (
            numbered("", 3)
            | {
                "meta_cap.json": json.dumps(
                    {f"/home/me/train/{k}": {"caption": f"a man {k}", "tags": "1boy"} for k in (1, 2, 3)}
                ).encode()
            }
        ),
        pictures=3,
        captions=3,
        example=("2.png", ("a man 2",)),
        says=("meta_cap.json",),
    ),
    Given(
        name="onetrainer",
        whose="OneTrainer",
        files=lambda: (
            (pictures := numbered("", 3))
            | beside(pictures, text="a mug {}\nmy mug")
            | drawn("1-masklabel.png", "2-masklabel.png", "3-condlabel.png")
        ),
        pictures=3,
        captions=3,
        example=("3.png", ("a mug 3", "my mug")),
        says=("data.source.lines=one",),
    ),
    Given(
        name="one-text",
        whose="somebody with captions of several lines",
        files=lambda: (pictures := numbered("", 2)) | beside(pictures, text="Roses are red,\nviolets are {}."),
        options=("data.source.lines=one",),
        pictures=2,
        captions=2,
        example=("1.png", ("Roses are red,\nviolets are 1.",)),
    ),
    Given(
        name="everydream",
        whose="EveryDream, with captions as names",
        files=lambda: (
            drawn("john smith riding a bicycle_1.png", "john smith on a bench_1.png", "john smith on a bench_2.png")
            | {"multiply.txt": b"2.5"}
        ),
        options=("data.source.captions=names",),
        pictures=3,
        captions=3,
        example=("john smith on a bench_2.png", ("john smith on a bench",)),
    ),
    Given(
        name="ai-toolkit",
        whose="ai-toolkit",
        files=lambda: (
            (pictures := numbered("", 3, "{}.jpg"))
            | beside(pictures, text="[trigger] on a sofa {}")
            | {"_latent_cache/1_ab12.safetensors": b"\0", ".aitk_size.json": b"{}"}
        ),
        pictures=3,
        captions=3,
        example=("1.jpg", ("[trigger] on a sofa 1",)),
    ),
    Given(
        name="controlnet",
        whose="diffusers, for ControlNet",
        files=lambda: (
            numbered("images", 3)
            | numbered("conditioning_images", 3)
            | {
                "train.jsonl": rows(
                    *(
                        {
                            "image": f"images/{k}.png",
                            "conditioning_image": f"conditioning_images/{k}.png",
                            "text": f"a house {k}",
                        }
                        for k in (1, 2, 3)
                    )
                )
            }
        ),
        pictures=3,
        captions=3,
        example=("images/1.png", ("a house 1",)),
        says=("conditioning_images/", "left out"),
    ),
    Given(
        name="img2dataset",
        whose="img2dataset, as files: WebDataset's triples",
        files=_shards,
        pictures=6,
        captions=6,
        example=("00001/000010002.jpg", ("a picture of 000010002",)),
        says=("numbers or dates",),
    ),
    Given(
        name="webdataset",
        whose="a WebDataset's tar file, unpacked",
        files=lambda: (
            (pictures := numbered("", 4, "00{}.jpg"))
            | {f"00{k}.cls": str(k % 2).encode() for k in (1, 2, 3, 4)}
            | beside(pictures)
        ),
        pictures=4,
        classes=("0", "1"),
        captions=4,
        example=("001.jpg", ("a picture of 001",)),
    ),
    Given(
        name="birds",
        whose="CUB-200 with its texts",
        files=_birds,
        pictures=4,
        classes=("001.Albatross", "002.Auklet"),
        captions=4,
        example=("images/002.Auklet/Auklet_1.jpg", ("this bird is Auklet_1", "it has a beak")),
    ),
    Given(
        name="coco",
        whose="COCO",
        files=_coco,
        pictures=6,
        captions=6,
        example=("train2017/000000000003.jpg", ("view 1 of 3", "view 2 of 3")),
        held_out=2,
        says=("val2017/", "held out"),
    ),
    Given(
        name="endings",
        whose="several programs after one another",
        files=lambda: (
            drawn(*(f"{name}.png" for name in "abcdefg"))
            | {
                "a.TXT": b"one",
                "b.caption": b"two",
                "c.Tags": b"three, 3",
                "d.prompt": b"four",
                "e.cap": b"five",
                "f.text": b"six",
                "g.captions": b"seven",
            }
        ),
        pictures=7,
        captions=7,
        example=("c.png", ("three, 3",)),
    ),
    Given(
        name="gallery-dl",
        whose="a downloader that appends to names",
        files=lambda: (
            drawn("a.jpg", "b.jpg", "c.jpg")
            | {
                "a.jpg.txt": b"a fox",
                "b.jpg.json": b'{"tags": ["fox", "snow"], "id": 7}',
                "c.jpg.json": b'{"prompt": "a den"}',
            }
        ),
        pictures=3,
        captions=3,
        example=("b.jpg", ("fox, snow",)),
    ),
    Given(
        name="encodings",
        whose="three editors",
        files=_encodings,
        pictures=4,
        captions=4,
        example=("d.png", ("ein süßes Kätzchen",)),
    ),
    Given(
        name="latin-1",
        whose="an old editor",
        files=lambda: drawn("a.png", "b.png") | {"a.txt": b"a cat", "b.txt": "ein süßes Kätzchen".encode("latin-1")},
        pictures=2,
        captions=1,
        example=("a.png", ("a cat",)),
        says=("b.txt", "UTF-8"),
    ),
    Given(
        name="some-captions",
        whose="somebody who has begun to write, with a note",
        files=lambda: numbered("", 4) | {"1.txt": b"a kite", "2.txt": b"", "3.txt": b" \n", "readme.txt": b"mine"},
        pictures=4,
        captions=1,
        example=("1.png", ("a kite",)),
        says=("2 files with nothing", "no caption"),
    ),
    Given(
        name="imagefolder-jsonl",
        whose="Hugging Face's imagefolder",
        files=lambda: (
            numbered("train", 3)
            | {"train/metadata.jsonl": rows(*({"file_name": f"{k}.png", "text": f"scene {k}"} for k in (1, 2, 3)))}
        ),
        pictures=3,
        captions=3,
        example=("train/2.png", ("scene 2",)),
        says=("metadata.jsonl", "data.source.metadata=none"),
    ),
    Given(
        name="imagefolder-csv",
        whose="Hugging Face's imagefolder, split",
        files=lambda: (
            numbered("train", 4)
            | numbered("validation", 2)
            | {
                "train/metadata.csv": table(
                    ["file_name", "text"], *([f"{k}.png", f"scene, {k}"] for k in (1, 2, 3, 4))
                ),
                "validation/metadata.csv": table(["file_name", "text"], ["1.png", "other 1"], ["2.png", "other 2"]),
            }
        ),
        pictures=6,
        captions=6,
        example=("validation/1.png", ("other 1",)),
        held_out=2,
        says=("train/metadata.csv", "validation/", "held out"),
    ),
    Given(
        name="imagefolder-parquet",
        whose="Hugging Face's imagefolder, with Parquet",
        files=lambda: (
            numbered("images", 3)
            | {
                "metadata.parquet": parquet(
                    {"file_name": [f"images/{k}.png" for k in (1, 2, 3)], "caption": ["x", "y", "z"]}
                )
            }
        ),
        pictures=3,
        captions=3,
        example=("images/3.png", ("z",)),
        says=("metadata.parquet",),
    ),
    Given(
        name="numbers-as-labels",
        whose="somebody with whole numbers as labels",
        files=lambda: (
            numbered("", 4)
            | {"metadata.jsonl": rows(*({"file_name": f"{k}.png", "label": k % 2} for k in (1, 2, 3, 4)))}
        ),
        pictures=4,
        classes=("0", "1"),
        says=("label",),
    ),
    Given(
        name="kaggle-labels",
        whose="Kaggle: names without endings, and a split in a column",
        files=lambda: (
            numbered("images", 5, "img_{}.jpg")
            | {
                "labels.csv": table(
                    ["image_id", "label", "split"],
                    *([f"img_{k}", "healthy" if k % 2 else "rust", "train" if k < 4 else "val"] for k in range(1, 6)),
                )
            }
        ),
        pictures=5,
        classes=("healthy", "rust"),
        held_out=2,
        says=("labels.csv", "held out", "data.source.split=none"),
    ),
    Given(
        name="five-captions",
        whose="Flickr's captions, tabs between",
        files=lambda: (
            numbered("Images", 2, "{}.jpg")
            | {
                "results.tsv": table(
                    ["image", "caption"], *([f"{k}.jpg", f"{word} {k}"] for k in (1, 2) for word in "pqrst"), mark="\t"
                )
            }
        ),
        pictures=2,
        captions=2,
        example=("Images/2.jpg", ("p 2", "q 2", "r 2", "s 2", "t 2")),
    ),
    Given(
        name="array-of-rows",
        whose="somebody whose JSON lines are an array",
        files=lambda: (
            numbered("", 2)
            | {
                "metadata.jsonl": json.dumps(
                    [{"image": "1.png", "prompt": "left"}, {"image": "2.png", "prompt": "right"}]
                ).encode()
            }
        ),
        pictures=2,
        captions=2,
        example=("1.png", ("left",)),
    ),
    Given(
        name="names-to-texts",
        whose="a short script",
        files=lambda: numbered("", 2) | {"captions.json": b'{"1.png": "left", "2.png": ["right", "east"]}'},
        pictures=2,
        captions=2,
        example=("2.png", ("right", "east")),
        says=("captions.json",),
    ),
    Given(
        name="vectors",
        whose="a laboratory: measurements of each picture",
        files=lambda: (
            numbered("", 3)
            | {"metadata.jsonl": rows(*({"file_name": f"{k}.png", "vector": [k, 0.5]} for k in (1, 2, 3)))}
        ),
        pictures=3,
        vector=2,
        says=("vector",),
    ),
    Given(
        name="maps",
        whose="somebody with maps of what is where",
        files=lambda: numbered("", 3) | drawn("1.map.png", "2.map.png", "3.map.png"),
        pictures=3,
        maps=3,
    ),
    Given(
        name="gone",
        whose="somebody who has deleted pictures since",
        files=lambda: (
            numbered("", 3) | {"metadata.csv": table(["file_name", "text"], *([f"{k}.png", "x"] for k in range(1, 6)))}
        ),
        pictures=3,
        captions=3,
        says=("2", "4.png"),
    ),
    Given(
        name="all-gone",
        whose="somebody with another folder's table",
        files=lambda: numbered("", 3) | {"metadata.csv": table(["file_name", "text"], ["x.png", "x"], ["y.png", "y"])},
        refused=True,
        says=("metadata.csv", "line 2", "x.png"),
    ),
    Given(
        name="much-wrong",
        whose="a script with a mistake",
        files=lambda: numbered("", 3) | {"metadata.jsonl": _wrong()},
        refused=True,
        says=("25", "metadata.jsonl, line 2", "line 3", "line 21", "and 5 more"),
    ),
    Given(
        name="no-metadata",
        whose="somebody whose table is about something else",
        files=lambda: numbered("", 3) | {"metadata.jsonl": _wrong()},
        options=("data.source.metadata=none",),
        pictures=3,
    ),
    Given(
        name="photos",
        whose="a zip file as it is",
        files=lambda: numbered("photos/cat", 2) | numbered("photos/dog", 2) | {"__MACOSX/photos/cat/._1.png": b"\0"},
        pictures=4,
        classes=("cat", "dog"),
        archive=True,
    ),
    Given(
        name="only-a-zip",
        whose="a download, not unpacked",
        files=lambda: {"dataset.zip": zipped(_classes() | beside(_classes()))},
        pictures=9,
        classes=("bird", "cat", "dog"),
        captions=9,
        says=("dataset.zip",),
    ),
    Given(
        name="damaged",
        whose="a disk that was full",
        files=_faulty,
        pictures=4,
        says=("broken.png", "short.png", "empty.jpg"),
    ),
    Given(
        name="nothing",
        whose="somebody in the wrong folder",
        files=lambda: texts(**{"notes.txt": "hello", "film.mp4": "x"}),
        refused=True,
        says=("no pictures in", ".mp4", ".png"),
    ),
)


def opened(given: Given, place: Path) -> tuple[Dataset, DataSettings]:
    """The data, as ``carrara train`` opens them."""
    from carrara.recipe.loading import load

    settings = load("pixel", [f"data.source={json.dumps(str(place))}", *given.options]).data
    return settings.open(), settings


@contextlib.contextmanager
def warnings() -> Iterator[list[str]]:
    """What is warned of."""
    found: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: found.append(record.getMessage())  # type: ignore[method-assign]
    log = logging.getLogger("carrara")
    before, log.propagate = log.propagate, False
    log.addHandler(handler)
    try:
        yield found
    finally:
        log.removeHandler(handler)
        log.propagate = before


def recognised(data: Dataset, settings: DataSettings) -> str:
    """What a folder is taken as, in a few words."""
    captions = sum(bool(data.captions(k)) for k in range(len(data)))
    held = sum(bool(data.held(k)) for k in range(len(data)))
    vectors, maps = data.info.vector_size, sum(data.map(k) is not None for k in range(len(data)))
    words = [f"{len(data)} pictures"]
    words += [f"classes {', '.join(data.info.classes)}"] if data.info.classes else []
    words += [f"captions of {captions}"] if captions else []
    words += [f"{held} held out"] if held else []
    words += [f"vectors of {vectors} numbers"] if vectors else []
    words += [f"maps of {maps}"] if maps else []
    return "; ".join(words)


def line(given: Given, below: Path) -> str:
    """A folder's line in the table."""
    from carrara.errors import UserError

    place = given.make(below)
    with warnings() as warned:
        try:
            data, settings = opened(given, place)
            what, said = recognised(data, settings), [*data.info.remarks, *warned]
        except UserError as error:
            what, said = "refused", str(error).split("\n")
    keys = f" (`{' '.join(given.options)}`)" if given.options else ""
    said = said if len(said) <= LONGEST else [*said[:LONGEST], "..."]
    told = "<br>".join(text.strip().replace(f"{below}/", "").replace("|", "\\|") for text in said)
    return f"| `{place.name}` | {given.whose}{keys} | {what} | {told} |"


def markdown() -> str:
    """The table of all."""
    head = ["| folder | whose | recognised | said |", "|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as below:
        return "\n".join([*head, *(line(given, Path(below).resolve()) for given in FOLDERS)]) + "\n"


if __name__ == "__main__":
    sys.stdout.write(markdown())
