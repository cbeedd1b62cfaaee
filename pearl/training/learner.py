"""Learners take gradient steps: with the agent itself, or with a twin of it on another device."""

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
    """Takes an iteration's gradient steps. Between iterations the agent holds the weights that count."""

    n_taken: int
    """Gradient steps taken by ``learn``, those of a call that an exception ended too"""

    def learn(self, n_steps: int) -> dict[str, float]:
        """Take ``n_steps`` gradient steps; return the agent's scalars, averaged over them, empty without a step."""
        ...

    def set_learning_rate(self, learning_rate: float) -> None:
        """Set Adam's step size."""
        ...

    def optimizer_state(self) -> dict[str, Tensor]:
        """Return the optimizer's state by name, as ``optimizer_tensors`` does."""
        ...

    def load_optimizer_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over what ``optimizer_state`` returned, of any device.

        Raises:
            ValueError: the tensors do not fit; nothing is changed.
        """
        ...


class AgentLearner(Generic[BatchT]):
    """Takes gradient steps with the agent itself.

    Args:
        agent: learns.
        sample: draws batches for the agent's ``update``.
        rng: of the agent's own draws.
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
    """Takes gradient steps with a twin of the agent on another device, asking nothing of it until they are done.

    The twin is given the agent's weights and statistics before an iteration's steps, and the agent the twin's weights
    after them; the optimizer's state stays with the twin. The device's generator is seeded anew for each iteration by
    ``rng``, so that a checkpoint holds nothing of the device.

    Args:
        agent: acts, on the CPU.
        make_sampler: makes what gives the meta-batches, on the device, of the generator that it is to draw from.
        rng: on the CPU; seeds every draw of the device.
        device: where the twin learns.
        captured: whether the device repeats a captured step, which is for CUDA; the numbers are the same.
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
        """Return the twin's optimizer's state by name, on the CPU, with the step size that was set, unrounded."""
        state = {name: tensor.cpu() for name, tensor in optimizer_tensors(self._twin.optimizer).items()}
        own = optimizer_tensors(self._agent.optimizer)
        return state | {name: tensor for name, tensor in own.items() if name.startswith("lr.")}

    def load_optimizer_state(self, tensors: Mapping[str, Tensor]) -> None:  # noqa: D102
        load_optimizer_tensors(self._twin.optimizer, tensors)
        self._agent.set_learning_rate(float(tensors["lr.0"]))
        if self._captured_step is not None:  # What it captured reads and writes the state that the optimizer had.
            self._captured_step = CapturedStep(self._step, self._device_rng)


def make_learner(
    agent: MetaBatchAgent,
    make_sampler: Callable[[torch.Generator], MetaSampler],
    rng: torch.Generator,
    device: torch.device,
) -> Learner:
    """Return the learner for ``device``; arguments are those of ``TwinLearner``.

    Raises:
        ConfigError: a GPU is asked for, and the agent is no ``MovableAgent``.
    """
    if device.type == "cpu":
        return AgentLearner(agent, make_sampler(rng).sample, rng)
    if not isinstance(agent, MovableAgent):
        raise ConfigError(
            f"training.device is {device.type}, but a {type(agent).__name__} has no make_optimizer by which it could "
            "learn there. Set training.device to cpu."
        )
    return TwinLearner(agent, make_sampler, rng, device, captured=True)


def learning_device(training: TrainingConfig) -> torch.device:
    """Return where gradient steps are to be taken.

    Raises:
        ConfigError: PyTorch cannot use a GPU here.
    """
    if training.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            f"training.device is cuda, but PyTorch {torch.__version__} finds no NVIDIA GPU that it can use. Set "
            "training.device to cpu, or install a PyTorch for CUDA (https://pytorch.org/get-started) where there is "
            'such a GPU. A model that was trained on one acts anywhere: pearl.load(path, device="cpu").'
        )
    return torch.device(training.device)


@torch.no_grad()
def copy_parameters(source: LearningAgent[Any], target: LearningAgent[Any]) -> None:
    """Copy every parameter of ``source`` into its twin in ``target``, in one transfer between their devices."""
    targets = list(target.parameters())
    joined = parameters_to_vector(source.parameters()).to(targets[0].device)
    parts = joined.split([parameter.numel() for parameter in targets])
    for parameter, part in zip(targets, parts, strict=True):
        parameter.copy_(part.view_as(parameter))
