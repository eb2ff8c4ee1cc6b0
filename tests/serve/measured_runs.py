"""Runs small enough to be measured in seconds."""

from pathlib import Path

from carrara.cli import main
from tiny import TINY


def trained(folder: Path, *changes: str) -> Path:
    """A run of digits after a few steps."""
    steps = ("train.steps=6", "preview.every=6", "checkpoint.every=6")
    try:
        main([str(argument) for argument in ("train", "digits", "--run", folder, *TINY, *steps, *changes)])
    except SystemExit as end:
        assert not end.code
    return folder
