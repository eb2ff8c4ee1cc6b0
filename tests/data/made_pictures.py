"""Pictures that look a little like photographs: clouds, and discs that hide each other."""

import io

import numpy as np
from PIL import Image


def photo(seed: int, size: int = 128) -> Image.Image:
    rng = np.random.default_rng(seed)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(size), np.fft.fftfreq(size)))
    frequency[0, 0] = 1
    clouds = np.fft.ifft2(np.fft.fft2(rng.standard_normal((size, size))) / frequency).real
    clouds = 40 * (clouds - clouds.mean()) / clouds.std()
    values = 128 + clouds[..., None] * rng.uniform(0.5, 1, 3)
    y, x = np.mgrid[:size, :size]
    for _ in range(40):
        radius, (top, left) = size * rng.uniform(0.02, 0.2), rng.uniform(0, size, 2)
        inside = (y - top) ** 2 + (x - left) ** 2 < radius**2
        values[inside] = rng.uniform(20, 235, 3) + 0.3 * clouds[inside][:, None]
    return Image.fromarray(values.clip(0, 255).astype(np.uint8))


def as_jpeg(image: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(io.BytesIO(file.getvalue())).convert("RGB")
