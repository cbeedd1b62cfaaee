"""Reptile: parameters that lie near those of every task (Nichol et al. 2018)."""

import torch
from torch import Tensor

from agents.gradient.base import AdaptationBatch, GradientAgent, Parameters
from agents.learning.ppo import gradient_steps, mean_of_tasks
from agents.types import Trials, check_transitions


class ReptileAgent(GradientAgent):
    """Reptile: the parameters move towards where adaptation takes them (Nichol et al. 2018). A ``MetaAgent``.

    What was played after the last adaptation is learnt from by one more. The way there, meant over tasks, is Adam's
    gradient (section 3 of the paper). Only the policy adapts: features of images learn by the values' loss alone. See
    ``GradientAgent``.
    """

    def update(self, trials: Trials, rng: torch.Generator) -> dict[str, Tensor]:
        """Learn from trials that the agent has just played: the policy in one step, the values in passes over them.

        Args:
            trials: of several tasks.
            rng: draws which tasks make a gradient step of the values.

        Returns:
            Scalars for logging, detached: way (its length, a mean over tasks), value_loss, a mean over its gradient
            steps, and gradient_steps, their number and the policy's one.
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
        """Return where each task's policy comes to by all that was played."""
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
