"""Pictures that are nearly the same, and pictures that are turned.

Two pictures are candidates if their hashes differ in at most 5 of 63 bits. Then one of three parts of 21 bits differs
in at most one bit. So candidates are looked up in a table by each part, as it is and with each of its bits turned, and
no picture is compared with all. They are nearly the same if their colours are, too, but for brightness and contrast.
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
_PART = 21
_SAME = 0.985  # the correlation of the colours of copies
_PARTNERS = 64  # of a picture, by a part of its hash: more are alike by chance
_EQUALS = 4  # of a picture, with an equal hash: the next ones hang together by those between
_AT_ONCE = 1 << 20  # pairs
_ALIGNED = 0.3  # how much better the pictures of an aligned set fit as they are, at the median
_DECISIVE = 0.4  # how much better a turned one fits when it is turned back
_FEW = 8  # pictures, from which on a mean says something

Pairs = NDArray[np.int64]
"""(M, 2) places of pictures, the lower one first."""


def contrasts(looks: Looks) -> NDArray[np.float32]:
    """The standard deviations (N,) of the colours."""
    values = looks["thumb"].reshape(len(looks), THUMB * THUMB, 3).astype(np.float32)
    squares = np.einsum("npc,npc->nc", values, values) / (THUMB * THUMB)
    return np.sqrt(np.maximum(squares - values.mean(1) ** 2, 0)).max(1, initial=0)


def blank(looks: Looks) -> NDArray[np.bool_]:
    """Which pictures (N,) are of one colour, or nearly, in all of their pixels."""
    return (contrasts(looks) < FLAT) & (looks["spread"] < FLAT)


def near_copies(looks: Looks) -> list[list[int]]:
    """Groups of pictures that are nearly the same, the largest first; blank ones are in none."""
    places = np.flatnonzero(contrasts(looks) >= FLAT)
    if not len(places):
        return []
    found, colours = hashes(looks[places]), _colours(looks["thumb"][places])
    few, equal = _few_of_each(found)
    near = [few[pairs] for pairs in _alike(found[few], found[few])]
    pairs = np.concatenate([equal, *(pair[pair[:, 0] < pair[:, 1]] for pair in near)])
    return _groups(places[_same(np.unique(pairs, axis=0), colours, colours)], len(looks))


def turned_copies(looks: Looks) -> Iterator[tuple[int, int, int]]:
    """Pictures that are nearly another one, turned: the place of each pair, and by how many degrees, counter-clockwise,
    the first one is turned to be the second."""
    places = np.flatnonzero(contrasts(looks) >= FLAT)
    if not len(places):
        return
    upright, thumbs = hashes(looks[places]), looks["thumb"][places]
    few, _ = _few_of_each(upright)
    colours = _colours(thumbs)
    for turns in (1, 2):  # by three quarters is by one, the other way round
        others = hashes(looks[places], turns)
        pairs = np.concatenate([few[pairs] for pairs in _alike(upright[few], others[few])])
        pairs = pairs[pairs[:, 0] < pairs[:, 1]] if turns == 2 else pairs[pairs[:, 0] != pairs[:, 1]]
        turned = _colours(np.rot90(thumbs, turns, (1, 2)))
        for to, of in places[_same(np.unique(pairs, axis=0), colours, turned)].tolist():
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


def _alike(one: NDArray[np.uint64], other: NDArray[np.uint64]) -> Iterator[Pairs]:
    """Places of hashes that differ in few bits, the first one's and the other's, in portions; some come twice."""
    flips = np.array([0, *(1 << bit for bit in range(_PART))], np.int64)
    for shift in range(0, 63, _PART):
        mine, theirs = (((h >> np.uint64(shift)) & np.uint64((1 << _PART) - 1)).astype(np.int64) for h in (one, other))
        order = np.argsort(theirs, kind="stable")
        ends = np.cumsum(np.bincount(theirs, minlength=1 << _PART))
        for flip in flips:
            wanted = mine ^ flip
            first = np.where(wanted > 0, ends[wanted - 1], 0)
            count = np.minimum(ends[wanted] - first, _PARTNERS)
            for some in _portions(count):
                many = count[some]
                left = np.repeat(some, many)
                step = np.arange(len(left)) - np.repeat(np.cumsum(many) - many, many)
                right = order[first[left] + step]
                near = _distance(one[left], other[right]) <= _BITS
                yield np.stack([left[near], right[near]], axis=1)


def _portions(count: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """The places of what is not 0, in portions that have about as much as memory is kept for."""
    places = np.flatnonzero(count)
    cuts = np.flatnonzero(np.diff(np.cumsum(count[places]) // _AT_ONCE)) + 1
    return np.split(places, cuts)


def _few_of_each(found: NDArray[np.uint64]) -> tuple[NDArray[np.int64], Pairs]:
    """The places of at most ``_EQUALS`` of each hash, and the pairs of equal ones, each with those that follow."""
    order = np.argsort(found, kind="stable")
    pairs = [np.zeros((0, 2), np.int64)]
    for step in range(1, _EQUALS + 1):
        equal = found[order[step:]] == found[order[:-step]]
        pairs.append(np.stack([order[:-step][equal], order[step:][equal]], axis=1))
    late = np.zeros(len(found), bool)
    late[pairs[-1][:, 1]] = True
    return np.flatnonzero(~late), np.concatenate(pairs)


def _same(pairs: Pairs, one: NDArray[np.float32], other: NDArray[np.float32]) -> Pairs:
    """The pairs with the same colours."""
    parts = [pairs[k : k + _AT_ONCE // 8] for k in range(0, len(pairs), _AT_ONCE // 8)]
    return np.concatenate([
        np.zeros((0, 2), np.int64),
        *(part[np.einsum("nd,nd->n", one[part[:, 0]], other[part[:, 1]]) >= _SAME] for part in parts),
    ])  # fmt: skip


_ONES = np.unpackbits(np.arange(1 << 16, dtype=np.uint16).view(np.uint8)).reshape(-1, 16).sum(1, np.uint8)


def _distance(one: NDArray[np.uint64], other: NDArray[np.uint64]) -> NDArray[np.int64]:
    """In how many bits hashes differ."""
    return _ONES[np.ascontiguousarray(one ^ other).view(np.uint16).reshape(len(one), 4)].sum(1, np.int64)


def _groups(pairs: Pairs, count: int) -> list[list[int]]:
    """What hangs together by pairs, of so many, the largest first."""
    label = np.arange(count)
    while len(pairs):
        lower = label[pairs].min(1)
        before = label.copy()
        np.minimum.at(label, pairs[:, 0], lower)
        np.minimum.at(label, pairs[:, 1], lower)
        label = label[label]
        if np.array_equal(label, before):
            break
    members: defaultdict[int, list[int]] = defaultdict(list)
    for place in np.unique(pairs).tolist():
        members[int(label[place])].append(place)
    return sorted(members.values(), key=len, reverse=True)
