"""``carrara card``, ``carrara push`` and ``carrara pull``."""

from pathlib import Path
from shlex import quote
from typing import Annotated

from cyclopts import Parameter

from carrara.errors import UserError, command, option
from carrara.files import (
    check_place,
    delete,
    explained,
    in_words,
    is_folder,
    is_regular,
    make_folder,
    moved,
    read_text,
    replacing,
    scratch,
    shown,
)
from carrara.share import arriving, hub
from carrara.share.card import PICTURE, Parts, apart, written
from carrara.share.facts import read_facts, told_recipe
from carrara.share.parcel import Item, packed
from carrara.store.runs import located, newest, run_of

CARD = "README.md"
OWNED = ("model/", "early/", "tiny-decoder/", "checkpoints/")
"""Folders of a repository in which what is no longer sent is deleted."""


def card(
    run: Path,
    /,
    *,
    licence: Annotated[str | None, Parameter(name="--license")] = None,
    note: str | None = None,
    to: str | None = None,
    out: Path | None = None,
    overwrite: bool = False,
) -> None:
    """Writes a model card.

    Parameters
    ----------
    run
        A run's folder, its best/, a checkpoint in it, or the name of a model that ships.
    licence
        The licence of the model, as the Hub names it: apache-2.0, cc-by-4.0, openrail, other.
    note
        Text of your own, which stays when the card is made anew, as all that stands below its last line does.
    to
        The repository where the model will be, OWNER/NAME, for its lines of use.
    out
        A folder for the card, in the place of the run's.
    overwrite
        Makes a card anew that was edited above its line.
    """
    if out is None and not is_folder(run):
        raise UserError(f"'{run}' is no folder of yours: name one for the card with {option('out', 'FOLDER')}")
    folder = out or run_of(run) or run
    check_place(folder)
    before = _card_of(folder / CARD)
    facts = read_facts(run)
    to = hub.named(to) if to else _place_of(folder)
    text = written(facts, before, to=to, licence=licence, note=note, overwrite=overwrite)
    with replacing(folder / CARD) as file:
        file.write(text.encode("utf-8", "replace"))
    if facts.picture is not None:
        with replacing(folder / PICTURE) as file:
            file.write(facts.picture[0])
    print(f"the card is in '{folder / CARD}'")


def push(
    run: Path,
    /,
    *,
    to: str,
    private: bool = False,
    revision: str | None = None,
    checkpoints: bool = False,
    dry_run: bool = False,
    overwrite: bool = False,
) -> None:
    """Sends a run's model to the Hub, with its recipe and its card, in one commit.

    Parameters
    ----------
    run
        A run's folder, its best/, a checkpoint in it, or the name of a model that ships.
    to
        The repository, OWNER/NAME; it is made where there is none.
    private
        A repository that is made is for its owner alone.
    revision
        The branch to commit to; it is made where there is none.
    checkpoints
        The newest checkpoint goes, too, from which training can go on.
    dry_run
        Lists the files and their bytes; nothing is sent or asked.
    overwrite
        A card that was edited at the Hub gives way to the run's.
    """
    hub.named(to)
    with scratch() as folder:
        places: dict[str, str] = {}
        items = packed(run, folder, places, checkpoints=checkpoints)
        there = None if dry_run else _there(to, revision)
        theirs = None if there is None else _remote_card(to, there, folder)
        items = [*_told(run, to, theirs, places, overwrite), *items]
        _say_items(items, places)
        if dry_run:
            print("nothing was sent")
            return
        names = {item.name for item in items}
        old = [] if there is None else [one.name for one in there.files if one.name.startswith(OWNED)]
        gone = [name for name in old if name not in names]
        message = f"Model of step {_step(run)}, by Carrara"
        commit = hub.upload(to, items, gone, message=message, private=private, branch=revision)
    print(f"pushed to {to}, commit {commit}")
    print(f"get it with:  carrara pull {to}@{commit[:12]} --run FOLDER")


