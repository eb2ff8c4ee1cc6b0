"""The other front door: what the command does, from Python, with the same names.

    model = carrara.load("runs/photos")
    model.generate("a red apple", steps=20)[0].save("apple.png")
    model.edit.inpaint("face.png", box="10,20,30,16", prompt="sunglasses").images

Keyword arguments are the fields of ``draw.Ask`` and of the verb, which are the options of the command, too. Whatever
takes long can be iterated over: whoever does sees each step, and cancels by not asking for more.
"""

from collections.abc import Generator, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, final

from PIL import Image
from torch import Tensor

from carrara.draw import VERBS, Ask, Progress, Results, Verb, collect, request, result_of
from carrara.draw import sample as draw_samples
from carrara.draw.given import ask_of, made, verb_of
from carrara.draw.verbs import Steps
from carrara.errors import UserError, known, option, unknown
from carrara.measure.evaluation import measure_run
from carrara.measure.measurement import MeasureSettings, MetricResult
from carrara.model import Model
from carrara.run import Plan, Session, plan_distillation, plan_few_step
from carrara.store import OpenModel


@final
class Toolkit:
    """A trained model, and all that can be done with it; see ``carrara.load``."""

    def __init__(self, opened: OpenModel) -> None:
        self.opened = opened
        self.edit = Editor(opened)

    @property
    def model(self) -> Model:
        """The model itself."""
        return self.opened.model

    def samples(self, *prompts: str, **asked: Any) -> Tensor:
        """Draws samples as tensors, (N, *S), pictures in about [-1, 1].

        Args:
            prompts: what to draw; nothing means each class in turn, or unconditional samples.
            asked: the other fields of ``draw.Ask``: ``count``, ``seed``, ``steps``, ``guidance``, ``size``, ...

        Raises:
            UserError: a prompt, a setting, a size or a weaker model that does not fit the model.
        """
        return collect(self.opened, request(self.opened, ask_of(prompts=prompts, **asked))).values

    def generate(self, *prompts: str, count: int = 1, **asked: Any) -> list[Image.Image]:
        """Draws pictures; arguments as of ``samples``."""
        singles = [self.model.medium.single(sample) for sample in self.samples(*prompts, count=count, **asked)]
        images = [image for image in singles if image is not None]
        if len(images) < len(singles):
            raise UserError("this model's samples are not pictures: call samples() for the numbers")
        return images

    def steps(self, *prompts: str, **asked: Any) -> Iterator[Progress]:
        """The same step by step: ``step.x`` is the noisy state, and ``pixels`` the samples of a batch that is done."""
        return draw_samples(self.opened, request(self.opened, ask_of(prompts=prompts, **asked)))

    def evaluate(self, *metrics: str, **how: Any) -> dict[str, MetricResult]:
        """Measures the run on its held-out data, as ``carrara evaluate`` does, into its ``evaluation/``.

        Args:
            metrics: their names; the usual one of such a run, if none is named.
            how: ``samples``, ``features``, ``seed``, ``exact``.

        Raises:
            UserError: an unknown metric or option, or a metric that the run does not have.
        """
        chosen = made(MeasureSettings, how)
        measured = measure_run(self.opened.folder, ",".join(metrics) or None, self.model.device, chosen)
        return {paths[0].stem: found for found, paths in measured}

    def distill(self, *overrides: str, steps: int | None = None, run: Path | str | None = None) -> "Toolkit":
        """Makes a faster model: of ``steps`` steps, in a run of its own; or, without them, a tiny decoder for previews.

        Args:
            overrides: ``key=value`` changes to the recipe, such as ``train.minutes=20``.
            steps: how many steps the new model takes.
            run: the new run's folder; the old one's name and the steps, beside it, if not given.

        Raises:
            UserError: the run cannot be distilled, or anything is wrong with the overrides.
        """
        return result_of(self.distilling(*overrides, steps=steps, run=run))

    def distilling(
        self, *overrides: str, steps: int | None = None, run: Path | str | None = None
    ) -> Generator[object, None, "Toolkit"]:
        """The same, event by event: steps, previews, what was saved. It can be stopped, and goes on the next time."""
        plan = self._plan(overrides, steps, run)
        with plan.held(self.model.device) as check:
            yield from Session(plan, self.model.device, check)
        return Toolkit(self.opened.store.open(self.opened.folder if steps is None else plan.folder))

    def _plan(self, overrides: tuple[str, ...], steps: int | None, run: Path | str | None) -> Plan:
        if steps is not None:
            return plan_few_step(self.opened.folder, steps, None if run is None else Path(run), overrides)
        if run is not None:
            no = f"leave {option('run')} out, or say how many {option('steps')} a model shall take"
            raise UserError(f"a decoder is kept in the run that it belongs to: {no}")
        return plan_distillation(self.opened.folder, overrides)


@final
@dataclass(frozen=True)
class Editor:
    """The verbs of editing by their names: ``edit.inpaint("a.png", box="0,0,8,8", prompt="cat")``."""

    opened: OpenModel

    def __getattr__(self, name: str) -> "Edit":
        if name.startswith("__"):
            raise AttributeError(name)  # whoever copies or prints asks for such
        return Edit(self.opened, VERBS[known("edit", name, VERBS)])

    def __dir__(self) -> list[str]:
        return list(VERBS)


@final
@dataclass(frozen=True)
class Edit:
    """A verb of an open model: called, it gives what came of it; ``steps`` can be watched and cancelled."""

    opened: OpenModel
    verb: type[Verb]

    def __call__(self, *pictures: Any, **said: Any) -> Results:
        """Edits pictures.

        Args:
            pictures: paths, Pillow's, or arrays.
            said: the fields of the verb and of ``draw.Ask``; ``prompt`` is what to draw.

        Raises:
            UserError: a picture or an option that does not fit.
        """
        return result_of(self.steps(*pictures, **said))

    def steps(self, *pictures: Any, **said: Any) -> Steps:
        """The same step by step."""
        own, asked = ([field.name for field in fields(what)] for what in (self.verb, Ask))
        for name in said:
            if name not in (*own, *asked, "prompt", "image", "images"):
                raise unknown("option", name, [*own, *(one for one in asked if one not in self.verb.leaves)])
        verb = verb_of(self.verb, pictures, {name: value for name, value in said.items() if name in own})
        ask = ask_of(**{name: value for name, value in said.items() if name not in own})
        return verb.run(self.opened, verb.request(self.opened, ask))
