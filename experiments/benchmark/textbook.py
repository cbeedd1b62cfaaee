"""A plain implementation of PEARL's meta-gradient step from the paper, for comparison in the benchmark.

Only the benchmark uses it. It follows Rakelly et al. 2019 (arXiv 1903.08254), algorithm 1, with soft actor-critic as in
Haarnoja et al. 2018 (arXiv 1812.05905): two critics that are two separate networks, a copy of each as its target,
an optimizer each for encoder, critics and actor, one sample of z per task that all its transitions share, and a fixed
temperature. Everything is float32. The critics are not frozen in the actor's loss, as in plain
implementations, so it computes critics' gradients that are never used.

Two details follow our agent instead of the paper, so that gradients are comparable: the prior is one more factor of the
product of Gaussians, and the KL is a mean over tasks.
"""

import math
from collections.abc import Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence
from torch.nn import functional

from agents import MetaBatch, PEARLAgentConfig
from encoders import Context, EncoderConfig


def perceptron(input_dim: int, hidden_sizes: Sequence[int], output_dim: int, *, layer_norm: bool = False) -> nn.Module:
    """Return a network of ReLU layers with a linear output, (row, input) to (row, output)."""
    layers: list[nn.Module] = []
    for width in hidden_sizes:
        layers.append(nn.Linear(input_dim, width))
        if layer_norm:
            layers.append(nn.LayerNorm(width, elementwise_affine=False))
        layers.append(nn.ReLU())
        input_dim = width
    return nn.Sequential(*layers, nn.Linear(input_dim, output_dim))


