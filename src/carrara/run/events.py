"""What happens in a run beside its steps."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Preview:
    """Samples of fixed seeds were drawn."""

    step: int
    path: Path


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """The objective's measures on held-out data: ``loss@t=...`` for each noise level, or ``psnr``, ``elbo``, ..."""

    step: int
    values: Mapping[str, float]

    def text(self) -> str:
        """In words; the losses of the noise levels as their mean."""
        losses, right = ([v for name, v in self.values.items() if name.startswith(of)] for of in ("loss@", "accuracy@"))
        if losses:
            shares = ", ".join(f"{share:.0%}" for share in right)
            found = f"; right, from little noise to much: {shares}" if right else ""
            return f"loss {sum(losses) / len(losses):.4f}{found}"
        return ", ".join(f"{name} {value:.4g}" for name, value in self.values.items())


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """Something is going wrong: a sentence that says what to do."""

    step: int
    text: str


@dataclass(frozen=True, kw_only=True)
class ModelSaved:
    """The model was written, ready to use."""

    step: int
    path: Path
