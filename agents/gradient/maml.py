"""MAML and first-order MAML: initial parameters that adapt in a few gradient steps (Finn et al. 2017)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from agents.gradient.base import AdaptationBatch, GradientAgent, GradientAgentConfig
from agents.learning.ppo import PPOConfig, clipped_surrogate, gradient_steps, mean_of_tasks, standardised
from agents.types import Trials, check_transitions


@dataclass(frozen=True, kw_only=True)
class MAMLAgentConfig(GradientAgentConfig, PPOConfig):
    """Settings of MAML: policy, adaptation and training."""

    learned_step_sizes: bool = False
    """Whether each parameter has a learnt inner step size (Meta-SGD, Li et al. 2017) that starts at
    inner_learning_rate."""


class MAMLAgent(GradientAgent):
    """MAML: the meta-gradient passes through the inner gradient steps (Finn et al. 2017, algorithm 3). A ``MetaAgent``.

    The outer objective is proximal policy optimisation on the steps after adaptation. Each outer step repeats the
    adaptations from the current parameters, on the steps before adaptation, reweighted by ratios of probabilities. The
    gradient thus also improves the exploration before adaptation (Rothfuss et al. 2019, equation 12). See
    ``GradientAgent``.
    """

    config: MAMLAgentConfig
    first_order: ClassVar[bool] = False

    def make_step_sizes(self) -> nn.ParameterList:
        """Return a step size for each parameter if they are learnt, else nothing."""
        if not self.config.learned_step_sizes:
            return nn.ParameterList()
        return nn.ParameterList(
            torch.full_like(parameter, self.config.inner_learning_rate) for parameter in self.policy.parameters()
        )

    def update(self, trials: Trials, rng: torch.Generator) -> dict[str, Tensor]:
        """Learn from the trials of one iteration.

        Args:
            trials: trials of several tasks, each with episodes after its last adaptation.
            rng: draws the tasks of each gradient step.

        Returns:
            Scalars for logging, detached, means over the gradient steps: policy_loss, value_loss, entropy, ratio_change
            (mean distance of the ratios from 1 after adaptation); and gradient_steps, the number of steps.
        """
        check_transitions(trials.transitions, self.observation_dim, self.action_dim)
        adapted = self.adaptations_before(trials)
        advantages, returns = self.advantages(
            trials.transitions, trials.training_reward, trials.ended, trials.mask, adapted
        )
        inner, _ = self.advantages(trials.transitions, trials.transitions.reward, trials.ended, trials.mask, adapted)
        after = trials.mask & (adapted > 0)
        outer = standardised(advantages, after, by_task=True)

        def loss(chosen: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            some = trials.of(chosen)
            policy_loss, entropy, ratio_change = self.meta_loss(some, inner[chosen], outer[chosen])
            values = self.values(some.transitions, some.ended, adapted[chosen])
            value_loss = mean_of_tasks((values - returns[chosen]).square(), some.mask)
            total = policy_loss + self.config.value_weight * value_loss - self.config.entropy_weight * entropy
            return total, {
                "policy_loss": policy_loss,
                "value_loss": value_loss,
                "entropy": entropy,
                "ratio_change": ratio_change,
            }

        return gradient_steps(self, self.config, len(adapted), loss, rng)

    def meta_loss(
        self, trials: Trials, inner_advantages: Tensor, outer_advantages: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the outer policy loss, the adapted policies' entropy and the mean distance of the ratios from 1.

        Args:
            trials: trials of several tasks.
            inner_advantages: advantages for the adaptations, (task, step).
            outer_advantages: advantages for the outer objective, (task, step).
        """
        mask, old_log_prob, adapted = trials.mask, trials.extras["log_prob"], self.adaptations_before(trials)
        read = self.features(trials.transitions.observation)
        sample = self.policy.head.to_sample(trials.transitions.action)
        parameters = self.initial_parameters(len(mask))
        log_prob, entropy = torch.zeros_like(old_log_prob), torch.zeros_like(old_log_prob)
        for number in range(self.config.adaptations):
            now = mask & (adapted == number)
            batch = AdaptationBatch(read, sample, old_log_prob, inner_advantages, now)
            parameters = self.adapted(parameters, batch, first_order=self.first_order)
            policies, later = self.policies(parameters, read), adapted == number + 1
            log_prob = torch.where(later, policies.log_prob(sample), log_prob)
            entropy = torch.where(later, policies.entropy(), entropy)
        after = mask & (adapted > 0)
        surrogate = clipped_surrogate(log_prob, old_log_prob, outer_advantages, after, self.config.clip)
        ratio_change = mean_of_tasks((log_prob - old_log_prob).exp().sub(1.0).abs(), after)
        return -mean_of_tasks(surrogate, after), mean_of_tasks(entropy, after), ratio_change


class FOMAMLAgent(MAMLAgent):
    """First-order MAML: the meta-gradient treats the inner steps as constants (Finn et al. 2017, section 5.2)."""

    first_order = True
