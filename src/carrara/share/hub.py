"""The Hub, by huggingface_hub, which is imported where it is used, and finds its own token; refusals are sentences."""

import sys
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from re import fullmatch
from typing import Any

import carrara
from carrara.errors import UserError
from carrara.files import shown
from carrara.share.parcel import Item

NAME = r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}"
MESSAGE = 300
"""Letters of what the Hub says that are repeated."""


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A file as the Hub lists it.

    Attributes:
        name: its place in the repository, as anybody may have called it.
        size: bytes.
        sha256: of its content, if it is a large file.
        blob: git's SHA-1 of it, if it is none.
    """

    name: str
    size: int
    sha256: str | None
    blob: str | None


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A repository at one commit."""

    commit: str
    files: Sequence[Listed]


def named(text: str) -> str:
    """A repository's name.

    Raises:
        UserError: it is none.
    """
    if fullmatch(NAME, text) is None or "--" in text or ".." in text:
        raise UserError(f"'{shown(text)[:200]}' is no name of a repository: it is OWNER/NAME, as in ada/faces")
    return text


def api() -> Any:
    """A client that says who it is; it finds the endpoint and the token by itself.

    Raises:
        UserError: huggingface_hub is not installed.
    """
    if find_spec("huggingface_hub") is None:
        raise UserError("the Hub needs the package 'huggingface_hub': pip install 'carrara[hub]'")
    from huggingface_hub import HfApi
    from huggingface_hub.utils import disable_progress_bars

    if not sys.stderr.isatty():
        disable_progress_bars()
    return HfApi(library_name="carrara", library_version=carrara.__version__)


def snapshot(repository: str, revision: str | None) -> Snapshot:
    """What is in a repository at a branch, a tag or a commit; None is its main branch.

    Raises:
        UserError: it cannot be asked, or there is none.
    """
    with answered(repository, revision):
        info = api().repo_info(repository, revision=revision, files_metadata=True)
    files = [
        Listed(
            name=str(one.rfilename),
            size=-1 if one.size is None else int(one.size),
            sha256=None if one.lfs is None else str(one.lfs.sha256),
            blob=None if one.blob_id is None else str(one.blob_id),
        )
        for one in info.siblings or ()
    ]
    if fullmatch("[0-9a-f]{40}", str(info.sha)) is None:
        raise UserError(f"the Hub does not say of which commit '{repository}' is: ask again later")
    return Snapshot(commit=str(info.sha), files=files)


def existing(repository: str, revision: str | None) -> Snapshot | None:
    """The same, or None if there is no such repository or branch yet, as far as one may look."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        return snapshot(repository, revision)
    except UserError as error:
        if isinstance(error.__cause__, GatedRepoError):
            raise
        if isinstance(error.__cause__, RepositoryNotFoundError | RevisionNotFoundError):
            return None
        raise


def download(repository: str, commit: str, name: str, folder: Path) -> Path:
    """Brings a file into a folder, where it gets the name that it has in the repository; what was brought of it
    before is gone on from.

    Raises:
        UserError: it did not come.
    """
    client = api()
    with answered(repository, commit):
        return Path(client.hf_hub_download(repository, name, revision=commit, local_dir=folder))


def upload(
    repository: str, items: Sequence[Item], gone: Sequence[str], *, message: str, private: bool, branch: str | None
) -> str:
    """Makes the repository and the branch where there are none, and one commit of all files; returns its name.

    Args:
        gone: files to be deleted.

    Raises:
        UserError: it was refused; then nothing was committed.
    """
    client = api()
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    operations = [
        CommitOperationAdd(path_in_repo=one.name, path_or_fileobj=one.content)
        if isinstance(one.content, bytes)
        else CommitOperationAdd(path_in_repo=one.name, path_or_fileobj=str(one.content))
        for one in items
    ]
    with answered(repository, branch):
        client.create_repo(repository, private=private, exist_ok=True)
        if branch is not None:
            client.create_branch(repository, branch=branch, exist_ok=True)
        done = client.create_commit(
            repository,
            [*operations, *(CommitOperationDelete(path_in_repo=name) for name in gone)],
            commit_message=message,
            revision=branch,
        )
    return str(done.oid)


@contextmanager
def answered(repository: str, revision: str | None) -> Generator[None]:
    """Says in one sentence what the Hub, or the way to it, refuses."""
    from huggingface_hub import errors

    network = _network(errors.HfHubHTTPError)
    try:
        yield
    except errors.OfflineModeIsEnabled as error:
        raise UserError("HF_HUB_OFFLINE is set, so the Hub is not asked: unset it") from error
    except errors.GatedRepoError as error:
        raise UserError(
            f"'{repository}' is gated: ask for access on its page, and log in with: hf auth login"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise UserError(f"'{repository}' has no branch, tag or commit '{shown(str(revision))[:200]}'") from error
    except errors.RepositoryNotFoundError as error:
        raise UserError(
            f"there is no repository '{repository}', or it is private and you are not logged in: hf auth login"
        ) from error
    except network as error:
        raise UserError(_refused(repository, error)) from error
    except (OSError, ValueError, RuntimeError) as error:
        cause = error.__cause__  # of a file that could not be sent
        why = f"'{repository}': {_brief(error)}" if not isinstance(cause, network) else _refused(repository, cause)
        raise UserError(why) from error


def _network(kind: type[BaseException]) -> tuple[type[Exception], ...]:
    """What the client's library for HTTP raises, whichever it is: the Hub's own errors extend it."""
    return tuple(one for one in kind.__mro__ if "HTTP" in one.__name__ and issubclass(one, Exception))


def _refused(repository: str, error: BaseException) -> str:
    status = getattr(getattr(error, "response", None), "status_code", None)
    match status:
        case None:
            return f"the Hub cannot be reached ({_brief(error)}): look at the network, and say the same again"
        case 401:
            return "the Hub does not know your token: log in with: hf auth login"
        case 403:
            return f"your token may not do that to '{repository}': it needs the right to write, or another owner"
        case 409:
            return f"'{repository}' has changed while this was sent: say the same again"
        case 429:
            return "the Hub has been asked too often: wait a few minutes, and say the same again"
        case _:
            return f"the Hub refuses ({status}): {_brief(error)}"


def _brief(error: BaseException) -> str:
    said: Iterator[str] = (line.strip() for line in str(error).splitlines())
    return shown(next((line for line in said if line), type(error).__name__))[:MESSAGE]
