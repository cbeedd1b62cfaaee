"""Reptile: initial parameters close to the adapted parameters of every task (Nichol et al. 2018)."""

import torch
from torch import Tensor

from agents.gradient.base import AdaptationBatch, GradientAgent, Parameters
from agents.learning.ppo import gradient_steps, mean_of_tasks
from agents.types import Trials, check_transitions


class ReptileAgent(GradientAgent):
    """Reptile: the initial parameters move towards the adapted ones (Nichol et al. 2018). A ``MetaAgent``.

    In training, one more adaptation learns from the steps after the last one. The displacement of the parameters, a
    mean over tasks, is Adam's gradient (section 3 of the paper). Only the policy adapts, so only the value loss trains
    the features of images. See ``GradientAgent``.
    """

    def update(self, trials: Trials, rng: torch.Generator) -> dict[str, Tensor]:
        """Learn from the trials of one iteration: one step for the policy, several for the value function.

        Args:
            trials: trials of several tasks.
            rng: draws the tasks of each gradient step of the value function.

        Returns:
            Scalars for logging, detached: way (length of the displacement, mean over tasks), value_loss (mean over its
            gradient steps), and gradient_steps, the number of steps including the policy's.
        """
        check_transitions(trials.transitions, self.observation_dim, self.action_dim)
        adapted = self.adaptations_before(trials)
        _, returns = self.advantages(trials.transitions, trials.training_reward, trials.ended, trials.mask, adapted)
        reached = self.final_parameters(trials)
        self.optimizer.zero_grad(set_to_none=True)
        squares = []
        for parameter, ends in zip(self.policy.parameters(), reached, strict=True):
            parameter.grad = (parameter.detach() - ends).mean(0)
            squares.append((parameter.detach() - ends).square().flatten(1).sum(1))
        self.optimizer.step()

        def loss(chosen: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            some = trials.of(chosen)
            values = self.values(some.transitions, some.ended, adapted[chosen])
            value_loss = mean_of_tasks((values - returns[chosen]).square(), some.mask)
            return value_loss, {"value_loss": value_loss}

        scalars = gradient_steps(self, self.config, len(adapted), loss, rng)
        way = torch.stack(squares).sum(0).sqrt().mean()
        return scalars | {"way": way, "gradient_steps": scalars["gradient_steps"] + 1.0}

    @torch.no_grad()
    def final_parameters(self, trials: Trials) -> Parameters:
        """Return each task's parameters after adaptation to all episodes of its trial."""
        adapted = self.adaptations_before(trials)
        advantages, _ = self.advantages(
            trials.transitions, trials.transitions.reward, trials.ended, trials.mask, adapted
        )
        read = self.features(trials.transitions.observation)
        sample, old_log_prob = self.policy.head.to_sample(trials.transitions.action), trials.extras["log_prob"]
        parameters = self.initial_parameters(len(adapted))
        for number in range(self.config.adaptations + 1):
            now = trials.mask & (adapted == number)
            parameters = self.adapted(parameters, AdaptationBatch(read, sample, old_log_prob, advantages, now))
        return parameters
