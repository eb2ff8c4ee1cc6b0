"""A user's folder of pictures as a source."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, final

from carrara.data.base import Dataset
from carrara.data.folder import Folder, Reading, looks_captioned
from carrara.data.sources.base import Source
from carrara.errors import UserError, close_match
from carrara.files import is_archive, is_folder, is_regular, shown


@final
@dataclass(frozen=True, kw_only=True)
class FolderSource(Reading, Source):
    """A folder of pictures, or a zip file of them, and what its files are taken as.

    Attributes:
        path: of the folder.
    """

    builtin = False
    kind: Literal["folder"] = "folder"
    path: str

    def __str__(self) -> str:
        return self.path

    def open(self, size: int | None = None) -> Dataset:
        if self._is_there:
            return Folder(self.path, reading=self)
        if is_regular(Path(self.path)):
            raise UserError(f"'{shown(self.path)}' is a file: give the folder with the pictures, or a zip file of them")
        builtin = sorted(source.kind for source in Source.__subclasses__() if source.builtin)
        others = f"built-in data are {', '.join(builtin)}.{close_match(self.path, builtin)}"
        raise UserError(f"there is no folder '{shown(self.path)}', and {others}")

    @property
    def name(self) -> str:
        path = Path(self.path)
        return shown(path.stem if is_archive(path) else path.name)

    @property
    def looks_captioned(self) -> bool:
        return self._is_there and looks_captioned(Path(self.path), self)

    def absolute(self) -> "Source":
        path = Path(self.path)
        only = self.only if self.only == "all" else str(Path(self.only).resolve())
        return replace(self, path=str(path.resolve()) if self._is_there else self.path, only=only)

    @property
    def _is_there(self) -> bool:
        return is_folder(Path(self.path)) or is_archive(Path(self.path))
