"""The faults happen to the tiny training of tests/train, and to the pictures of tests/data."""

import sys
from pathlib import Path

for name in ("train", "data"):
    sys.path.insert(0, str(Path(__file__).parents[1] / name))
