import numpy as np
import torch

from carrara.plots import PAPER, Plane, scatter, sheet


def ink(image: object) -> np.ndarray:
    """Which pixels differ much from the paper and the axes."""
    return np.asarray(image).astype(int).sum(-1) < 500


def test_points_are_where_they_should_be() -> None:
    marks = ink(Plane(100, limit=1.0).points(torch.tensor([[0.5, 0.8]]), radius=3.0).picture())
    rows, columns = np.nonzero(marks)
    assert abs(columns.mean() - 75) < 1.5
    assert abs(rows.mean() - 10) < 1.5


def test_arrows_lead_from_their_start_along_their_vector() -> None:
    marks = ink(Plane(100, limit=1.0).arrows(torch.tensor([[-0.5, 0.5]]), torch.tensor([[1.0, 0.0]])).picture())
    rows, columns = np.nonzero(marks)
    assert abs(rows.mean() - 25) < 2
    assert columns.min() < 28
    assert columns.max() > 72


def test_scatter_fits_its_points_and_survives_a_single_one() -> None:
    assert ink(scatter(torch.tensor([[100.0, -100.0], [-100.0, 100.0]]))).any()
    assert scatter(torch.zeros(1, 2)).size == (320, 320)


def test_a_sheet_has_all_cells_and_headings() -> None:
    cell = Plane(40).picture()
    page = sheet([[cell, cell], [cell, cell]], ["left", "right"], ["first", "second row"])
    assert page.width > 2 * 40 + 40
    assert page.height > 2 * 40 + 20
    assert ink(page)[:30].any(), "column headings"
    assert page.getpixel((page.width - 1, page.height - 1)) == PAPER
