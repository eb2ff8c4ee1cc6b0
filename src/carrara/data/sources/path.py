"""What sources have in common that lie in a folder of a user's."""

from dataclasses import dataclass, replace
from pathlib import Path

from carrara.data.folder import Reading, looks_captioned
from carrara.data.sources.base import Source
from carrara.files import is_archive, is_folder, shown


@dataclass(frozen=True, kw_only=True)
class PathSource(Reading, Source):
    """A folder of files, or a zip file of them, and what its files are taken as. Abstract in what they are.

    Attributes:
        path: of the folder.
    """

    builtin = False
    path: str

    def __str__(self) -> str:
        return self.path

    @property
    def name(self) -> str:
        path = Path(self.path)
        return shown(path.stem if is_archive(path) else path.name)

    @property
    def looks_captioned(self) -> bool:
        return self.is_there and looks_captioned(Path(self.path), self)

    def absolute(self) -> "Source":
        path = Path(self.path)
        only = self.only if self.only == "all" else str(Path(self.only).resolve())
        return replace(self, path=str(path.resolve()) if self.is_there else self.path, only=only)

    @property
    def is_there(self) -> bool:
        """Whether there is such a folder, or such a zip file."""
        return is_folder(Path(self.path)) or is_archive(Path(self.path))
