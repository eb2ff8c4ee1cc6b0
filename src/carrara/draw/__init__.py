"""What a model draws when it is asked: samples and edits that know how they were made."""

from carrara.draw.ask import Ask, request, request_each, settings
from carrara.draw.drawing import Drawing, editable, open_drawing
from carrara.draw.generate import Progress, Remark, finish, follow, generate, result_of, sample
from carrara.draw.reconstruct import compared, reconstruct
from carrara.draw.replay import Replay, replay
from carrara.draw.request import Request, cycled
from carrara.draw.samples import Samples, collect, collect_together, record
from carrara.draw.variation import draw_variation, read_variation
from carrara.draw.verbs import VERBS, Results, Verb

__all__ = [
    "VERBS",
    "Ask",
    "Drawing",
    "Progress",
    "Remark",
    "Replay",
    "Request",
    "Results",
    "Samples",
    "Verb",
    "collect",
    "collect_together",
    "compared",
    "cycled",
    "draw_variation",
    "open_drawing",
    "editable",
    "finish",
    "follow",
    "generate",
    "read_variation",
    "reconstruct",
    "record",
    "replay",
    "request",
    "request_each",
    "result_of",
    "sample",
    "settings",
]
