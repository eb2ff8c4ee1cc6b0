"""A folder of pictures, as people have them: ``listing`` finds its files, ``layout``, ``metadata`` and ``beside`` know
what they mean, ``looking`` puts it together, and ``dataset`` opens it."""

from carrara.data.folder.dataset import Folder, median_size
from carrara.data.folder.listing import ENDINGS, Listing, find
from carrara.data.folder.lists import listed
from carrara.data.folder.looking import Found, look, looks_captioned
from carrara.data.folder.reading import AS_IT_COMES, Reading

__all__ = [
    "AS_IT_COMES",
    "ENDINGS",
    "Folder",
    "Found",
    "Listing",
    "Reading",
    "find",
    "listed",
    "look",
    "looks_captioned",
    "median_size",
]
