"""What ``inpaint`` and ``outpaint`` share: a part of a picture is made new, and the rest of it is kept."""

from collections.abc import Generator
from dataclasses import dataclass, replace

from torch import Tensor

from carrara.conditioning import Masked
from carrara.draw.ask import Ask
from carrara.draw.drawing import Drawing
from carrara.draw.edit import Mask, check_feather, inpaint, size_of
from carrara.draw.generate import Progress, Remark, follow
from carrara.draw.image_input import fill, sampling_window
from carrara.draw.request import Request
from carrara.draw.verbs.base import Verb
from carrara.errors import UserError, option, unknown
from carrara.medium import Size
from carrara.model import DiffusionModel, Model
from carrara.sample import AnySampler, Ddim, Inpainting, Repaint, inpainting
from carrara.shapes import Signals, by
from carrara.store import OpenModel

ETA = {"ddpm": 1.0, "euler_a": 1.0, "euler": 0.0}
"""The samplers that resampling works with beside DDIM: those that look at one step, once."""
SPAN = 1e9
"""No place is beyond."""
GREY = 0.4
"""What the sheet shows where something new is made."""


@dataclass(frozen=True, kw_only=True)
class Holes(Verb):
    """Abstract in where something new is made.

    Attributes:
        feather: Of a model in latents: over how many pixels beside the mask the new part fades into the picture;
            beyond, every pixel is kept. 2, if not given.
        resamplings: How often each step is gone over, so that the new part fits the rest: 1 is fast, and fits badly.
            10, if not given; a model that was trained to fill holes takes none.
        jump: How many steps are gone over at a time; 1, if not given.
    """

    pictures = False

    feather: int | None = None
    resamplings: int | None = None
    jump: int | None = None

    def request(self, opened: OpenModel, ask: Ask) -> Request:
        """Resampling draws by a sampler of its own, which is named in the place of the one that was asked for."""
        asked = super().request(opened, ask)
        if not _resamples(opened.model):
            return asked
        eta = 1.0 if ask.sampler is None else _eta(asked.settings.sampler)
        return replace(asked, settings=replace(asked.settings, sampler=Ddim(eta=eta)))

    def completed(self, asked: Drawing, size: Size) -> "Holes":
        """The same with what was left open as it is chosen for pictures of ``size``.

        Raises:
            UserError: a number below 1, a feather that is none, or resampling for a model that needs none.
        """
        feather = _feather(asked.model, self.feather, size)
        if _resamples(asked.model):
            how = self._repaint(asked)
            return replace(self, feather=feather, resamplings=how.resamplings, jump=how.jump)
        if self.resamplings is None and self.jump is None:
            return replace(self, feather=feather)
        no = f"leave {option('resamplings')} and {option('jump')} out"
        raise UserError(f"this model fills holes as it was trained to, and resamples nothing: {no}")

    def draw(self, asked: Drawing, picture: Signals, new: Mask) -> Generator[Progress | Remark, None, Tensor]:
        """Makes a picture new where it is to be, after a word about a size that the model has not learned."""
        model, size = asked.model, size_of(picture)
        assert self.feather is not None
        yield from _remarks(asked, size)
        if (masked := _masked(model)) is not None:
            return (yield from follow(fill(asked, masked, picture, new, feather=self.feather)))
        how: Inpainting = self._repaint(asked) if _resamples(model) else inpainting(asked.settings.sampler)
        return (yield from follow(inpaint(asked, picture, new, how, feather=self.feather)))

    def _repaint(self, asked: Drawing) -> Repaint:
        said = {"resamplings": self.resamplings, "jump": self.jump}
        eta = _eta(asked.settings.sampler)
        try:
            return Repaint(**{name: value for name, value in said.items() if value is not None}, eta=eta)
        except ValueError as error:
            raise UserError(f"this cannot be inpainted with: {error}") from None


def _masked(model: Model) -> Masked | None:
    """What the model sees of a picture with a hole, if it was trained to fill holes."""
    image = model.image
    return image if image is not None and image.kind == "masked" else None


def _resamples(model: Model) -> bool:
    """Whether the model fills holes that it was not trained to fill: one of levels learns nothing else."""
    return _masked(model) is None and model.first_stage.levels is None


def _eta(sampler: AnySampler) -> float:
    """How much noise resampling adds on its way up again, by the sampler that a user says."""
    if sampler.kind == "ddim":
        return sampler.eta
    if sampler.kind not in ETA:
        raise unknown("sampler of inpainting", sampler.kind, [*ETA, "ddim"])
    return ETA[sampler.kind]


def _feather(model: DiffusionModel, width: int | None, size: Size) -> int:
    """The width of the seam; None is 2 in latents, and none in pixels."""
    in_latents = model.first_stage.learned
    if width is not None and width > 0 and not in_latents:
        no = f"leave {option('feather')} out"
        raise UserError(f"a model in pixels keeps all that is beside the mask, so nothing fades: {no}")
    width = 2 * in_latents if width is None else width
    check_feather(width, size)
    return width


def _remarks(asked: Drawing, size: Size) -> Generator[Remark]:
    """A word about a size that the model has not learned, unless it sees windows of its own."""
    model, tile = asked.model, asked.request.window
    tile = tile if _masked(model) is None else sampling_window(model, size, tile)
    if size != model.size and tile is None:
        own = by(model.size)
        larger = any(edge > known for edge, known in zip(size, model.size, strict=True))
        windows = f", and {option('tile', own)} shows the network windows of what it knows" * larger
        learned = f"What is given is {by(size)}, and the model has learned {own}"
        yield Remark(text=f"{learned}: {option('size', own)} brings it to that{windows}.")


def whole_numbers(text: str, what: str, form: str) -> tuple[int, ...]:
    """As many whole numbers as ``form`` names, with commas between.

    Raises:
        UserError: it is not of this form.
    """
    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != len(form.split(",")):
        raise UserError(f"'{text}' is no {what}: say {form} in whole pixels")
    return numbers


def two_numbers(text: str) -> tuple[float, float]:
    """A beginning and an end.

    Raises:
        UserError: it says no such thing.
    """
    try:
        begin, end = (float(part) for part in text.split(","))
    except ValueError:
        raise UserError(f"'{text}' is no span: say begin,end, as in 2,4") from None
    if not (abs(begin) < SPAN and abs(end) < SPAN):
        raise UserError(f"'{text}' is no span: say begin,end, as in 2,4")
    return begin, end
