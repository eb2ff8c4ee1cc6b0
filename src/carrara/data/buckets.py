"""Aspect-ratio buckets: pictures of different shapes are trained on in sizes like their own, a batch of one size.

All sizes have about the area of the square (or other size) that would be the only one, so a step costs about the same.
Introduced for latent diffusion by NovelAI ("NovelAI improvements on Stable Diffusion", 2022).
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from math import log

from carrara.data.base import Dataset

Size = tuple[int, ...]
"""(height, width) in pixels; of other samples as many edges as they have."""
WIDEST = 4.0
"""The largest ratio of a size's edges."""


def nearest_size(native: Size, sizes: Iterable[Size]) -> Size:
    """The size whose ratio of height to width is nearest to a picture's; the first of those that are equally near."""
    return min(sizes, key=lambda size: abs(log(size[0] * native[1]) - log(size[1] * native[0])))


def bucket_of_each(dataset: Dataset, sizes: Sequence[Size]) -> list[int]:
    """The number of the size that is nearest, for each example."""
    return [sizes.index(nearest_size(dataset.native(k), sizes)) for k in range(len(dataset))]


def bucket_sizes(natives: Iterable[Size], size: Size, unit: int, least: int) -> Counter[Size]:
    """Sizes that suit some pictures, and how many pictures each has.

    Of all sizes with edges that are multiples of ``unit``, as large as the area of ``size`` allows, the one with the
    fewest pictures is given up until each has ``least`` or only one is left.

    Args:
        natives: the pictures' own.
        size: what there would be without buckets; one of the sizes too, whatever its edges.
        unit: pixels.
        least: pictures; a batch, so that batches of a rare size do not repeat the same few.
    """
    pictures, chosen = Counter(natives), _candidates(size, unit)
    while True:
        counts = Counter[Size]()
        for native, count in pictures.items():
            counts[nearest_size(native, chosen)] += count
        rare = min(counts, key=lambda one: (counts[one], one))
        if counts[rare] >= least or len(counts) == 1:
            return counts
        chosen = [one for one in counts if one != rare]


def _candidates(size: Size, unit: int) -> list[Size]:
    area = size[0] * size[1]
    longest = int((area * WIDEST) ** 0.5)
    wide = [(edge, area // edge // unit * unit) for edge in range(unit, longest + 1, unit)]
    found = {size, *wide, *((width, height) for height, width in wide)}
    return sorted(one for one in found if min(one) and max(one) <= WIDEST * min(one))


def suggested_size(native: Size, largest: int = 64) -> Size:
    """A size to train at: the shortest edge is a power of two, at most ``largest``, and the others multiples of 8."""
    short = min(native)
    side = max(8, min(largest, 1 << (short.bit_length() - 1)))
    return tuple(max(8, round(edge * side / short / 8) * 8) for edge in native)
