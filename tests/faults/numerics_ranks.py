"""One rank of a training of which the last rank alone meets the trouble; prints how this rank ends, as JSON."""

import json
import math
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "train"))

import torch
from ddp_training import share
from tiny_training import Tiny, fingerprint, training
from torch import nn

from carrara.errors import UserError
from carrara.objective.base import LossReport
from carrara.train import Incident, Training, distributed, launched


class SickHere(Tiny):
    """The last rank: no finite loss at step 3, and from step 6 on until the rate is halved; or too little memory."""

    def __init__(self, memory: bool) -> None:
        super().__init__()
        self.denoiser[2] = nn.Identity()
        self.memory, self.run = memory, None

    def forward(self, batch, role, draws):
        report = super().forward(batch, role, draws)
        if distributed.rank() < distributed.world() - 1:
            return report
        if self.memory and draws.step == 4:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        if not self.memory and (draws.step == 3 or (draws.step >= 6 and not self.run.clock.halvings)):
            hit = torch.arange(len(batch)) == 1
            return LossReport(torch.where(hit, report.per_sample * math.nan, report.per_sample), report.logs)
        return report


def end(run: Training) -> dict[str, object]:
    told = [(event.step, event.back, event.text) for event in run if isinstance(event, Incident)]
    weights = torch.cat([p.detach().flatten() for p in run.state.objective.parameters()])
    return {"told": told, "step": run.clock.step, "weights": weights.tolist(), "bits": fingerprint(run.state)}


if __name__ == "__main__":
    torch.set_num_threads(1)
    objective = SickHere(sys.argv[2] == "memory")
    try:
        with launched():
            run = training(Path(sys.argv[1]), objective=objective, data=share, every=4, steps=30, lr=1e-3)
            run._names = lambda positions: [str(position) for position in positions]
            objective.run = run
            print(json.dumps(end(run)))
    except UserError as error:
        print(error)
        distributed.leave(2)
