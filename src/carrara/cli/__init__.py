"""The command ``carrara``."""

from carrara.cli.app import main

__all__ = ["main"]