class TextbookPEARL(nn.Module):
    """Encoder, actor and critics, and the step that trains them.

    Args:
        observation_dim: width of an observation.
        action_dim: width of an action, with numbers in [-1, 1].
        encoder: settings with the encoder's widths. The encoder is always a product of Gaussians that reads
            observation, action and reward.
        config: settings of our agent. It uses hidden_sizes, critic_layer_norm, learning_rate, discount, reward_scale,
            target_update_rate, kl_weight and the temperature; a learned temperature stays at its initial value.
    """

    def __init__(self, observation_dim: int, action_dim: int, encoder: EncoderConfig, config: PEARLAgentConfig) -> None:
        super().__init__()
        assert config.reward_scale is not None
        assert config.discount is not None
        self.config, self.reward_scale, self.discount = config, config.reward_scale, config.discount
        self.latent_dim = encoder.latent_dim
        self.min_stddev = encoder.min_stddev
        self.temperature = config.initial_temperature if config.temperature is None else config.temperature
        self.encoder = perceptron(observation_dim + action_dim + 1, encoder.hidden_sizes, 2 * encoder.latent_dim)
        self.actor = perceptron(observation_dim + encoder.latent_dim, config.hidden_sizes, 2 * action_dim)
        self.critic_1, self.critic_2 = (
            perceptron(
                observation_dim + action_dim + encoder.latent_dim,
                config.hidden_sizes,
                1,
                layer_norm=config.critic_layer_norm,
            )
            for _ in range(2)
        )
        self.target_critic_1 = deepcopy(self.critic_1)
        self.target_critic_2 = deepcopy(self.critic_2)
        critics = [*self.critic_1.parameters(), *self.critic_2.parameters()]
        self.encoder_optimizer = torch.optim.Adam(self.encoder.parameters(), lr=config.learning_rate)
        self.critic_optimizer = torch.optim.Adam(critics, lr=config.learning_rate)
        self.actor_optimizer = torch.optim.Adam(self.actor.parameters(), lr=config.learning_rate)

    def update(self, batch: MetaBatch, rng: torch.Generator) -> dict[str, Tensor]:
        """Take one meta-gradient step (algorithm 1, lines 11 to 19).

        Args:
            batch: context and transitions of several tasks.
            rng: draws z and the actions.

        Returns:
            critic_loss, actor_loss and kl, detached.
        """
        transitions = batch.transitions
        observation = transitions.observation.flatten(0, 1)
        action = transitions.action.flatten(0, 1)
        reward = self.reward_scale * transitions.reward.flatten()
        next_observation = transitions.next_observation.flatten(0, 1)
        terminated = transitions.terminated.flatten()

        posterior = self.posterior(batch.context)
        noise = torch.randn(posterior.mean.shape, generator=rng)
        z = posterior.mean + posterior.stddev * noise
        z = z.repeat_interleave(transitions.reward.shape[1], dim=0)

        with torch.no_grad():
            next_action, next_log_prob = self.act(next_observation, z, rng)
            next_inputs = torch.cat([next_observation, next_action, z], dim=1)
            next_q = torch.min(self.target_critic_1(next_inputs), self.target_critic_2(next_inputs)).squeeze(1)
            next_value = next_q - self.temperature * next_log_prob
            target = reward + self.discount * (1.0 - terminated) * next_value
        inputs = torch.cat([observation, action, z], dim=1)
        q_1, q_2 = self.critic_1(inputs).squeeze(1), self.critic_2(inputs).squeeze(1)
        critic_loss = 0.5 * functional.mse_loss(q_1, target) + 0.5 * functional.mse_loss(q_2, target)
        prior = Normal(torch.zeros_like(posterior.mean), torch.ones_like(posterior.stddev))
        kl = kl_divergence(posterior, prior).sum(dim=1).mean()

        self.encoder_optimizer.zero_grad()
        self.critic_optimizer.zero_grad()
        (critic_loss + self.config.kl_weight * kl).backward()
        self.encoder_optimizer.step()
        self.critic_optimizer.step()

        z = z.detach()
        new_action, log_prob = self.act(observation, z, rng)
        inputs = torch.cat([observation, new_action, z], dim=1)
        q = torch.min(self.critic_1(inputs), self.critic_2(inputs)).squeeze(1)
        actor_loss = (self.temperature * log_prob - q).mean()
        self.actor_optimizer.zero_grad()
        actor_loss.backward()
        self.actor_optimizer.step()

        with torch.no_grad():
            for critic, target_critic in (
                (self.critic_1, self.target_critic_1),
                (self.critic_2, self.target_critic_2),
            ):
                for parameter, slow in zip(critic.parameters(), target_critic.parameters(), strict=True):
                    rate = self.config.target_update_rate
                    slow.copy_(rate * parameter + (1.0 - rate) * slow)
        return {"critic_loss": critic_loss.detach(), "actor_loss": actor_loss.detach(), "kl": kl.detach()}

    def posterior(self, context: Context) -> Normal:
        """Return q(z|c), (task, latent_dim): a product of one Gaussian per transition (equation 2) and the prior."""
        inputs = torch.cat([context.observation, context.action, context.reward.unsqueeze(-1)], dim=-1)
        mean, raw_variance = self.encoder(inputs).chunk(2, dim=-1)
        variance = functional.softplus(raw_variance) + self.min_stddev**2
        precision = context.mask.unsqueeze(-1) / variance
        product_precision = 1.0 + precision.sum(dim=1)
        product_mean = (precision * mean).sum(dim=1) / product_precision
        return Normal(product_mean, product_precision.rsqrt().clamp(min=self.min_stddev))

    def act(self, observation: Tensor, z: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return sampled actions (row, action_dim) and their log-probabilities (row,): a Gaussian through tanh."""
        mean, log_stddev = self.actor(torch.cat([observation, z], dim=1)).chunk(2, dim=1)
        gaussian = Normal(mean, log_stddev.clamp(-20.0, 2.0).exp())
        unsquashed = gaussian.mean + gaussian.stddev * torch.randn(mean.shape, generator=rng)
        log_jacobian = 2.0 * (math.log(2.0) - unsquashed - functional.softplus(-2.0 * unsquashed))
        return torch.tanh(unsquashed), (gaussian.log_prob(unsquashed) - log_jacobian).sum(dim=1)
