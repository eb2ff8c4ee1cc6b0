"""Colour profiles (ICC) that are made from published numbers, and what the standards say of their colours."""

import struct
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

D50 = (0.9642, 1.0, 0.8249)
# Red, green and blue as XYZ, adapted to D50: what the profiles of these names hold.
SRGB = ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410))
ADOBE = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
P3 = ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407))
# From linear light to that of sRGB: the products of the matrices in CSS Color 4, section 17.
P3_TO_SRGB = ((1.22494, -0.22494, 0.0), (-0.04206, 1.04206, 0.0), (-0.01964, -0.07864, 1.09828))
ADOBE_TO_SRGB = ((1.39836, -0.39836, 0.0), (0.0, 1.0, 0.0), (0.0, -0.04293, 1.04293))
XYZ_TO_SRGB = (
    (3.1338561, -1.6168667, -0.4906146),
    (-0.9787684, 1.9161415, 0.0334540),
    (0.0719453, -0.2289914, 1.4052427),
)
"""From XYZ under D50, by Bradford's matrix (B. Lindbloom)."""


def linear(colour: Sequence[float]) -> NDArray[np.float64]:
    """IEC 61966-2-1: sRGB's levels in 0..255 as light in 0..1."""
    value = np.asarray(colour) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def encoded_light(light: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    """The inverse of ``linear``, of what is in sRGB's gamut."""
    light = np.asarray(light)
    assert light.min() > -1e-3 and light.max() < 1.001
    light = light.clip(0, 1)
    return 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def of_lab(lab: Sequence[float]) -> NDArray[np.float64]:
    """CIE 1976: L*, a*, b* under D50 as sRGB's levels."""
    y = (lab[0] + 16) / 116
    f = np.array([y + lab[1] / 500, y, y - lab[2] / 200])
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * D50
    return encoded_light(np.asarray(XYZ_TO_SRGB) @ xyz)


def _fixed(*values: float) -> bytes:
    return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))


def gamma(exponent: float) -> bytes:
    return b"curv" + struct.pack(">IIHH", 0, 1, round(exponent * 256), 0)


def srgb_curve() -> bytes:
    """Of 1024 places, as in the profile that most programs embed."""
    light = linear(np.linspace(0, 255, 1024))
    return b"curv" + struct.pack(">II1024H", 0, 1024, *np.round(light * 65535).astype(int).tolist())


def profile(space: bytes, parts: dict[bytes, bytes], kind: bytes = b"mntr", pcs: bytes = b"XYZ ") -> bytes:
    """A file of ICC.1:2001-04."""
    parts = {b"wtpt": b"XYZ " + bytes(4) + _fixed(*D50), **parts}
    table, body, start = b"", b"", 132 + 12 * len(parts)
    for name, part in parts.items():
        table += name + struct.pack(">II", start + len(body), len(part))
        body += part + bytes(-len(part) % 4)
    head = bytes(4) + struct.pack(">I", 0x02400000) + kind + space + pcs + bytes(12) + b"acsp" + bytes(28)
    head = struct.pack(">I", start + len(body)) + bytes(4) + head[4:] + _fixed(*D50) + bytes(48)
    assert len(head) == 128
    return head + struct.pack(">I", len(parts)) + table + body


def of_colours(primaries: Sequence[Sequence[float]], curve: bytes) -> bytes:
    """A profile of a screen."""
    light = {b"rgb"[k : k + 1] + b"XYZ": b"XYZ " + bytes(4) + _fixed(*primary) for k, primary in enumerate(primaries)}
    return profile(b"RGB ", light | {name + b"TRC": curve for name in (b"r", b"g", b"b")})


def of_grey(curve: bytes) -> bytes:
    return profile(b"GRAY", {b"kTRC": curve})


def of_inks(lab: NDArray[np.uint8]) -> bytes:
    """A profile of a printer: (2, 2, 2, 2, 3), what is seen without and with all of cyan, magenta, yellow and black."""
    ramp = bytes(range(256))
    head = struct.pack(">4sIBBBB", b"mft1", 0, 4, 3, 2, 0) + _fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
    return profile(b"CMYK", {b"A2B0": head + 4 * ramp + lab.tobytes() + 3 * ramp}, b"prtr", b"Lab ")
