"""Pictures in motion: there and back, for ever."""

from pathlib import Path

from PIL import Image

from carrara import pixels
from carrara.files import replacing
from carrara.pixels import Pictures

FRAME, REST, TURN = 70, 500, 100
"""How long a picture is seen, the first and the last one, and one of what turns, in milliseconds."""


def save_animation(frames: Pictures, path: Path) -> Path:
    """Writes frames (N, C, H, W) and their way back as an animation, GIF or WebP by the path's ending.

    Small pictures are enlarged as in a grid. A free name is taken.
    """
    forth = [pixels.grid(frame[None], 1, pad=0) for frame in frames]
    times = [FRAME] * len(forth)
    times[0] = times[-1] = REST
    order = [*range(len(forth)), *range(len(forth) - 2, 0, -1)]
    return _written([forth[k] for k in order], [times[k] for k in order], pixels.fresh(path))


def save_turning(frames: Pictures, path: Path) -> Path:
    """Writes frames (N, C, H, W) of what turns once as an animation that goes on for ever; otherwise as above."""
    images = [pixels.grid(frame[None], 1, pad=0) for frame in frames]
    return _written(images, [TURN] * len(images), pixels.fresh(path))


def _written(images: list[Image.Image], times: list[int], path: Path) -> Path:
    kind = path.suffix[1:].upper()
    options = {"lossless": True} if kind == "WEBP" else {"disposal": 2}
    with replacing(path) as file:
        images[0].save(file, kind, save_all=True, append_images=images[1:], duration=times, loop=0, **options)
    return path
