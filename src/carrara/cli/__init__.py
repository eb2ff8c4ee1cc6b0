"""The command ``carrara``."""

from carrara.cli.entry import main

__all__ = ["main"]
