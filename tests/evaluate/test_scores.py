"""Metrics by name: each with its error, and with what it looked at."""

import json
from pathlib import Path

import pytest
import torch
from known import Squares, normal

from carrara.errors import UserError
from carrara.evaluate import SampleMetrics, frechet_distance_of_sets, kernel_distance, precision_recall, sample_metrics


def scores(fake: torch.Tensor, real: torch.Tensor, *names: str) -> SampleMetrics:
    return sample_metrics(fake, real, names, features=Squares(), split="held-out pictures", count=8)


def test_scores_are_the_metrics() -> None:
    fake, real = normal(90, 16, 1) + 0.2, normal(80, 16, 2)
    found = scores(fake, real, "kid", "fid", "prdc")
    values = {score.name: score.value for score in found.scores}
    assert list(values) == ["kid", "fid", "precision", "recall", "density", "coverage"]
    assert values["fid"] == frechet_distance_of_sets(fake, real)
    assert values["kid"] == kernel_distance(fake, real).value
    assert values["coverage"] == precision_recall(fake, real).coverage
    assert all(score.error > 0 for score in found.scores)


def test_lines_say_what_was_compared() -> None:
    found = scores(normal(90, 16, 1), normal(80, 16, 2), "fid", "kid")
    text = "\n".join(found.lines())
    assert "4x4 squares" in text and "90 samples, 80 held-out pictures" in text
    assert "of which bias about" in text and "extrapolated to infinite N" in text
    assert all(len(line) < 120 for line in found.lines())
    data = json.loads(json.dumps(found.data(), allow_nan=False))
    assert (data["fake"], data["real"], data["features"]) == (90, 80, "4x4 squares")
    assert data["kid"]["value"] == found.scores[1].value


def test_few_pictures_are_warned_of() -> None:
    assert "mostly bias: compare only at this N" in scores(normal(20, 64, 1), normal(30, 64, 2), "fid").lines()[0]
    with pytest.raises(UserError, match="19 samples and 80 held-out pictures are too few to compare: take 20 of each"):
        scores(normal(19, 4, 1), normal(80, 4, 2), "kid")


def test_names_that_cannot_be_computed() -> None:
    fake, real = normal(30, 4, 1), normal(30, 4, 2)
    with pytest.raises(UserError, match=r"unknown metric of samples 'fud'.* Did you mean 'fid'"):
        scores(fake, real, "fud")
    with pytest.raises(UserError, match="cmmd is defined for CLIP's features alone: give the features clip:FOLDER"):
        scores(fake, real, "cmmd")
    with pytest.raises(UserError, match="give the features inception:FILE"):
        scores(fake, real, "is")


def test_cmmd_of_clip(tmp_path: Path) -> None:
    from test_vision import made_clip

    from carrara.evaluate import cmmd, extractor

    features = extractor(f"clip:{made_clip(tmp_path)}")
    fake, real = normal(30, 8, 1), normal(30, 8, 2)
    found = sample_metrics(fake, real, ["cmmd"], features=features, split="training pictures")
    assert found.scores[0].value == cmmd(fake, real).value
