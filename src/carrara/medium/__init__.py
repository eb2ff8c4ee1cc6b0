"""What a sample is: read from files, shown, and written."""

from carrara.medium.animation import save_animation
from carrara.medium.base import Medium, PictureMedium, PointMedium, save_numbers
from carrara.medium.catalogue import medium_of
from carrara.medium.picture import Picture, find_picture
from carrara.medium.records import RECORDED, read_about
from carrara.medium.sheet import sheet_of
from carrara.medium.size import SaidSize, Size, read_size, suited

__all__ = [
    "RECORDED",
    "Medium",
    "Picture",
    "PictureMedium",
    "PointMedium",
    "SaidSize",
    "Size",
    "find_picture",
    "medium_of",
    "read_about",
    "read_size",
    "save_animation",
    "save_numbers",
    "sheet_of",
    "suited",
]
