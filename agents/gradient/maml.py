"""MAML and its first-order form: parameters from which a few gradient steps go far (Finn et al. 2017)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from agents.gradient.base import AdaptationBatch, GradientAgent, GradientAgentConfig
from agents.learning.ppo import PPOConfig, clipped_surrogate, gradient_steps, mean_of_tasks, standardised
from agents.types import Trials, check_transitions


@dataclass(frozen=True, kw_only=True)
class MAMLAgentConfig(GradientAgentConfig, PPOConfig):
    """Settings of MAML's policy, of how it adapts and of how it is trained."""

    learned_step_sizes: bool = False
    """Whether each parameter's inner step size is learnt too (Meta-SGD, Li et al. 2017), from inner_learning_rate."""


class MAMLAgent(GradientAgent):
    """MAML: the gradient goes through the adaptation's own steps (Finn et al. 2017, algorithm 3). A ``MetaAgent``.

    The outer step is proximal policy optimisation on what was played after adaptations. It repeats the adaptations from
    where the parameters have moved to, on what was played before them, which ratios of probabilities allow; so, as in
    Rothfuss et al. 2019 (equation 12), playing such that adaptation goes well is learnt too. See ``GradientAgent``.
    """

    config: MAMLAgentConfig
    first_order: ClassVar[bool] = False

    def make_step_sizes(self) -> nn.ParameterList:
        """Return a step size for each parameter where they are learnt."""
        if not self.config.learned_step_sizes:
            return nn.ParameterList()
        return nn.ParameterList(
            torch.full_like(parameter, self.config.inner_learning_rate) for parameter in self.policy.parameters()
        )

    def update(self, trials: Trials, rng: torch.Generator) -> dict[str, Tensor]:
        """Learn from trials that the agent has just played.

        Args:
            trials: of several tasks, each with adaptations and episodes after the last of them.
            rng: draws which tasks make a gradient step.

        Returns:
            Scalars for logging, detached, means over the gradient steps: policy_loss, value_loss, entropy, ratio_change
            (mean distance of the ratios from 1 after adaptation), and gradient_steps, their number.
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
        """Return the outer policy loss, the adapted policies' entropy and how far the ratios are from 1.

        Args:
            trials: of several tasks.
            inner_advantages: what adaptations climb by, (task, step).
            outer_advantages: what the adapted policies are judged by, (task, step).
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
    """First-order MAML: adaptation's steps count as constants (Finn et al. 2017, section 5.2). See ``MAMLAgent``."""

    first_order = True
