"""What it takes to train on billions of pictures: arithmetic by the sizes that the code has, and no measurement.

    python benchmarks/scale.py [PAIRS]

What the code decides is asked of it (bytes of a row, of a line, of a tar file, examples of a shard, floating-point
operations of an encoder, parameters of a network); what others decide is assumed, and stands in `Assumed`. The table is
that of docs/scale.md, which tests/data/test_scale.py compares.
"""

import json
import sys
from dataclasses import dataclass, fields
from functools import cache

import torch

from carrara.autoencoder import KlConfig
from carrara.backbone import UNETS
from carrara.data.latents import SHARD as LATENTS_A_FILE
from carrara.data.order import WINDOWS
from carrara.data.shards import Sharding, layout
from carrara.data.shards.writing import _BESIDE
from carrara.files.tar import ended, padded
from carrara.measure.timing import flops_of

PAIRS = 5_850_000_000
WORKERS = 4
"""Threads of a process that read batches ahead, at most."""
HELD = 24
"""Bytes in memory for each example that is held out."""
NANOSECONDS = 21.6
"""Of a processor for each example in a pass over an epoch (benchmarks/results/shards.md)."""


@dataclass(frozen=True, kw_only=True)
class Assumed:
    """What is not this code's.

    Attributes:
        picture: bytes of a JPEG of 384 pixels along an edge.
        caption: its letters.
        flops: floating-point operations a second that an accelerator keeps up.
        host: accelerators of a host.
        hosts: how many.
        link: bytes a second from the pictures' storage to a host.
        disk: bytes a second that a checkpoint is written with.
        requests: ranges that a host asks for at once.
        answer: seconds until a range is there.
    """

    picture: int = 41_000
    caption: int = 60
    flops: float = 150e12
    host: int = 8
    hosts: int = 32
    link: float = 1.25e9
    disk: float = 1e9
    requests: int = 8 * WORKERS
    answer: float = 0.05


def line_bytes(assumed: Assumed) -> int:
    """Of an example in a file of lines."""
    return len(json.dumps({"name": "012345678.jpg", "captions": ["x" * assumed.caption]})) + 1


def tar_bytes(assumed: Assumed) -> int:
    """Of an example in a tar file: picture, caption, and what is known."""
    return padded(assumed.picture) + padded(assumed.caption) + padded(line_bytes(assumed) - 1)


def examples_of_a_shard(assumed: Assumed, settings: Sharding) -> int:
    """How many pictures of this size are put together."""
    own, count = padded(assumed.picture) + _BESIDE, 1
    while count < settings.most_examples and ended((count + 1) * own) <= settings.most_bytes:
        count += 1
    return count


@cache
def encoding_flops(edge: int = 256) -> float:
    """Operations in which Stable Diffusion's encoder makes latents of a picture."""
    with torch.device("meta"), torch.no_grad():
        stage, picture = KlConfig().build((3, edge, edge)), torch.empty(1, 3, edge, edge)
        return flops_of(lambda: stage.encode_raw(picture))


@cache
def network_parameters() -> int:
    """Of Stable Diffusion v1's network."""
    with torch.device("meta"):
        return sum(p.numel() for p in UNETS["sd-v1"].build((4, 32, 32)).parameters())


def in_units(value: float, unit: str = "B") -> str:
    """A number with three figures."""
    for power, letter in ((15, "P"), (12, "T"), (9, "G"), (6, "M"), (3, "k")):
        if value >= 10**power:
            return f"{value / 10**power:.3g} {letter}{unit}"
    return f"{value:.3g} {unit}"


def rows(pairs: int = PAIRS, assumed: Assumed = Assumed()) -> list[tuple[str, str, str]]:
    """What there is, how much of it, and by which arithmetic."""
    wide = Sharding(most_bytes=10**9)
    each, wide_each = (examples_of_a_shard(assumed, settings) for settings in (Sharding(), wide))
    line, tar, encode = line_bytes(assumed), tar_bytes(assumed), encoding_flops()
    accelerators, parameters = assumed.host * assumed.hosts, network_parameters()
    checkpoint = 16 * parameters
    rate = min(assumed.link * assumed.hosts / assumed.picture, assumed.requests * assumed.hosts / assumed.answer)
    held = round(0.05 * pairs)
    return [
        ("pictures", in_units(pairs * assumed.picture), f"{pairs:,} of {assumed.picture:,} bytes"),
        ("tar files", in_units(pairs * tar), f"{tar:,} bytes each: blocks of 512, with caption and line"),
        ("shards", f"{-(-pairs // each):,}", f"of {each:,} pictures, by 256 MB"),
        ("the same of 1 GB", f"{-(-pairs // wide_each):,}", f"of {wide_each:,} pictures"),
        ("index", in_units(pairs * layout.ROW), f"{layout.ROW} bytes a row, on a disk of each host"),
        ("lines", in_units(pairs * line), f"{line} bytes each, a file for each shard, read when it is asked for"),
        (
            "held-out numbers in memory",
            in_units(HELD * held),
            f"{HELD} bytes each, data.held_out=0.05, in each process",
        ),
        ("the same of one in a million", in_units(HELD * pairs / 1e6), "data.held_out=0.000001"),
        ("a resume", f"{pairs * NANOSECONDS / 1e9:.0f} s", f"a pass over an epoch, {NANOSECONDS} ns each, one core"),
        ("of 10 million", f"{1e7 * NANOSECONDS / 1e9:.2f} s", "the same"),
        ("a window of the order", f"{pairs / WINDOWS / 1e6:.1f} million examples", f"{WINDOWS} passes in an epoch"),
        ("encoding, 256 x 256", in_units(encode, "FLOP"), "a picture, Stable Diffusion's encoder"),
        (
            "encoding all",
            f"{pairs * encode / assumed.flops / 3600:,.0f} hours",
            f"of one accelerator at {in_units(assumed.flops, 'FLOP/s')}; {accelerators}: "
            f"{pairs * encode / assumed.flops / 3600 / accelerators:.1f} hours",
        ),
        (
            "latents",
            in_units(pairs * 8 * 32 * 32 * 2),
            "8 x 32 x 32 numbers of 16 bits: mean and deviation of four channels",
        ),
        ("files of a latent cache", f"{-(-pairs // LATENTS_A_FILE):,}", f"of {LATENTS_A_FILE} pictures each"),
        (
            "a checkpoint",
            in_units(checkpoint),
            f"{parameters:,} parameters, averages and two moments (AdamW), 4 bytes each",
        ),
        ("the same on the disk", f"{checkpoint / assumed.disk:.0f} s", f"at {in_units(assumed.disk)}/s"),
        (
            "an epoch by the pictures' way",
            f"{pairs / rate / 86400:.1f} days",
            f"{assumed.hosts} hosts: the smaller of {in_units(assumed.link)}/s and {assumed.requests} requests in "
            f"{assumed.answer} s each",
        ),
    ]


def table(pairs: int = PAIRS, assumed: Assumed = Assumed()) -> str:
    """As docs/scale.md has it."""
    lines = ["| what | how much | by which arithmetic |", "|---|---|---|"]
    return "\n".join([*lines, *(f"| {what} | {much} | {how} |" for what, much, how in rows(pairs, assumed))])


def assumptions(assumed: Assumed = Assumed()) -> str:
    """The other table."""
    values = [f"| `{field.name}` | {getattr(assumed, field.name):g} |" for field in fields(assumed)]
    return "\n".join(["| assumed | value |", "|---|---|", *values])


if __name__ == "__main__":
    print(table(*map(int, sys.argv[1:2])))
    print()
    print(assumptions())
