"""Colours as sRGB has them, which is what numbers without a profile are taken for.

What a picture's ICC profile says of its numbers is undone: relative to white, and with the profile's black as black. A
profile that is nowhere more than two levels from sRGB is one of the many that say sRGB, and changes nothing to the bit.
One that is broken, or of another kind than its picture, is as none. Of grey, a profile is a curve.
"""

from collections.abc import Sequence
from functools import lru_cache
from io import BytesIO

import numpy as np
from PIL import Image, ImageCms

PROFILE = 1 << 22
"""The largest profile that is looked at, in bytes; those of printers have a few millions."""
_CLOSE = 2  # levels of 255
_SIDE = 17  # colours along each edge of the cube where a profile is compared with sRGB
_KEPT = 16  # profiles
_CLASSES = (b"scnr", b"mntr", b"prtr", b"spac")
_SPACES = {"L": b"GRAY", "RGB": b"RGB ", "CMYK": b"CMYK"}
_LISTED = 100  # the parts of a profile
_PROGRAM = b"mpet"  # a part of as many steps as it likes


def in_srgb(image: Image.Image, mode: str) -> Image.Image:
    """A picture in ``L``, ``RGB`` or ``RGBA``, with the colours that its profile says."""
    said = image.info.get("icc_profile")
    profile = said if isinstance(said, bytes) and len(said) <= PROFILE else b""
    if image.mode == "CMYK":
        printed = _transform(profile, "CMYK")
        return (printed.apply(image) if printed else image).convert(mode)
    if image.mode in ("La", "RGBa"):
        image = image.convert(image.mode.upper())
    plain = image if image.mode == mode else image.convert(mode)
    if image.mode in ("L", "LA"):
        return _curved(plain, _curve(profile))
    if image.mode in ("1", "LAB") or _is_srgb(profile):
        return plain
    transform = _transform(profile, "RGB")
    return _coloured(plain, transform) if transform else plain


def _curved(image: Image.Image, curve: Sequence[int]) -> Image.Image:
    """A picture in ``L`` or ``RGBA`` with other greys; its transparency stays."""
    if not curve:
        return image
    return image.point([*curve] if image.mode == "L" else [*curve, *curve, *curve, *range(256)])


def _coloured(image: Image.Image, transform: ImageCms.ImageCmsTransform) -> Image.Image:
    """A picture in ``RGB`` or ``RGBA`` with other colours; its transparency stays."""
    if image.mode == "RGB":
        return transform.apply(image)
    colours = transform.apply(image.convert("RGB"))
    colours.putalpha(image.getchannel("A"))
    return colours


@lru_cache(_KEPT)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """From a profile's numbers to sRGB's; None if there is no sense in it."""
    if profile[16:20] != _SPACES[mode] or profile[12:16] not in _CLASSES or _PROGRAM in _kinds(profile):
        return None
    try:
        return ImageCms.ImageCmsTransform(
            ImageCms.ImageCmsProfile(BytesIO(profile)),
            ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")),
            mode,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION | (ImageCms.Flags.NOOPTIMIZE if mode == "L" else 0),
        )
    except Exception:  # Pillow has no type for what is wrong in a profile
        return None


def _kinds(profile: bytes) -> set[bytes]:
    """Of the parts of a profile."""
    count = min(_LISTED, int.from_bytes(profile[128:132]))
    places = (int.from_bytes(profile[at + 4 : at + 8]) for at in range(132, 132 + 12 * count, 12))
    return {profile[place : place + 4] for place in places}


@lru_cache(_KEPT)
def _is_srgb(profile: bytes) -> bool:
    """Whether a profile of colours changes next to nothing."""
    transform = _transform(profile, "RGB")
    if transform is None:
        return False
    steps = np.linspace(0, 255, _SIDE).round().astype(np.uint8)
    colours = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(1, -1, 3)
    greys = np.arange(256, dtype=np.uint8)[None, :, None].repeat(3, 2)
    asked = np.concatenate([colours, greys], 1)
    told = np.asarray(transform.apply(Image.fromarray(asked)))
    return bool(np.abs(told.astype(int) - asked).max() <= _CLOSE)


@lru_cache(_KEPT)
def _curve(profile: bytes) -> tuple[int, ...]:
    """What the 256 greys of a profile are in sRGB; nothing if they stay as they are."""
    transform = _transform(profile, "L")
    if transform is None:
        return ()
    greys = np.arange(256, dtype=np.uint8)[None]
    told = np.asarray(transform.apply(Image.fromarray(greys)))[0, :, 1]
    return () if np.abs(told.astype(int) - greys[0]).max() <= _CLOSE else tuple(told.tolist())
