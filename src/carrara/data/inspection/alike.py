"""Pictures that are nearly the same, and pictures that are turned.

Two pictures are candidates if their hashes differ in at most 5 of 63 bits. Then at least one of six parts of the hashes
is equal, so candidates are found by sorting, without comparing each with each. They are nearly the same if their
colours are, too, but for brightness and contrast.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from carrara.data.inspection.looks import THUMB, Looks, hashes

FLAT = 4.0
"""Pictures whose colours have a smaller standard deviation, in 0..255, are of one colour, or nearly: their hashes say
nothing."""
_BITS = 5
_PARTS = (11, 11, 11, 10, 10, 10)
_SAME = 0.985  # the correlation of the colours of copies
_PARTNERS = 200  # of a picture, in each part: more are alike by chance
_ALIGNED = 0.3  # how much better the pictures of an aligned set fit as they are, at the median
_DECISIVE = 0.4  # how much better a turned one fits when it is turned back
_FEW = 8  # pictures, from which on a mean says something

Pairs = NDArray[np.int64]
"""(M, 2) places of pictures, the lower one first."""


def contrasts(looks: Looks) -> NDArray[np.float32]:
    """The standard deviations (N,) of the colours."""
    return looks["thumb"].astype(np.float32).std(axis=(1, 2)).max(axis=1, initial=0)


def blank(looks: Looks) -> NDArray[np.bool_]:
    """Which pictures (N,) are of one colour, or nearly, in all of their pixels."""
    return (contrasts(looks) < FLAT) & (looks["spread"] < FLAT)


def near_copies(looks: Looks) -> list[list[int]]:
    """Groups of pictures that are nearly the same, the largest first; blank ones are in none."""
    places = np.flatnonzero(contrasts(looks) >= FLAT)
    if not len(places):
        return []
    vivid = looks[places]
    pairs = _candidates(hashes(vivid))
    colours = _colours(vivid["thumb"])
    same = (colours[pairs[:, 0]] * colours[pairs[:, 1]]).sum(1) >= _SAME
    return _groups(places[pairs[same]])


def turned_copies(looks: Looks) -> Iterator[tuple[int, int, int]]:
    """Pictures that are nearly another one, turned: the place of each pair, and by how many degrees, counter-clockwise,
    the first one is turned to be the second."""
    places = np.flatnonzero(contrasts(looks) >= FLAT)
    if not len(places):
        return
    vivid = looks[places]
    upright, count = hashes(vivid), len(places)
    for turns in (1, 2):  # by three quarters is by one, the other way round
        both = np.concatenate([upright, hashes(vivid, turns)])
        pairs = _candidates(both)
        pairs = pairs[(pairs[:, 0] < count) & (pairs[:, 1] >= count)] - [0, count]
        pairs = pairs[pairs[:, 0] != pairs[:, 1]]
        colours = _colours(vivid["thumb"])
        turned = _colours(np.rot90(vivid["thumb"], turns, (1, 2)))
        same = (colours[pairs[:, 0]] * turned[pairs[:, 1]]).sum(1) >= _SAME
        seen = set[frozenset[int]]()
        for to, of in places[pairs[same]].tolist():
            if turns == 1 or frozenset((to, of)) not in seen:
                seen.add(frozenset((to, of)))
                yield of, to, 90 * turns


def turned(looks: Looks, groups: Sequence[Sequence[int]]) -> list[tuple[int, int]]:
    """Pictures that fit the mean of their group far better when they are turned, and by how many degrees,
    counter-clockwise, they are to be turned back. Only groups of aligned pictures have any.

    Args:
        groups: places of pictures that belong together, such as the classes.
    """
    found: list[tuple[int, int]] = []
    for group in groups:
        if len(group) < _FEW:
            continue
        thumbs = looks["thumb"][list(group)]
        mean = _colours(thumbs).mean(0)
        size = np.linalg.norm(mean)
        if size < 1e-6:
            continue
        fits = np.stack([_colours(np.rot90(thumbs, k, (1, 2))) @ mean / size for k in range(4)])
        for k in (1, 2, 3):
            if np.median(fits[0] - fits[k]) < _ALIGNED:
                continue
            best = (fits.argmax(0) == k) & (fits[k] - fits[0] > _DECISIVE)
            found += [(group[place], 90 * k) for place in np.flatnonzero(best).tolist()]
    return found


def _colours(thumbs: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Colours (N, D) without brightness and contrast: of mean 0 and length 1."""
    flat = thumbs.reshape(len(thumbs), THUMB * THUMB * 3).astype(np.float32)
    flat = flat - flat.mean(1, keepdims=True)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)


def _candidates(found: NDArray[np.uint64]) -> Pairs:
    """The pairs whose hashes differ in few bits."""
    pairs, shift = [np.zeros((0, 2), np.int64)], 64
    for bits in _PARTS:
        shift -= bits
        part = (found >> np.uint64(shift)) & np.uint64((1 << bits) - 1)
        order = np.argsort(part, kind="stable")
        ordered, values = part[order], found[order]
        for step in range(1, min(_PARTNERS, len(found)) + 1):
            near = ordered[step:] == ordered[:-step]
            if not near.any():
                break
            near &= _distance(values[step:], values[:-step]) <= _BITS
            pairs.append(np.sort(np.stack([order[:-step][near], order[step:][near]], 1), axis=1))
    return np.unique(np.concatenate(pairs), axis=0)


_ONES = np.array([bin(k).count("1") for k in range(1 << 16)], np.uint8)


def _distance(one: NDArray[np.uint64], other: NDArray[np.uint64]) -> NDArray[np.int64]:
    """In how many bits hashes differ."""
    return _ONES[np.ascontiguousarray(one ^ other).view(np.uint16).reshape(len(one), 4)].sum(1, np.int64)


def _groups(pairs: Pairs) -> list[list[int]]:
    """What hangs together by pairs."""
    root: dict[int, int] = {}

    def find(place: int) -> int:
        while (above := root.setdefault(place, place)) != place:
            root[place] = place = root[above]
        return place

    for one, other in pairs.tolist():
        root[max(find(one), find(other))] = min(find(one), find(other))
    members: defaultdict[int, list[int]] = defaultdict(list)
    for place in sorted(root):
        members[find(place)].append(place)
    return sorted(members.values(), key=len, reverse=True)
