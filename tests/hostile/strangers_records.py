"""PNGs of strangers whose records lead elsewhere, or ask for what cannot be."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from strangers import Command, Place, harmless, link, picture, refused, spoilt_record, stranger


def again(place: Place, spoil: Callable[[dict[str, Any]], object]) -> Iterator[Command]:
    """A picture with a spoilt record cannot be made again."""
    yield refused("replay", spoilt_record(place.drawn(), spoil))


def both(place: Place, spoil: Callable[[dict[str, Any]], object]) -> Iterator[Command]:
    """The same, and it cannot be told how it was made, either."""
    path = spoilt_record(place.drawn(), spoil)
    yield refused("replay", path)
    yield refused("inspect", path)


def edited(place: Place, **edit: object) -> Iterator[Command]:
    """A record of an edit that is none."""

    def spoil(about: dict[str, Any]) -> None:
        about.update(picture="edit", edit={"verb": "img2img", "images": [], **edit})

    yield from again(place, spoil)


@stranger("a record of a run above")
def _(place: Place) -> Iterator[Command]:
    place.drawn()
    (place.folder / "run").rename(place.outside / "run")
    image = place.outside / "run" / "samples" / "sample" / "0000.png"
    spoilt_record(image, lambda about: about.update(run=f"../{place.outside.name}/run"), place.folder / "a.png")
    yield refused("replay", "a.png")


@stranger("a record of an absolute run")
def _(place: Place) -> Iterator[Command]:
    place.drawn()
    (place.folder / "run").rename(place.outside / "run")
    image = place.outside / "run" / "samples" / "sample" / "0000.png"
    spoilt_record(image, lambda about: about.update(run=str(place.outside / "run")), place.folder / "a.png")
    yield refused("replay", "a.png")


@stranger("a record of /etc, /proc and a user's folder")
def _(place: Place) -> Iterator[Command]:
    image = place.drawn()
    for name in ("/etc", "/proc/self", "~", "/", "//", "../../..", "run/../../..", "."):
        yield refused("replay", spoilt_record(image, lambda about, name=name: about.update(run=name)))


@stranger("a record of a run that leads elsewhere")
def _(place: Place) -> Iterator[Command]:
    image = place.drawn()
    link(place.folder / "linked", place.outside)
    yield refused("replay", spoilt_record(image, lambda about: about.update(run="linked")))


@stranger("a record with a weaker model elsewhere")
def _(place: Place) -> Iterator[Command]:
    image = place.drawn()
    for name in ("weak", "guide", "found"):
        other = {"run": str(place.outside), "weights": "0" * 16, "name": "x", "scale": 1}
        yield refused(
            "replay", spoilt_record(image, lambda a, name=name, other=other: a["request"].update({name: other}))
        )


@stranger("a record with an adapter elsewhere")
def _(place: Place) -> Iterator[Command]:
    image = place.drawn()
    for other in ([{"file": str(place.outside), "times": 1, "weights": "0" * 16}], [{"file": 3}], {"file": "a"}, [[]]):
        yield refused("replay", spoilt_record(image, lambda a, other=other: a["request"].update(adapters=other)))


@stranger("a record of a run with a long name")
def _(place: Place) -> Iterator[Command]:
    yield from again(place, lambda about: about.update(run="x" * 5000))


@stranger("a record of a run with a zero and escapes in its name")
def _(place: Place) -> Iterator[Command]:
    image = place.drawn()
    for name in ("run\0", "\x1b]0;owned\x07[/]", "a\nb", "\ue000run\ue002"):
        yield refused("replay", spoilt_record(image, lambda about, name=name: about.update(run=name)))


@stranger("a record of a billion columns")
def _(place: Place) -> Iterator[Command]:
    yield from again(place, lambda about: about["request"].update(columns=10**9))


@stranger("a record of a million samples")
def _(place: Place) -> Iterator[Command]:
    many = {"seeds": list(range(100_000)), "wishes": [None] * 100_000}

    def spoil(about: dict[str, Any]) -> None:
        about["request"].update(many)
        about.update(picture="grid")

    yield from again(place, spoil)


@stranger("a record of pictures of 10^9 pixels")
def _(place: Place) -> Iterator[Command]:
    yield from again(place, lambda about: about["request"].update(size=[10**5, 10**4]))


@stranger("a record of 10^15 steps")
def _(place: Place) -> Iterator[Command]:
    yield from again(place, lambda about: about["request"]["settings"].update(steps=10**15))


@stranger("a record of 10^6 steps")
def _(place: Place) -> Iterator[Command]:
    yield from again(place, lambda about: about["request"]["settings"].update(steps=10**6))


@stranger("a record of lists of other lengths")
def _(place: Place) -> Iterator[Command]:
    yield from again(place, lambda about: about["request"].update(wishes=[None] * 7))


@stranger("a record nested 10,000 deep")
def _(place: Place) -> Iterator[Command]:
    yield from both(place, lambda about: "[" * 10_000 + "]" * 10_000)


@stranger("a record of a number of 5,000 digits")
def _(place: Place) -> Iterator[Command]:
    yield from both(place, lambda about: '{"run": "run", "weights": ' + "9" * 5000 + "}")


@stranger("a record that is a list, nothing, no number")
def _(place: Place) -> Iterator[Command]:
    image = place.drawn()
    for text in ("[]", "null", "NaN", '"x"', "{", "", "\x00", '{"run": NaN}'):
        yield refused("replay", spoilt_record(image, lambda about, text=text: text))


@stranger("a record whose edit's pictures are elsewhere")
def _(place: Place) -> Iterator[Command]:
    one = {"file": f"../{place.outside.name}/secret.png", "sha256": "0" * 64}
    yield from edited(place, images=[one])


@stranger("a record whose edit's picture is everything")
def _(place: Place) -> Iterator[Command]:
    image = place.drawn()
    for name in ("/etc/passwd", "..", "*", "**", "[", "x" * 255, "\0", "."):
        one = {"file": name, "sha256": "0" * 64}
        edit = {"verb": "img2img", "images": [one]}
        yield refused(
            "replay",
            spoilt_record(image, lambda about, edit=edit: about.update(picture="edit", edit=edit)),
            "--pictures",
            ".",
        )


@stranger("a record of an edit of absurd numbers")
def _(place: Place) -> Iterator[Command]:
    yield from edited(place, verb="outpaint", margins="1000000000,1,1,1", image={"file": "a.png", "sha256": "0" * 64})


@stranger("a record of an edit that there is not")
def _(place: Place) -> Iterator[Command]:
    yield from edited(place, verb="__class__")


@stranger("a record of an edit at a place that is none")
def _(place: Place) -> Iterator[Command]:
    yield from again(place, lambda about: about.update(picture="edit", row=10**9, column=-1, edit={"verb": "img2img"}))


@stranger("a record in markup and escapes")
def _(place: Place) -> Iterator[Command]:
    path = spoilt_record(place.drawn(), lambda about: {"\x1b]0;owned\x07": "[/]\x1b[31m\r\n", "run": ["[/]"]})
    yield harmless("inspect", path)
    yield refused("replay", path)


@stranger("a record of 20 MB")
def _(place: Place) -> Iterator[Command]:
    yield from both(place, lambda about: about.update(run="x" * 20_000_000))


@stranger("a picture whose run lies beside it, with a network of 10^12 numbers")
def _(place: Place) -> Iterator[Command]:
    place.model(lambda config: config["model"]["backbone"].update(channels=1 << 18, multipliers=[1, 2, 4, 8]))
    yield refused("replay", "run/samples/sample/0000.png")


@stranger("a picture that somebody else made")
def _(place: Place) -> Iterator[Command]:
    place.run()
    yield refused("replay", picture(Path("plain.png")))
    yield refused("inspect", "plain.png")
