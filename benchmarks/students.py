"""What should a student of few steps learn by? Ways beside each other, at equal processor time.

    python benchmarks/students.py RUN [--steps 1 2 4] [--seconds 90]

RUN is a teacher: a U-Net in pixels on a rectified flow. Its students begin as it is and learn for so many seconds,
solutions included, in which their rate falls to 0: by regression on these, as `carrara distill` does; or so at first,
and in the end with a judge beside it, whose heads tell noised pictures from noised samples by the hinge loss.
"""

import argparse
import copy
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from time import process_time

import torch
from machine import described
from torch import Tensor, nn

from carrara import evaluate
from carrara.data import batch_of
from carrara.measure import MeasureSettings, Subject
from carrara.nn import Tokens, patchify
from carrara.noise import Schedule
from carrara.objective import FewStepSettings
from carrara.objective.fewstep import GRID, TOLD
from carrara.pixels import rounded
from carrara.recipe import build
from carrara.sample import Euler, generate, last
from carrara.seeds import Draws
from carrara.shapes import expand
from carrara.store import Store
from carrara.store.trajectories import Teacher
from carrara.train import optim
from carrara.train.ema import Ema
from carrara.train.settings import TrainSettings
from carrara.types import Batch, Conditioning

BATCH, SOLUTIONS, SUBSTEPS = 64, 512, 24
FIRST, WEIGHT, NOISIEST = 0.65, 0.5, 0.95
"""The part of the time without a judge, its gradient in lengths of the regression's, the latest time it looks at."""
JUDGE = TrainSettings(steps=1, lr=2e-3, betas=(0.5, 0.99))
SETTINGS = TrainSettings(steps=1, optimizer="muon", lr=3e-3, warmup=50, decay=1.0, ema_half_life=4000)


def noised(x: Tensor, s: Tensor, t: Tensor, draws: Draws, schedule: Schedule) -> Tensor:
    """States at times s, noised further to times t >= s."""
    (alpha_s, sigma_s), (alpha_t, sigma_t) = schedule(s), schedule(t)
    kept = alpha_t / alpha_s
    added = (sigma_t.square() - (kept * sigma_s).square()).clamp(min=0).sqrt()
    return (expand(kept, x) * x + expand(added, x) * draws.normal("noise", *x.shape[1:])).float()


class Judge(nn.Module):
    """Tells noised pictures from noised samples by what the teacher sees on its way down, at three depths."""

    def __init__(self, trial: "Trial") -> None:
        super().__init__()
        self.trial = trial
        seen = self.seen(torch.zeros(1, *trial.shape), torch.full((1,), 0.5), trial.teacher.conditioner.null(1))
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Conv2d(f.shape[1], 64, 3, padding=1), nn.GroupNorm(8, 64), nn.SiLU(), nn.Conv2d(64, 1, 1))
            for f in seen
        )
        self.moving = optim.optimizers(self.heads.parameters(), JUDGE)

    def seen(self, x: Tensor, t: Tensor, cond: Conditioning) -> list[Tensor]:
        network, c = self.trial.teacher.denoiser.backbone, self.trial.teacher.denoiser.coefficients(t)
        emb, _ = network.embed(c.noise_level.to(x), cond.vector)
        h = network.inp(patchify(expand(c.inp, x).to(x) * x, network.config.patch))
        found = network.descend(h, emb, Tokens.of(cond, network.config.context_width))
        return [found[1], *found[-2:]]

    def opinions(self, features: list[Tensor]) -> Tensor:
        """Of each place, high where it looks real."""
        return torch.cat([head(f).flatten(1) for head, f in zip(self.heads, features, strict=True)], dim=1)

    def objection(self, x: Tensor, s: Tensor, columns: Mapping[str, Tensor], told: Tensor, draws: Draws) -> Tensor:
        """The gradient of -opinion at samples of times s; then it learns to tell them from pictures."""
        t = s + (NOISIEST - s).clamp(min=0) * draws.uniform("judged at").double()
        (real, said), ask = self.trial.examples(draws), self.trial.teacher.conditioner
        leaf, schedule = x.detach().requires_grad_(), self.trial.schedule
        fake = self.seen(noised(leaf, s, t, draws, schedule), t, ask(columns, told))
        true = self.seen(noised(real, torch.zeros_like(t), t, draws.at(-1 - draws.step), schedule), t, ask(said, told))
        (gradient,) = torch.autograd.grad(-self.opinions(fake).mean(), leaf)
        seen = self.opinions([f.detach() for f in fake]), self.opinions(true)
        (torch.relu(1 + seen[0]) + torch.relu(1 - seen[1])).mean().backward()
        optim.descend(self.moving, JUDGE.lr)
        self.zero_grad()
        return gradient


