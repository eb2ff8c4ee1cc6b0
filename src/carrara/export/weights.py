"""The tensors of a checkpoint in one file, under the names that its authors' code gives them.

Trainers put a network's weights one or two keys deep, beside their moving average and the state of an optimizer. What
is looked for is the network, and of two copies the average.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from carrara.errors import UserError
from carrara.export.folders import TYPES
from carrara.files import BadFile, open_tensors, shapes
from carrara.model import DiffusionModel, ModelConfig
from carrara.nn import BESIDE, bounded

AVERAGES = ("ema.", "ema_state_dict.", "model_ema.", "ema_model.")
"""Where trainers keep the moving average of a network."""
WRAPPERS = (*AVERAGES, "state_dict.", "model_state_dict.", "model.", "module.", "_orig_mod.", "net.")
"""What may stand before all names of a network."""
SHOWN = 3
"""Names in a message."""


class Weights:
    """A file's tensors, none of which is read before it is asked for.

    Args:
        path: the file's name, for messages.
        source: the safetensors file that has them.
        names: those under which they are found, and their own; None if they are the same.
        average: whether they are a moving average that was kept beside the network.
    """

    def __init__(
        self, path: Path, source: Path, names: Mapping[str, str] | None = None, *, average: bool = False
    ) -> None:
        self.path, self.source, self.average = path, source, average
        declared = shapes(source)
        self._names = {name: name for name in declared} if names is None else names
        self.shapes: Mapping[str, tuple[int, ...]] = {name: declared[place] for name, place in self._names.items()}

    def unwrapped(self, wanted: Sequence[str]) -> "Weights":
        """The network whose tensors include all of some, if it is under a key of its own; else all that there is."""
        found = [above for above in self._wrappings() if all(above + name in self._names for name in wanted)]
        if not found:
            return self
        best = min(found, key=lambda above: (not above.startswith(AVERAGES), len(above)))
        return self.below(best, average=self.average or best.startswith(AVERAGES))

    def below(self, above: str, *, average: bool | None = None) -> "Weights":
        """Those whose names begin with ``above``, without it."""
        names = {name.removeprefix(above): place for name, place in self._names.items() if name.startswith(above)}
        return Weights(self.path, self.source, names, average=self.average if average is None else average)

    def averaged(self, above: str, average: str) -> "Weights":
        """With the copy of what begins with ``above`` that is kept at ``average`` without any dots, if there is one."""
        copies = {
            name: place
            for name in self._names
            if name.startswith(above)
            if (place := average + name.removeprefix(above.partition(".")[0] + ".").replace(".", "")) in self._names
        }
        if not copies or len(copies) != sum(name.startswith(above) for name in self._names):
            return self
        names = {**self._names, **{name: self._names[place] for name, place in copies.items()}}
        return Weights(self.path, self.source, names, average=True)

    def read(self, wanted: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
        """Tensors in float32.

        Args:
            wanted: their names and shapes.

        Raises:
            BadFile: some are missing, or of another shape or type.
        """
        if missing := [name for name in wanted if name not in self.shapes]:
            others = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
            raise BadFile(self.path, f"does not hold {_listed(missing)}{others}")
        for name, shape in wanted.items():
            if self.shapes[name] != shape:
                raise BadFile(self.path, f"holds '{name}' of shape {self.shapes[name]}, where {shape} is due")
        return {name: self._tensor(name) for name in wanted}

    def check_rest(self, wanted: Sequence[str], passed_over: str = "$^") -> None:
        """Refuses tensors that are not wanted, but for those whose names match ``passed_over``.

        Raises:
            BadFile: there are some.
        """
        if strange := [name for name in self._names if name not in {*wanted} and not re.match(passed_over, name)]:
            others = f" and {len(strange) - SHOWN} more" if len(strange) > SHOWN else ""
            raise BadFile(self.path, f"holds {_listed(strange)}{others}, which have no place in such a network")

    def _tensor(self, name: str) -> Tensor:
        try:
            value: Tensor = open_tensors(self.source).get_tensor(self._names[name])
        except (RuntimeError, ValueError, OSError, MemoryError) as error:
            raise BadFile(self.path, f"is damaged ({' '.join(str(error).split())[:160]})") from None
        if value.dtype not in TYPES:
            kind = str(value.dtype).removeprefix("torch.")
            raise BadFile(self.path, f"holds '{name}' as {kind}, and weights are float32, float16 or bfloat16")
        if not bool(torch.isfinite(value).all()):
            raise BadFile(self.path, f"holds numbers that are none, in '{name}'")
        return value.float()

    def _wrappings(self) -> list[str]:
        """What may stand before a network's names: up to two keys."""
        one = [above for above in WRAPPERS if any(name.startswith(above) for name in self._names)]
        two = [a + b for a in one for b in WRAPPERS if any(name.startswith(a + b) for name in self._names)]
        return ["", *one, *two]


def built(config: ModelConfig, weights: "Weights", about: Mapping[str, Any], more: int = 0) -> DiffusionModel:
    """The untrained model, if it has no more numbers than the file has bytes, and ``more``.

    Raises:
        UserError: it has, or its parts do not fit together.
    """
    try:
        with bounded(weights.source.stat().st_size + more + BESIDE):
            return DiffusionModel(config, about)
    except ValueError as error:
        raise UserError(f"'{weights.path}' describes no model that works: {error}") from None


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"'{name[:100]}'" for name in names[:SHOWN])
