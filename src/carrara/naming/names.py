"""What a table of names is."""

from collections.abc import Mapping

Names = Mapping[str, tuple[str, ...]]
"""Each of our tensors by name, and those of theirs that it is made of, one below the other."""
