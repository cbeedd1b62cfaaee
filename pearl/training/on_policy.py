"""On-policy meta-training: the agent learns from the trials of the current iteration only."""

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from agents import Trials
from pearl.checkpoint.optimizer_state import load_optimizer_tensors, optimizer_tensors
from pearl.collection.references import RandomAgent
from pearl.collection.rollout import StepEvent, Trajectories
from pearl.config.training import CollectionConfig
from pearl.training.base import MetaTraining
from pearl.training.trials import as_trials


class TrialTraining(MetaTraining[Trials, CollectionConfig]):
    """On-policy meta-training of an agent that learns from ``Trials``.

    If the agent learns in running units (``agent.reward_scale`` is None), a random policy plays the first iteration.
    Its trials give the units and are not learnt from.
    """

    _random = False  # Whether a random policy plays the present iteration.

    @property
    def can_resume(self) -> bool:  # noqa: D102
        return self.gradient_steps == 0 or bool(self.agent.optimizer.state)

    def tensors(self) -> dict[str, dict[str, Tensor]]:  # noqa: D102
        return {"optimizers": optimizer_tensors(self.agent.optimizer)}

    def load_tensors(self, groups: Mapping[str, Mapping[str, Tensor]]) -> None:  # noqa: D102
        load_optimizer_tensors(self.agent.optimizer, groups["optimizers"])

    def _collect(self, on_step: Callable[[StepEvent], bool] | None) -> tuple[Sequence[int], Trajectories]:
        self._random = self.env_steps == 0 and self.config.agent.reward_scale is None
        if not self._random:
            return super()._collect(on_step)
        chosen, random = self._choose(), RandomAgent(self.agent.action_space)
        return chosen, self._play(random, chosen, self.settings.episodes_per_trial, on_step)

    def _store(self, chosen: Sequence[int], trajectories: Trajectories) -> None:
        """Store nothing: on-policy learning uses each iteration's trials once."""

    def _learn(self, trajectories: Trajectories) -> dict[str, float]:
        if self._random:
            self._see(trajectories)
            return {}
        metrics = {
            name: float(value) for name, value in self.agent.update(as_trials(trajectories), self._learn_rng).items()
        }
        self.gradient_steps += int(metrics.pop("gradient_steps"))
        self._see(trajectories)  # After the update: it needs the normalisation that was used when acting.
        return metrics

    def _set_learning_rate(self, learning_rate: float) -> None:
        self.agent.set_learning_rate(learning_rate)