class Trial:
    """A teacher, its data, and how its students do."""

    def __init__(self, run: Path, samples: int) -> None:
        opened = Store().open(run)
        self.teacher = opened.model.eval().requires_grad_(False)
        self.schedule, self.shape = self.teacher.config.schedule, self.teacher.latent_shape
        subject = Subject(opened, MeasureSettings(samples=samples))
        self.wishes, whole = subject.samples.wishes("held out"), build.dataset(subject.data.recipe)
        self.data, self.network = batch_of(whole, subject.data.transform, range(len(whole))), evaluate.extractor()
        self.real = self.features(self.data.x)

    def features(self, x: Tensor) -> Tensor:
        return torch.cat(list(evaluate.extract(self.network, x.split(BATCH))))

    def examples(self, draws: Draws) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Pictures, and what is said of them."""
        rows = draws.integer("example", len(self.data.x))
        return self.data.x[rows], {name: values[rows] for name, values in self.data.columns.items()}

    def solutions(self, steps: int, seed: int) -> Batch:
        """The teacher's, from noise to data, in SUBSTEPS steps."""
        own = Teacher(model=self.teacher, distilled=FewStepSettings(steps=steps, solver=SUBSTEPS))
        draws = Draws(seed, torch.arange(SOLUTIONS), step=-1)
        columns = {**self.examples(draws)[1], TOLD: (draws.uniform("told") >= 0.1).float()[:, None]}
        begun = Batch(x=draws.normal("noise", *self.shape), position=draws.samples, columns=columns)
        return replace(begun, x=torch.cat([own.solve(part) for part in begun.split(BATCH)]))

    def distance(self, student: "Student") -> evaluate.Estimate:
        """The kernel distance of a student's samples to all pictures."""
        made = list[Tensor]()
        for rows in torch.arange(len(self.wishes)).split(BATCH):
            denoise = student.model.denoiser.bind(student.model.conditions([self.wishes[r] for r in rows.tolist()]))
            way = {"sampler": Euler(), "grid": GRID, "steps": student.steps, "schedule": self.schedule}
            made.append(last(generate(denoise, self.shape, rows.tolist(), **way)).x.clamp(-1, 1))
        return evaluate.kernel_distance(self.features(rounded(torch.cat(made))), self.real)


class Student:
    """What learns."""

    def __init__(self, trial: Trial, given: argparse.Namespace, way: str, steps: int) -> None:
        self.trial, self.given, self.steps, self.begun = trial, given, steps, process_time()
        self.model, self.times = copy.deepcopy(trial.teacher), GRID(steps, trial.schedule)
        self.model.requires_grad_()
        self.moving = optim.optimizers(self.model.parameters(), SETTINGS)
        self.solutions = trial.solutions(steps, given.seed)
        self.judge = Judge(trial) if way == "adversarial" else None

    def learn(self) -> int:
        """Until its time is over; ends with the averaged weights, and returns the steps of training."""
        done, average = 0, Ema(self.model, half_life=SETTINGS.ema_half_life, rampup=SETTINGS.ema_rampup)
        while (progress := (process_time() - self.begun) / self.given.seconds) < 1:
            draws = Draws(self.given.seed, torch.arange(done * BATCH, (done + 1) * BATCH), done)
            x, gradient = self.step(draws, progress)
            x.backward(gradient)
            nn.utils.clip_grad_norm_(self.model.parameters(), SETTINGS.clip)
            optim.descend(self.moving, optim.learning_rate(SETTINGS, done, progress))
            self.model.zero_grad(set_to_none=True)
            average.update(done * BATCH, BATCH)
            done += 1
        self.model.load_state_dict({**self.model.state_dict(), **average.tensors})
        return done

    def step(self, draws: Draws, progress: float) -> tuple[Tensor, Tensor]:
        """Where steps lead from the states of solutions, and the gradient there; in the end with a judge's."""
        rows, k = draws.integer("solution", len(self.solutions.x)), torch.arange(BATCH) % self.steps
        columns = {name: values[rows] for name, values in self.solutions.columns.items()}
        told, t, s = columns[TOLD][:, 0] > 0, self.times[k], self.times[k + 1]
        x, wanted = self.solutions.x[rows, k], self.solutions.x[rows, k + 1]
        reached, h = self.led(x, t, s, self.model.conditioner(columns, told))
        gradient = 2 * (reached.detach() - wanted) / h.square() / x.numel()
        if self.judge is not None and progress >= FIRST:
            objection = self.judge.objection(reached, s, columns, told, draws)
            gradient += WEIGHT * gradient.norm() / objection.norm().clamp(min=1e-12) * objection
        return reached, gradient

    def led(self, x: Tensor, t: Tensor, s: Tensor, cond: Conditioning) -> tuple[Tensor, Tensor]:
        """A step from times t to s; and h, how far a unit of v leads: `objective.fewstep`, equations (1) and (2)."""
        (alpha_t, sigma_t), (alpha_s, sigma_s) = self.trial.schedule(t), self.trial.schedule(s)
        kappa, toward = sigma_s / sigma_t, alpha_s - sigma_s / sigma_t * alpha_t
        h = toward * sigma_t / torch.hypot(alpha_t, sigma_t)
        reached = expand(kappa, x) * x + expand(toward, x) * self.model.denoiser(x, t, cond)
        return reached.float(), expand(h, x).float()


def main(given: argparse.Namespace) -> None:
    """Prints the table."""
    torch.set_num_threads(1)
    trial = Trial(given.run, given.samples)
    print(f"{described()}; {given.samples} samples; {len(trial.real)} pictures; {trial.network.name}\n")
    print("| | steps | steps of training | KID x 1000 |\n|---|---|---|---|")
    for steps in given.steps:
        for way in ("regression", "adversarial"):
            student = Student(trial, given, way, steps)
            done, kid = student.learn(), trial.distance(student)
            print(f"| {way} | {steps} | {done} | {1000 * kid.value:.1f} ± {1000 * kid.error:.1f} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--steps", nargs="+", type=int, default=[1, 2, 4])
    parser.add_argument("--seconds", type=float, default=90)
    parser.add_argument("--samples", type=int, default=320)
    parser.add_argument("--seed", type=int, default=0)
    main(parser.parse_args())
