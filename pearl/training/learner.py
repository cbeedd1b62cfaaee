"""Learners take gradient steps with the agent itself, or with a copy of it (twin) on another device."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor
from torch.nn.utils import parameters_to_vector

from agents import LearningAgent
from agents.base import MetaBatchAgent, MovableAgent
from encoders import static_shapes
from pearl.checkpoint.optimizer_state import load_optimizer_tensors, optimizer_tensors
from pearl.config.reading import ConfigError
from pearl.config.training import TrainingConfig
from pearl.replay.sampling import MetaSampler
from pearl.training.captured_step import CapturedStep

BatchT = TypeVar("BatchT")


class Learner(Protocol):
    """Takes an iteration's gradient steps. Between iterations, the agent holds the current weights."""

    n_taken: int
    """Number of gradient steps taken by ``learn``, including calls that an exception ended"""

    def learn(self, n_steps: int) -> dict[str, float]:
        """Take ``n_steps`` gradient steps; return the agent's scalars, averaged over the steps; empty for 0 steps."""
        ...

    def set_learning_rate(self, learning_rate: float) -> None:
        """Set Adam's step size."""
        ...

    def optimizer_state(self) -> dict[str, Tensor]:
        """Return the optimizer's state by name, as ``optimizer_tensors`` does."""
        ...

    def load_optimizer_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Load the state that ``optimizer_state`` returned, from any device.

        Raises:
            ValueError: the tensors do not fit; the optimizer is unchanged.
        """
        ...


class AgentLearner(Generic[BatchT]):
    """Takes gradient steps with the agent itself.

    Args:
        agent: the agent that learns.
        sample: draws batches for the agent's ``update``.
        rng: the agent's random generator.
    """

    def __init__(self, agent: LearningAgent[BatchT], sample: Callable[[], BatchT], rng: torch.Generator) -> None:
        self.n_taken = 0
        self._agent = agent
        self._sample = sample
        self._rng = rng

    def learn(self, n_steps: int) -> dict[str, float]:  # noqa: D102
        sums: dict[str, Tensor] = {}
        for _ in range(n_steps):
            for name, value in self._agent.update(self._sample(), self._rng).items():
                sums[name] = sums[name] + value if name in sums else value
            self.n_taken += 1
        return {name: float(total) / n_steps for name, total in sums.items()}

    def set_learning_rate(self, learning_rate: float) -> None:  # noqa: D102
        self._agent.set_learning_rate(learning_rate)

    def optimizer_state(self) -> dict[str, Tensor]:  # noqa: D102
        return optimizer_tensors(self._agent.optimizer)

    def load_optimizer_state(self, tensors: Mapping[str, Tensor]) -> None:  # noqa: D102
        load_optimizer_tensors(self._agent.optimizer, tensors)


class TwinLearner:
    """Takes gradient steps with a twin of the agent on another device, and synchronises only after the last step.

    Before an iteration's steps, the twin receives the agent's weights and statistics; afterwards, the agent receives
    the twin's weights. The optimizer's state stays with the twin. ``rng`` seeds the device's generator in each
    iteration, so that a checkpoint contains no state of the device's generator.

    Args:
        agent: the agent, which acts on the CPU.
        make_sampler: makes a sampler of meta-batches on the device, given its random generator.
        rng: a generator on the CPU, which seeds every draw on the device.
        device: the device on which the twin learns.
        captured: whether to capture the step in a CUDA graph (CUDA only); results are the same.
    """

    def __init__(
        self,
        agent: MovableAgent,
        make_sampler: Callable[[torch.Generator], MetaSampler],
        rng: torch.Generator,
        device: torch.device,
        *,
        captured: bool,
    ) -> None:
        self.n_taken = 0
        self._agent = agent
        self._rng = rng
        self._device_rng = torch.Generator(device)
        self._sampler = make_sampler(self._device_rng)
        self._twin = deepcopy(agent).to(device)
        learning_rate = torch.tensor(agent.config.learning_rate, dtype=torch.float32, device=device)
        self._twin.optimizer = self._twin.make_optimizer(learning_rate, capturable=captured)
        self._sums: dict[str, Tensor] = {}
        self._captured_step = CapturedStep(self._step, self._device_rng) if captured else None

    def learn(self, n_steps: int) -> dict[str, float]:  # noqa: D102
        if n_steps == 0:
            return {}
        self._device_rng.manual_seed(int(torch.randint(2**62, (1,), generator=self._rng)))
        copy_parameters(self._agent, self._twin)
        for statistics, own in zip(self._twin.buffers(), self._agent.buffers(), strict=True):
            statistics.copy_(own)
        for total in self._sums.values():
            total.zero_()
        step = self._captured_step if self._captured_step is not None and self._sampler.has_fixed_shapes else self._step
        try:
            with static_shapes():
                for _ in range(n_steps):
                    step()
                    self.n_taken += 1
        finally:
            copy_parameters(self._twin, self._agent)
        totals = torch.stack(list(self._sums.values())).tolist()
        return {name: total / n_steps for name, total in zip(self._sums, totals, strict=True)}

    def _step(self) -> None:
        """Take one gradient step and add its scalars to the sums, in place."""
        for name, value in self._twin.update(self._sampler.sample(), self._device_rng).items():
            if name in self._sums:
                self._sums[name].add_(value)
            else:
                self._sums[name] = value.clone()

    def set_learning_rate(self, learning_rate: float) -> None:  # noqa: D102
        self._twin.set_learning_rate(learning_rate)
        self._agent.set_learning_rate(learning_rate)

    def optimizer_state(self) -> dict[str, Tensor]:
        """Return the state of the twin's optimizer by name, on the CPU, with the unrounded step size."""
        state = {name: tensor.cpu() for name, tensor in optimizer_tensors(self._twin.optimizer).items()}
        own = optimizer_tensors(self._agent.optimizer)
        return state | {name: tensor for name, tensor in own.items() if name.startswith("lr.")}

    def load_optimizer_state(self, tensors: Mapping[str, Tensor]) -> None:  # noqa: D102
        load_optimizer_tensors(self._twin.optimizer, tensors)
        self._agent.set_learning_rate(float(tensors["lr.0"]))
        if self._captured_step is not None:  # The captured graph uses the tensors of the optimizer's old state.
            self._captured_step = CapturedStep(self._step, self._device_rng)


