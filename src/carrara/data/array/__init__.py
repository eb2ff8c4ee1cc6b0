"""Arrays of numbers as examples: what their axes are, what range their values have, and where some are missing."""

from carrara.data.array.dataset import ArrayData
from carrara.data.array.describing import describe
from carrara.data.array.layout import Layout, guessed_axes
from carrara.data.array.ranges import Measured
from carrara.data.array.stored import Files, is_array, stored_files

__all__ = ["ArrayData", "Files", "Layout", "Measured", "describe", "guessed_axes", "is_array", "stored_files"]
