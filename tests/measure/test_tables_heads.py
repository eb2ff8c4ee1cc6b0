"""Tables of benchmarks say what their processor can do: speeds of two kinds of processors are not one another's."""

from pathlib import Path

import pytest

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"
NO_SPEED = {"structure"}
OLDER = {
    *("absorbing", "autoencoder_losses", "bench", "cached", "classifier_guidance", "corruptions", "inspecting"),
    *("inversion", "latent_against_pixel", "layers", "originals", "peers", "precision", "quality", "runtimes"),
    *("scaling", "stable_diffusion", "studio", "tiny_decoder", "upscale"),
}
"""Tables from before that, of an AMD EPYC; whoever measures one of them again takes its name out."""


@pytest.mark.parametrize("name", sorted(path.stem for path in RESULTS.glob("*.md")))
def test_a_table_names_the_processors_features(name: str) -> None:
    head = (RESULTS / f"{name}.md").read_text(encoding="utf-8")[:3000]
    says = any(feature in head for feature in ("AVX", "AMX", "NVIDIA", "no features"))
    assert says != (name in OLDER | NO_SPEED)