def make_learner(
    agent: MetaBatchAgent,
    make_sampler: Callable[[torch.Generator], MetaSampler],
    rng: torch.Generator,
    device: torch.device,
) -> Learner:
    """Return the learner for ``device``; arguments are those of ``TwinLearner``.

    Raises:
        ConfigError: the device is a GPU, and the agent is not a ``MovableAgent``.
    """
    if device.type == "cpu":
        return AgentLearner(agent, make_sampler(rng).sample, rng)
    if not isinstance(agent, MovableAgent):
        raise ConfigError(
            f"training.device is {device.type}, but {type(agent).__name__} has no make_optimizer method and cannot "
            "learn there. Set training.device to cpu."
        )
    return TwinLearner(agent, make_sampler, rng, device, captured=True)


def learning_device(training: TrainingConfig) -> torch.device:
    """Return the device for gradient steps.

    Raises:
        ConfigError: PyTorch cannot use a GPU here.
    """
    if training.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            f"training.device is cuda, but PyTorch {torch.__version__} finds no NVIDIA GPU that it can use. Set "
            "training.device to cpu. If this machine has such a GPU, install PyTorch for CUDA "
            "(https://pytorch.org/get-started). To load a model that was trained on a GPU: "
            'pearl.load(path, device="cpu").'
        )
    return torch.device(training.device)


@torch.no_grad()
def copy_parameters(source: LearningAgent[Any], target: LearningAgent[Any]) -> None:
    """Copy every parameter of ``source`` to its counterpart in ``target``, in one transfer between devices."""
    targets = list(target.parameters())
    joined = parameters_to_vector(source.parameters()).to(targets[0].device)
    parts = joined.split([parameter.numel() for parameter in targets])
    for parameter, part in zip(targets, parts, strict=True):
        parameter.copy_(part.view_as(parameter))
