"""Gradient-based meta-learning: the policy's parameters adapt to a task by gradient steps (Finn et al. 2017)."""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from agents.finite import check_memory
from agents.learning.on_policy import ActionDistribution, OnPolicyAgent, Policy, choose
from agents.learning.ppo import OnPolicyConfig, clipped_surrogate, generalised_advantages, mean_of_steps, standardised
from agents.types import ActionChoice, Transitions, Trials, check_transitions, episode_begins
from encoders import ConfigError, mlp

ROOM = 32
"""Number of steps by which a task's buffer of transitions grows."""

Parameters = tuple[Tensor, ...]
"""A policy's parameters for each task, (task, …) each"""


@dataclass(frozen=True, kw_only=True)
class GradientAgentConfig(OnPolicyConfig):
    """Settings of an agent that adapts by gradient steps."""

    adaptations: int = 1
    """Number of adaptations in a trial; afterwards the policy does not change."""
    inner_episodes: int = 2
    """Number of episodes that each adaptation learns from."""
    inner_steps: int = 1
    """Number of gradient steps of an adaptation."""
    inner_learning_rate: float = 0.1
    """Step size of the inner gradient steps; each task's advantages are standardised."""
    inner_objective: Literal["reinforce", "clipped"] = "reinforce"
    """Objective of the inner steps: REINFORCE with a baseline (a ratio of probabilities) or PPO's clipped surrogate."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("adaptations", "inner_episodes", "inner_steps"):
            if getattr(self, name) < 1:
                raise ConfigError(f"agent.{name} must be at least 1, got {getattr(self, name)}.")
        if self.inner_learning_rate <= 0:
            raise ConfigError(f"agent.inner_learning_rate must be positive, got {self.inner_learning_rate}.")


class GradientMemory(NamedTuple):
    """Memory of a gradient-based agent."""

    parameters: Parameters
    """Parameters of each task's policy, (task, …) each"""
    transitions: Transitions
    """Buffer of the transitions that the next adaptation learns from, (task, step, …); unused steps are at the end"""
    ended: Tensor
    """(task, step) bool, whether an episode ended with the step"""
    length: Tensor
    """(task,) int64, number of buffered transitions"""
    episodes: Tensor
    """(task,) int64, number of buffered episodes that have ended"""
    adapted: Tensor
    """(task,) int64, number of adaptations so far"""


class AdaptationBatch(NamedTuple):
    """The steps of several tasks that an adaptation learns from."""

    inputs: Tensor
    """Inputs of the policy, (task, step, width)"""
    sample: Tensor
    """Actions as samples of the policy's distribution, (task, step, …)"""
    log_prob: Tensor
    """Log-probabilities of the samples under the policy that drew them, (task, step)"""
    advantage: Tensor
    """(task, step)"""
    mask: Tensor
    """(task, step) bool"""


