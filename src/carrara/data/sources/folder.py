"""A user's folder of pictures as a source."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, final

from carrara.data.base import Dataset
from carrara.data.folder import Folder
from carrara.data.sources.base import Source
from carrara.data.sources.path import PathSource
from carrara.errors import UserError, close_match
from carrara.files import is_regular, shown


@final
@dataclass(frozen=True, kw_only=True)
class FolderSource(PathSource):
    """A folder of pictures, or a zip file of them, and what its files are taken as.

    Attributes:
        path: of the folder.
    """

    kind: Literal["folder"] = "folder"

    @classmethod
    def suits(cls, path: Path) -> bool:
        return False  # pictures are what nothing else is

    def open(self, size: int | None = None) -> Dataset:
        if self.is_there:
            return Folder(self.path, reading=self)
        if is_regular(Path(self.path)):
            raise UserError(f"'{shown(self.path)}' is a file: give the folder with the pictures, or a zip file of them")
        builtin = sorted(source.kind for source in Source.members() if source.builtin)
        others = f"built-in data are {', '.join(builtin)}.{close_match(self.path, builtin)}"
        raise UserError(f"there is no folder '{shown(self.path)}', and {others}")
