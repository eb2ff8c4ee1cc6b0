"""A user's folder of pictures as a source."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, final

from carrara.data.base import Dataset
from carrara.data.folder import Folder, looks_captioned
from carrara.data.sources.base import Source
from carrara.errors import UserError, close_match


@final
@dataclass(frozen=True, kw_only=True)
class FolderSource(Source):
    """A folder of pictures.

    Attributes:
        path: of the folder.
    """

    builtin = False
    kind: Literal["folder"] = "folder"
    path: str

    def __str__(self) -> str:
        return self.path

    def open(self, size: int | None = None) -> Dataset:
        if Path(self.path).is_dir():
            return Folder(self.path)
        if Path(self.path).exists():
            raise UserError(f"'{self.path}' is a file: give the folder with the pictures")
        builtin = sorted(source.kind for source in Source.__subclasses__() if source.builtin)
        others = f"built-in data are {', '.join(builtin)}.{close_match(self.path, builtin)}"
        raise UserError(f"there is no folder '{self.path}', and {others}")

    @property
    def name(self) -> str:
        return Path(self.path).name

    @property
    def looks_captioned(self) -> bool:
        return Path(self.path).is_dir() and looks_captioned(Path(self.path))

    def absolute(self) -> "Source":
        path = Path(self.path)
        return replace(self, path=str(path.resolve())) if path.exists() else self