class GradientAgent(OnPolicyAgent[GradientMemory]):
    """A policy that adapts to its task by gradient steps on its latest episodes. A ``MetaAgent``.

    Each task has its own parameters, which start at the learnt ones. After ``inner_episodes`` episodes they take
    ``inner_steps`` gradient steps; this happens ``adaptations`` times. The baseline is a value function that all tasks
    share and that does not adapt. It reads the observation, the last step's reward, which identifies the task in part,
    and the number of adaptations so far. Each task's advantages are standardised: this corrects the baseline's error on
    the task, and gives the inner steps the same length on all tasks.
    """

    config: GradientAgentConfig

    def make_networks(self) -> None:
        """Build the policy, its baseline and, if they are learnt, the inner step sizes."""
        self.policy = Policy(self.actions, self.features.dim, self.config.hidden_sizes)
        self.value = mlp(self.features.dim + 3, self.config.hidden_sizes, 1)
        self._names = [name for name, _ in self.policy.named_parameters()]
        self.step_sizes = self.make_step_sizes()

    @property
    def gradient_steps_per_trial(self) -> int:
        """Number of gradient steps on each task's policy in a trial."""
        return self.config.adaptations * self.config.inner_steps

    def make_step_sizes(self) -> nn.ParameterList:
        """Return the learnt inner step sizes; empty if there is one fixed step size."""
        return nn.ParameterList()

    @torch.no_grad()
    def begin(self, n_tasks: int, rng: torch.Generator) -> GradientMemory:
        """Start ``n_tasks`` trials, each with the learnt policy."""
        nothing = torch.zeros(n_tasks, dtype=torch.int64)
        return GradientMemory(
            tuple(parameter.detach() for parameter in self.initial_parameters(n_tasks)),
            Transitions(
                observation=torch.zeros(n_tasks, ROOM, self.observation_dim, dtype=torch.float32),
                action=torch.zeros(n_tasks, ROOM, self.action_dim, dtype=torch.float32),
                reward=torch.zeros(n_tasks, ROOM, dtype=torch.float32),
                next_observation=torch.zeros(n_tasks, ROOM, self.observation_dim, dtype=torch.float32),
                terminated=torch.zeros(n_tasks, ROOM, dtype=torch.float32),
            ),
            torch.zeros(n_tasks, ROOM, dtype=torch.bool),
            nothing,
            nothing,
            nothing,
        )

    @torch.no_grad()
    def act(
        self, observation: Tensor, memory: GradientMemory, deterministic: Tensor, rng: torch.Generator
    ) -> ActionChoice:
        """Act by each task's own policy; where ``deterministic``, take its likeliest action.

        The choice's extras hold the action's log-probability.
        """
        policy = self.policies(memory.parameters, self.features(observation))
        sample = choose(policy, deterministic, rng)
        return ActionChoice(self.policy.head.to_action(sample), {"log_prob": policy.log_prob(sample)})

    @torch.no_grad()
    def observe(self, memory: GradientMemory, transition: Transitions, active: Tensor) -> GradientMemory:
        """Buffer one transition of each active task, unless the task has had all its adaptations.

        Raises:
            ValueError: a field of the transition has the wrong shape, or ``active`` is not bool.
        """
        if active.dtype != torch.bool:
            raise ValueError(f"active must be a bool tensor of shape (task,), got {active.dtype}.")
        check_transitions(transition, self.observation_dim, self.action_dim, tuple(active.shape))
        rows = (active & (memory.adapted < self.config.adaptations)).nonzero().squeeze(1)
        step = memory.length[rows]
        full = bool((step == memory.ended.shape[1]).any())
        transitions, ended = memory.transitions, memory.ended
        if full:
            transitions, ended = Transitions(*(_grown(field) for field in transitions)), _grown(ended)
        written = Transitions(
            *(
                field.index_put((rows, step), new[rows].to(field.dtype))
                for field, new in zip(transitions, transition, strict=True)
            )
        )
        length = memory.length.index_put((rows,), step + 1)
        return memory._replace(transitions=written, ended=ended, length=length)

    @torch.no_grad()
    def end_episode(self, memory: GradientMemory, ended: Tensor, rng: torch.Generator) -> GradientMemory:
        """Adapt the policy of each task that has finished the episodes for its next adaptation.

        Raises:
            NonFiniteError: an adapted policy's parameters would not be finite.
        """
        rows = (ended & (memory.length > 0)).nonzero().squeeze(1)
        marked = memory.ended.index_put((rows, memory.length[rows] - 1), torch.tensor(True))
        episodes = memory.episodes.index_put((rows,), memory.episodes[rows] + 1)
        ready = (episodes == self.config.inner_episodes).nonzero().squeeze(1)
        if not len(ready):
            return memory._replace(ended=marked, episodes=episodes)
        adapted = self.adapted(
            tuple(parameter[ready] for parameter in memory.parameters),
            self._adaptation_batch(memory._replace(ended=marked), ready),
        )
        parameters = tuple(old.index_put((ready,), new) for old, new in zip(memory.parameters, adapted, strict=True))
        check_memory("The adapted policy", parameters, memory.transitions)
        zero, none = torch.tensor(0), torch.tensor(False)
        return memory._replace(
            parameters=parameters,
            ended=marked.index_put((ready,), none),
            length=memory.length.index_put((ready,), zero),
            episodes=episodes.index_put((ready,), zero),
            adapted=memory.adapted.index_put((ready,), memory.adapted[ready] + 1),
        )

    def policies(self, parameters: Parameters, read: Tensor) -> ActionDistribution:
        """Return each task's policy for the inputs ``read``, (task, …, width)."""
        distribution: ActionDistribution = vmap(self._policy)(parameters, read)
        return distribution

    def initial_parameters(self, n_tasks: int) -> Parameters:
        """Return the learnt parameters expanded to ``n_tasks`` tasks, with their gradient."""
        return tuple(parameter.expand(n_tasks, *parameter.shape) for parameter in self.policy.parameters())

    def adapted(self, parameters: Parameters, batch: AdaptationBatch, *, first_order: bool = False) -> Parameters:
        """Return each task's parameters after an adaptation (Finn et al. 2017, equation 1).

        Args:
            parameters: each task's parameters before the adaptation.
            batch: each task's steps since its last adaptation; this method standardises their advantages.
            first_order: whether the gradient to ``parameters`` treats the inner steps as constants.
        """
        batch = batch._replace(advantage=standardised(batch.advantage, batch.mask, by_task=True))
        step_sizes = list(self.step_sizes) or [self.config.inner_learning_rate] * len(parameters)
        for _ in range(self.config.inner_steps):
            slopes = vmap(grad(self._inner_loss))(parameters, batch)
            if first_order:
                slopes = tuple(slope.detach() for slope in slopes)
            parameters = tuple(
                parameter - size * slope for parameter, size, slope in zip(parameters, step_sizes, slopes, strict=True)
            )
        return parameters

    @torch.no_grad()
    def advantages(
        self, transitions: Transitions, reward: Tensor, ended: Tensor, mask: Tensor, adapted: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return advantages and the value network's targets within episodes, each (task, step).

        They bootstrap through time limits. The targets are returns less the value that the network's zero stands for.

        Args:
            transitions: (task, step, …).
            reward: the reward to maximise, (task, step).
            ended: (task, step) bool, where an episode ended.
            mask: (task, step) bool; padding is at the end.
            adapted: (task, step) int64, number of adaptations before each step.
        """
        earned, terminated = self.reward_inputs(transitions.reward), transitions.terminated
        following = self._values(transitions.next_observation, earned, torch.zeros_like(ended), adapted)
        return generalised_advantages(
            self.value_scale.centred(reward, terminated, self.config.discount),
            self.values(transitions, ended, adapted),
            mask,
            discount=self.config.discount,
            gae_lambda=self.config.gae_lambda,
            ended=ended,
            value_after=following * (1.0 - terminated),
        )

    def values(self, transitions: Transitions, ended: Tensor, adapted: Tensor) -> Tensor:
        """Return the value network's output before each step, (task, step).

        Args:
            transitions: (task, step, …).
            ended: (task, step) bool, where an episode ended.
            adapted: (task, step) int64, number of adaptations before each step.
        """
        begins = episode_begins(ended)
        earned = self.reward_inputs(transitions.reward)
        before = torch.where(begins, 0.0, torch.cat([torch.zeros_like(earned[:, :1]), earned[:, :-1]], dim=1))
        return self._values(transitions.observation, before, begins, adapted)

    def adaptations_before(self, trials: Trials) -> Tensor:
        """Return the number of adaptations before each step of the trials, (task, step) int64."""
        episode = trials.ended.long().cumsum(1) - trials.ended.long()
        return (episode // self.config.inner_episodes).clamp(max=self.config.adaptations)

    def _adaptation_batch(self, memory: GradientMemory, rows: Tensor) -> AdaptationBatch:
        """Return the buffered steps of the tasks ``rows`` (chosen,), for their adaptation."""
        steps = int(memory.length[rows].max())
        transitions = Transitions(*(field[rows, :steps] for field in memory.transitions))
        mask = torch.arange(steps) < memory.length[rows].unsqueeze(1)
        adapted = memory.adapted[rows].unsqueeze(1).expand(-1, steps)
        advantage, _ = self.advantages(transitions, transitions.reward, memory.ended[rows, :steps], mask, adapted)
        read, sample = self.features(transitions.observation), self.policy.head.to_sample(transitions.action)
        log_prob = self.policies(tuple(parameter[rows] for parameter in memory.parameters), read).log_prob(sample)
        return AdaptationBatch(read, sample, log_prob, advantage, mask)

    def _values(self, observation: Tensor, earned: Tensor, begins: Tensor, adapted: Tensor) -> Tensor:
        """Return the value network's output, given the last step's reward ``earned``: 0 where an episode ``begins``."""
        read = self.features(observation)
        known = torch.stack([earned, begins.to(read.dtype), (adapted / self.config.adaptations).to(read.dtype)], dim=-1)
        value: Tensor = self.value(torch.cat([read, known], dim=-1))
        return value.squeeze(-1)

    def _policy(self, parameters: Parameters, read: Tensor) -> Any:
        """Return the policy with one task's parameters."""
        return functional_call(self.policy, dict(zip(self._names, parameters, strict=True)), (read,))

    def _inner_loss(self, parameters: Parameters, batch: AdaptationBatch) -> Tensor:
        """Return the inner loss of one task."""
        log_prob, mask = self._policy(parameters, batch.inputs).log_prob(batch.sample), batch.mask
        if self.config.inner_objective == "clipped":
            climbed = clipped_surrogate(log_prob, batch.log_prob, batch.advantage, mask, self.config.clip)
        else:
            climbed = torch.where(mask, log_prob - batch.log_prob, 0.0).exp() * batch.advantage
        return -mean_of_steps(climbed, mask)


def _grown(field: Tensor) -> Tensor:
    return torch.cat([field, field.new_zeros(len(field), ROOM, *field.shape[2:])], dim=1)
