"""Every test runs with the package's shape annotations executed."""

import os
from pathlib import Path

import torch
from jaxtyping import install_import_hook

install_import_hook("carrara", "beartype.beartype").__enter__()

torch.set_num_threads(int(os.environ.get("CARRARA_TEST_THREADS", "1")))

REPOSITORY = Path(__file__).parent.parent
