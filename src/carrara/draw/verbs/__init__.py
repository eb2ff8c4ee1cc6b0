"""The verbs of editing, each a file here. To add one: its class in a file of its own, and a line in ``VERBS``."""

from carrara.draw.verbs.base import Edited, Plates, Results, SheetRow, Steps, Verb
from carrara.draw.verbs.img2img import Img2Img
from carrara.draw.verbs.inpaint import Inpaint
from carrara.draw.verbs.interpolate import Interpolate
from carrara.draw.verbs.invert import Invert
from carrara.draw.verbs.map import Map
from carrara.draw.verbs.outpaint import Outpaint
from carrara.draw.verbs.reconstruct import Reconstruct
from carrara.draw.verbs.restore import Restore
from carrara.draw.verbs.rewrite import Rewrite
from carrara.draw.verbs.traverse import Traverse
from carrara.draw.verbs.upscale import Upscale
from carrara.draw.verbs.variation import Variation

VERBS: dict[str, type[Verb]] = {
    verb.name: verb
    for verb in (
        Img2Img,
        Variation,
        Upscale,
        Map,
        Restore,
        Inpaint,
        Outpaint,
        Reconstruct,
        Invert,
        Rewrite,
        Interpolate,
        Traverse,
    )
}
"""By name, in the order in which help lists them."""

__all__ = ["VERBS", "Edited", "Plates", "Results", "SheetRow", "Steps", "Verb"]
