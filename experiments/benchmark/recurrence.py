"""Section on recurrent units: learning from whole trials, compared with PyTorch's own unit."""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import nn

from benchmark.measure import Figure, figure, in_turns
from encoders import GatedRecurrentUnit

OURS, PYTORCH = "ours", "nn.GRU"
SIZES = {
    "RL² on a half cheetah": (3, 600, 26, 128),
    "GRU encoder on a half cheetah": (16, 400, 128, 128),
    "recurrent SAC on the point robot": (16, 60, 64, 64),
}
"""Numbers of trials and steps, and widths of input and state, by name"""


def recurrence(quick: bool) -> Iterator[Figure]:
    """States of whole trials and the gradient through them, by our recurrent unit and by PyTorch's."""
    for name, (trials, steps, input_dim, width) in SIZES.items():
        steps = 5 if quick else steps
        read = torch.randn(trials, steps, input_dim, generator=torch.Generator().manual_seed(0))
        units = {OURS: GatedRecurrentUnit(input_dim, width), PYTORCH: nn.GRU(input_dim, width, batch_first=True)}
        seconds = in_turns({unit: _learning(module, read, width) for unit, module in units.items()}, 3 if quick else 21)
        setting = f"{name}: {trials} trials × {steps}, width {width}"
        yield from (figure(setting, unit, "ms", 1e3 * taken) for unit, taken in seconds.items())
        yield figure(setting, f"{PYTORCH}, over {OURS}", "×", seconds[PYTORCH] / seconds[OURS])


def _learning(unit: nn.GRU, read: torch.Tensor, width: int) -> Callable[[], None]:
    inputs, begun = read.clone().requires_grad_(), torch.zeros(1, len(read), width)
    return partial(_learn, unit, inputs, begun)


def _learn(unit: nn.GRU, inputs: torch.Tensor, begun: torch.Tensor) -> None:
    states, _ = unit(inputs, begun)
    torch.autograd.grad(states.sum(), [inputs, *unit.parameters()])
