"""A folder of sounds: ``resampled`` keeps its samples at one rate, ``folder`` is the data set."""

from carrara.data.sound.describing import describe
from carrara.data.sound.folder import SoundFolder, SoundReading

__all__ = ["SoundFolder", "SoundReading", "describe"]
