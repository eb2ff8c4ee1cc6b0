"""What takes long the first time only, done before anybody asks: the first model is opened and draws.

Modules are imported, a text encoder is read, weights are converted and torch chooses its kernels: seconds, of which a
warm studio needs none. Between two of these steps it is looked whether somebody waits, and then the rest is left to
him: nothing of it is done twice.
"""

import gc
from collections.abc import Callable
from contextlib import suppress

from carrara.draw import sample
from carrara.errors import UserError
from carrara.serve.asked import read_ask, sampling
from carrara.serve.previews import preview
from carrara.serve.settings import ServeSettings
from carrara.serve.shelf import Shelf

_STEPS = 2


def warm(shelf: Shelf, settings: ServeSettings, awaited: Callable[[], bool]) -> None:
    """Opens the model that a page shows first, and lets it draw for nobody.

    Args:
        awaited: whether somebody waits.
    """
    with suppress(UserError):
        _draw(shelf, settings, awaited)
    gc.collect()
    gc.freeze()  # what is there now stays: no collection has to look at it again, which takes a tenth of a second


def _draw(shelf: Shelf, settings: ServeSettings, awaited: Callable[[], bool]) -> None:
    name = next(iter(shelf.models())).id
    opened = shelf.open(name)
    if awaited() or not opened.model.draws:
        return
    classes = opened.model.conditioner.classes
    words = [] if opened.model.conditioner.column is None else [classes[0] if classes else "a picture"]
    ask = read_ask(shelf, settings, {"prompts": words, "count": 1, "seed": 0})
    for at in sample(opened, sampling(settings, opened, name, ask).request):
        if awaited():
            return
        if at.step.index == 0:
            preview(opened, at.step.x0)
        if _STEPS <= at.step.index + 1 < at.step.total:
            return
