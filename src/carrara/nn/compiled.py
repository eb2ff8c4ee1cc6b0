"""Networks that torch compiles for training: its kernels are made for one kind of call, which training repeats."""

import os
import shutil
import sys
from typing import Any

import torch
from torch import nn

from carrara.errors import UserError
from carrara.nn.layers import modules_of

_COMPILERS = {"darwin": "clang++", "win32": "cl"}


class Compilable(nn.Module):
    """A network whose ``compile()`` holds in training alone: whoever samples has other sizes, and does not wait for it.

    Weights keep their names.
    """

    def __call__(self, *inputs: Any) -> Any:
        return super().__call__(*inputs) if self.training else self._call_impl(*inputs)


def compile_for_training(network: nn.Module) -> int:
    """Has all such parts of a network compiled when they are first called; returns how many there are.

    Raises:
        UserError: there is no compiler.
    """
    parts = modules_of(network, Compilable)
    compiler = os.environ.get("CXX") or _COMPILERS.get(sys.platform, "g++")
    if parts and shutil.which(compiler) is None:
        raise UserError(
            f"train.compile needs the C++ compiler {compiler}, which is not here: install one, or leave it out"
        )
    for part in parts:
        part.compile()
    return len(parts)


def compile_for_sampling(network: Compilable) -> None:
    """Has a network compiled for calls outside training too, which then are to be of few sizes."""
    network.forward = torch.compile(network.forward)