def pull(source: str, /, *, run: Path, dry_run: bool = False) -> None:
    """Brings a model from the Hub into a run's folder.

    Parameters
    ----------
    source
        The repository, OWNER/NAME; OWNER/NAME@REVISION is its branch, tag or commit.
    run
        The run's folder to make; nothing may be in it.
    dry_run
        Lists the files and their bytes; nothing is written.
    """
    repository, _, revision = source.partition("@")
    hub.named(repository)
    check_place(run)
    if run.exists() and (not is_folder(run) or any(run.iterdir())):
        raise UserError(f"'{run}' is not empty: name a new folder, as in {command(f'pull {source}', run='NEW')}")
    found = hub.snapshot(repository, revision or None)
    these = arriving.wanted(repository, found)
    print(f"{repository} at commit {found.commit}: {len(these.files)} files, {in_words(these.size)}")
    if these.left:
        print(f"{these.left} other files are no part of a model, and are left there")
    if dry_run:
        for one in these.files:
            print(f"{one.size:>15,}  {shown(one.name)}")
        return
    staging = run.absolute().parent / f".{run.absolute().name[:80]}.{found.commit[:12]}.pull"
    with explained(run):
        make_folder(staging)
        for _ in arriving.fetched(repository, found.commit, these, staging):
            pass
        if not these.foreign:
            arriving.check_models(staging)
        delete(staging / ".cache")
        pulled = arriving.Pulled(repository=repository, commit=found.commit, revision=revision or None)
        arriving.record(staging, pulled)
        moved(staging, run)
    if these.foreign:
        print(f"it is a pipeline of diffusers: make a run of it with:  carrara import {quote(str(run))} --run RUN")
    else:
        print(f"sample it with:  carrara sample {quote(str(run))}")


def _there(to: str, revision: str | None) -> hub.Snapshot | None:
    hub.api()
    return hub.existing(to, revision)


def _told(run: Path, to: str, theirs: str | None, places: dict[str, str], overwrite: bool) -> list[Item]:
    """The card with its picture, and the recipe."""
    own = run_of(located(run)) or located(run)
    mine = _card_of(own / CARD) if is_folder(run) else None
    remote = None if theirs is None else apart(theirs)
    if remote is not None and not overwrite and not _gives_way(remote, mine):
        raise UserError(
            f"the card of '{to}' was edited there: put its text into '{own / CARD}', below the line that says so, or "
            f"say {option('overwrite')}, and it gives way to the run's"
        )
    facts = read_facts(run)
    places |= facts.places
    if mine is not None and not mine.untouched:
        print(f"the card goes as you have edited it: '{own / CARD}'")
        text = read_text(own / CARD)
    else:
        text = written(facts, mine or remote, to=to, overwrite=overwrite)
    items = [Item(name=CARD, content=text.encode("utf-8", "replace"))]
    if facts.picture is not None:
        items.append(Item(name=PICTURE, content=facts.picture[0]))
    recipe = told_recipe(own, places)
    return [*items, Item(name="recipe.yaml", content=recipe.encode())] if recipe else items


def _gives_way(remote: Parts, mine: Parts | None) -> bool:
    """Whether nothing that somebody wrote is lost when a card of ours takes the place of the Hub's."""
    if mine is None:
        return remote.untouched
    return (remote.untouched or remote == mine) and remote.notes.strip() in mine.notes


def _say_items(items: list[Item], places: dict[str, str]) -> None:
    for item in items:
        print(f"{item.size:>15,}  {item.name}")
    print(f"{len(items)} files, {in_words(sum(item.size for item in items))}")
    for place, name in sorted(places.items()):
        print(f"'{shown(place)}' is called '{shown(name)}' in what is sent: it is a place on this machine")


def _remote_card(to: str, there: hub.Snapshot, folder: Path) -> str | None:
    """The card that the Hub has; None if it has none."""
    if all(one.name != CARD for one in there.files):
        return None
    return read_text(hub.download(to, there.commit, CARD, folder / "there"))


def _card_of(path: Path) -> Parts | None:
    return apart(read_text(path)) if is_regular(path) else None


def _place_of(folder: Path) -> str:
    """Where a run that was pulled is from."""
    from carrara.files import read_as

    record = folder / arriving.RECORD
    return read_as(record, arriving.Pulled).repository if is_regular(record) else "OWNER/NAME"


def _step(run: Path) -> int:
    from carrara.store.runs import step_of

    return step_of(newest(run)) or 0
