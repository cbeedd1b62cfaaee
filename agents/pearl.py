"""PEARL: soft actor-critic conditioned on a posterior sample of the task variable."""

import math
from copy import deepcopy
from typing import Any, NamedTuple

import gymnasium as gym
import torch
from torch import Tensor, nn
from torch.distributions import Normal

from agents.config import PEARLAgentConfig
from agents.losses import actor_loss, critic_loss, soft_bellman_target, temperature_loss
from agents.networks import Actor, CriticEnsemble
from agents.types import ActionChoice, MetaBatch, Transitions
from encoders import Context, ContextEncoder, EncoderConfig, kl_to_unit_gaussian, make_encoder


class PEARLMemory(NamedTuple):
    """What PEARL knows of the tasks it is acting in."""

    belief: Any
    """The encoder's belief over everything seen in the trial"""
    z: Tensor
    """(task, latent_dim), drawn from the posterior at the episode's start"""
    z_mean: Tensor
    """(task, latent_dim), the posterior mean at the episode's start"""


class PEARLAgent(nn.Module):
    """Probabilistic embeddings for actor-critic meta-RL (Rakelly et al. 2019, algorithms 1 and 2). A ``MetaAgent``.

    Args:
        observation_space: a flat Box.
        action_space: a flat, bounded Box.
        encoder: the encoder's settings.
        config: the agent's settings.
        rng: draws the initial weights.

    Raises:
        TypeError: a space is of a kind that is not supported.
        ValueError: an action space without finite bounds.
    """

    low: Tensor
    high: Tensor

    def __init__(
        self,
        observation_space: gym.Space[Any],
        action_space: gym.Space[Any],
        encoder: EncoderConfig,
        config: PEARLAgentConfig,
        rng: torch.Generator,
    ) -> None:
        super().__init__()
        observation_dim, action_dim = check_spaces(observation_space, action_space)
        assert isinstance(action_space, gym.spaces.Box)
        self.config = config
        self.action_dim = action_dim
        self.observation_dim = observation_dim
        self.latent_dim = encoder.latent_dim
        self.target_entropy = -float(action_dim) if config.target_entropy is None else config.target_entropy
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(2**62, (1,), generator=rng)))
            self.encoder: ContextEncoder[Any] = make_encoder(encoder, observation_dim, action_dim)
            self.actor = Actor(observation_dim, action_dim, encoder.latent_dim, config.hidden_sizes)
            self.critics = CriticEnsemble(
                config.n_critics, observation_dim, action_dim, encoder.latent_dim, config.hidden_sizes
            )
        self.target_critics = deepcopy(self.critics).requires_grad_(False)
        temperature = config.initial_temperature if config.temperature is None else config.temperature
        self.log_temperature = nn.Parameter(
            torch.tensor(math.log(temperature) if temperature > 0 else -math.inf),
            requires_grad=config.temperature is None,
        )
        self.register_buffer("low", torch.as_tensor(action_space.low))
        self.register_buffer("high", torch.as_tensor(action_space.high))
        self.optimizer = torch.optim.Adam(
            [parameter for parameter in self.parameters() if parameter.requires_grad],
            lr=config.learning_rate,
            fused=True,
        )

    @property
    def device(self) -> torch.device:
        """Where the networks live."""
        return self.low.device

    def begin(self, n_tasks: int, rng: torch.Generator) -> PEARLMemory:
        """Start ``n_tasks`` trials: the belief is the prior and z a sample of it."""
        return self._draw(self.encoder.prior(n_tasks), rng)

    @torch.no_grad()
    def act(
        self, observation: Tensor, memory: PEARLMemory, deterministic: Tensor, rng: torch.Generator
    ) -> ActionChoice:
        """Act on the episode's z; where ``deterministic``, on the posterior mean with the policy mean.

        Args:
            observation: (task, observation_dim).
            memory: one row per task.
            deterministic: (task,) bool.
            rng: draws the actions.
        """
        greedy = deterministic.unsqueeze(-1)
        policy = self.actor(observation, torch.where(greedy, memory.z_mean, memory.z))
        action = torch.where(greedy, policy.mode, policy.sample(rng)[0])
        return ActionChoice(self._from_unit(action))

    @torch.no_grad()
    def observe(self, memory: PEARLMemory, transition: Transitions, active: Tensor) -> PEARLMemory:
        """Fold one transition of each active task into its belief; z stays until the episode ends."""
        context = Context(
            observation=transition.observation.unsqueeze(1),
            action=transition.action.unsqueeze(1),
            reward=transition.reward.unsqueeze(1),
            next_observation=transition.next_observation.unsqueeze(1),
            mask=active.unsqueeze(1),
        )
        return memory._replace(belief=self.infer(context, memory.belief))

    @torch.no_grad()
    def end_episode(self, memory: PEARLMemory, ended: Tensor, rng: torch.Generator) -> PEARLMemory:
        """Draw z anew from the posterior for each task whose episode ended (posterior sampling)."""
        drawn = self._draw(memory.belief, rng)
        row = ended.unsqueeze(-1)
        return PEARLMemory(
            memory.belief, torch.where(row, drawn.z, memory.z), torch.where(row, drawn.z_mean, memory.z_mean)
        )

    def infer(self, context: Context, belief: Any = None) -> Any:
        """Fold a context, its actions in the action space's units, into a belief (the prior where None)."""
        context = context._replace(action=self._to_unit(context.action))
        return self.encoder.encode(context) if belief is None else self.encoder.update(belief, context)

    def posterior(self, memory: PEARLMemory) -> Normal:
        """Return q(z|c) over everything seen so far, mean and stddev each (task, latent_dim)."""
        return self.encoder.posterior(memory.belief)

    def set_learning_rate(self, learning_rate: float) -> None:
        """Set Adam's step size for every network and the temperature."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate

    def update(self, batch: MetaBatch, rng: torch.Generator) -> dict[str, Tensor]:
        """Take one meta-gradient step (algorithm 1, lines 11 to 19).

        The encoder's gradient comes from the critics' loss and the KL; the actor sees z detached. Every loss is
        evaluated at the same parameters, then one optimizer step moves them all and the targets follow.

        Args:
            batch: context and transitions of several tasks; the transitions' reward is the training reward.
            rng: draws z and the actions.

        Returns:
            Scalars for logging, detached: critic_loss, actor_loss, kl, q_mean, temperature, entropy, posterior_stddev,
            posterior_mean_spread (standard deviation of posterior means between tasks, mean over dimensions).
        """
        transitions = batch.transitions
        observation, next_observation = transitions.observation, transitions.next_observation
        action = self._to_unit(transitions.action)
        posterior = self.encoder.posterior(self.infer(batch.context))
        noise = torch.randn(posterior.mean.shape, generator=rng, device=self.device)
        z = (posterior.mean + posterior.stddev * noise).unsqueeze(1).expand(-1, observation.shape[1], -1)
        temperature = self.log_temperature.detach().exp()

        with torch.no_grad():
            next_action, next_log_prob = self.actor(next_observation, z).sample(rng)
            target = soft_bellman_target(
                self.config.reward_scale * transitions.reward,
                transitions.terminated,
                self.target_critics(next_observation, next_action, z),
                next_log_prob,
                temperature,
                self.config.discount,
            )
        q = self.critics(observation, action, z)
        bellman = critic_loss(q, target)
        kl = kl_to_unit_gaussian(posterior) if self.encoder.stochastic else torch.zeros(())

        new_action, log_prob = self.actor(observation, z.detach()).sample(rng)
        policy = actor_loss(log_prob, self.critics(observation, new_action, z.detach()), temperature)

        self.optimizer.zero_grad(set_to_none=True)
        inference = [*self.encoder.parameters(), *self.critics.parameters()]
        (bellman + self.config.kl_weight * kl).backward(inputs=inference)
        policy.backward(inputs=list(self.actor.parameters()))
        if self.config.temperature is None:
            temperature_loss(self.log_temperature, log_prob.detach(), self.target_entropy).backward()
        self.optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(
                list(self.target_critics.parameters()), list(self.critics.parameters()), self.config.target_update_rate
            )
        return {
            "critic_loss": bellman.detach(),
            "actor_loss": policy.detach(),
            "kl": kl.detach(),
            "q_mean": q.detach().mean(),
            "temperature": temperature,
            "entropy": -log_prob.detach().mean(),
            "posterior_stddev": posterior.stddev.detach().mean(),
            "posterior_mean_spread": posterior.mean.detach().std(0, correction=0).mean(),
        }

    @torch.no_grad()
    def _draw(self, belief: Any, rng: torch.Generator) -> PEARLMemory:
        posterior = self.encoder.posterior(belief)
        noise = torch.randn(posterior.mean.shape, generator=rng, device=self.device)
        return PEARLMemory(belief, posterior.mean + posterior.stddev * noise, posterior.mean)

    def _from_unit(self, action: Tensor) -> Tensor:
        return self.low + 0.5 * (action + 1.0) * (self.high - self.low)

    def _to_unit(self, action: Tensor) -> Tensor:
        return 2.0 * (action - self.low) / (self.high - self.low) - 1.0


def check_spaces(observation_space: gym.Space[Any], action_space: gym.Space[Any]) -> tuple[int, int]:
    """Return the widths of an observation and an action.

    Raises:
        TypeError: a space is of a kind that is not supported.
        ValueError: an action space without finite bounds.
    """
    for role, space in (("observation", observation_space), ("action", action_space)):
        if not isinstance(space, gym.spaces.Box) or len(space.shape) != 1:
            raise TypeError(
                f"PEARL needs a flat Box as its {role} space, got {space}. "
                "Flatten observations with gymnasium.wrappers.FlattenObservation; discrete actions are not supported."
            )
    assert isinstance(observation_space, gym.spaces.Box)
    assert isinstance(action_space, gym.spaces.Box)
    if not action_space.is_bounded():
        raise ValueError(
            f"PEARL needs an action space with finite bounds, got {action_space}. "
            "Bound it with gymnasium.wrappers.RescaleAction or a Box with finite low and high."
        )
    return observation_space.shape[0], action_space.shape[0]
