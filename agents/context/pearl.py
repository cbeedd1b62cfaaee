"""PEARL: soft actor-critic conditioned on a posterior sample of the task variable."""

from copy import copy, deepcopy
from typing import Any, Self

import gymnasium as gym
import torch
from torch import Tensor
from torch.distributions import Normal

from agents.base import initial_weights
from agents.config import PEARLAgentConfig
from agents.context.auxiliary import WeightedLosses, check_teachers, contrast, information_bounds
from agents.context.decoder import TaskDecoder, TransitionDecoder
from agents.context.draws import StratifiedDraws
from agents.context.following import FollowingInNumPy
from agents.context.inputs import NetworkInputs, RunningUnits, encoder_inputs, network_inputs
from agents.context.memory import MAX_UNREAD, PEARLMemory, as_context
from agents.finite import check_memory
from agents.kernels.acting import ActorInNumPy
from agents.learning.soft_actor_critic import SoftActorCriticAgent
from agents.losses import actor_loss
from agents.networks.actions import agreed
from agents.networks.features import make_features
from agents.types import TASK_NUMBERS, ActionChoice, MetaBatch, Transitions, Trials, check_transitions
from encoders import Belief, Context, ContextEncoder, EncoderConfig, make_encoder
from encoders.types import check_context

KEPT_PART = 0.5
"""Part of training's iterations in which a z that follows the posterior is kept within an episode"""


class PEARLAgent(SoftActorCriticAgent[PEARLMemory]):
    """Probabilistic embeddings for actor-critic meta-RL (Rakelly et al. 2019, algorithms 1 and 2). A ``MetaAgent``.

    Args:
        observation_space: vectors, spaces that Gymnasium flattens to vectors, or uint8 images (``height_axis``).
        action_space: a bounded Box, or a finite set: Discrete, MultiDiscrete, MultiBinary.
        encoder: the encoder's settings.
        config: the agent's settings.
        rng: draws the initial weights.

    Raises:
        TypeError: a space is not supported.
        ValueError: the action space has no finite bounds, or too many actions; the settings do not fit the
            observations; no loss trains the encoder.
    """

    config: PEARLAgentConfig

    def __init__(
        self,
        observation_space: gym.Space[Any],
        action_space: gym.Space[Any],
        encoder: EncoderConfig,
        config: PEARLAgentConfig,
        rng: torch.Generator,
    ) -> None:
        super().__init__(observation_space, action_space, config)
        check_teachers(config.auxiliary)
        exploration = config.exploration
        self.latent_dim = encoder.latent_dim
        self._sweep = exploration.sweep or 0.0
        self.kept = 1.0
        with initial_weights(rng):
            self.features = make_features(observation_space, config)
            self.encoder: ContextEncoder[Any] = make_encoder(encoder, self.features.dim, self.actions.encoded_width)
            self.actor = self.actions.make_actor(self.features.dim, encoder.latent_dim, config)
            self.critics = self.actions.make_critics(self.features.dim, encoder.latent_dim, config)
            widths = (self.features.dim, self.actions.encoded_width, encoder.latent_dim)
            self.decoder = TransitionDecoder(observation_space, *widths, config)
            self.task_decoder = TaskDecoder(encoder.latent_dim, config)
        self.z_moves = self.encoder.infers and (self._sweep > 0 or exploration.z_follows_posterior)
        self.units = RunningUnits(self.features) if config.reward_scale is None else None
        self.acting_in_numpy = ActorInNumPy(self.features, self.actor.network)
        self.following_in_numpy = FollowingInNumPy(self.features, self.actions, self.units, self.encoder, self._sweep)
        self.target_critics = deepcopy(self.critics).requires_grad_(False)
        self.optimizer = self.make_optimizer(config.learning_rate)

    @property
    def reads_early_context(self) -> bool:
        """Whether a loss compares the posterior with an early one."""
        return bool(self.config.auxiliary.early_kl_weight)

    @property
    def reads_task_numbers(self) -> bool:
        """Whether a decoder predicts what the tasks are."""
        return self.config.auxiliary.task_inference > 0

    @property
    def device(self) -> torch.device:
        """Device of the networks."""
        return self.log_temperature.device

    @property
    def follows_in_numpy(self) -> bool:
        """Whether z follows the posterior, and acting and observing need no tensor. A subclass may act otherwise."""
        own = type(self) is PEARLAgent and self.z_moves
        return own and self.following_in_numpy.possible and self.device.type == "cpu"

    @torch.no_grad()
    def begin(self, n_tasks: int, rng: torch.Generator) -> PEARLMemory:
        """Start ``n_tasks`` trials: the belief is the prior and z a sample of it."""
        belief = self.encoder.prior(n_tasks)
        draws = StratifiedDraws.begin(n_tasks, self.latent_dim, rng, self.device)
        steps = torch.zeros(n_tasks, dtype=torch.int64, device=self.device)
        nothing = torch.zeros(n_tasks, self.latent_dim, dtype=torch.float32, device=self.device)
        everyone = torch.ones(n_tasks, dtype=torch.bool, device=self.device)
        return self._draw(PEARLMemory(belief, (), nothing, nothing, draws, steps), everyone)

    def following(self, kept: float = 1.0) -> Self:
        """Return an agent with the same weights whose z follows the posterior and whose evidence fades.

        Args:
            kept: share of the evidence that is kept in each step, above 0; 1 forgets nothing.

        Raises:
            TypeError: ``kept`` is below 1, and the encoder cannot forget.
        """
        agent = copy(self)
        agent.z_moves, agent.kept = True, kept
        if kept < 1:
            self.encoder.forget(self.encoder.prior(1), torch.ones(1))
        return agent

    def keeping(self) -> Self:
        """Return an agent with the same weights that keeps z within an episode (Rakelly et al., algorithm 2)."""
        agent = copy(self)
        agent.z_moves, agent.kept = False, 1.0
        return agent

    def collecting(self, rng: torch.Generator) -> Self:
        """Return the agent that plays the next iteration of training. Where z follows, it is kept in half of them.

        If z always followed, a task would be seen only together with what suits it, such as its own running speed. The
        encoder would then infer the task from the agent's behaviour, and a wrong belief would confirm itself.
        """
        if not self.z_moves or self._sweep > 0:
            return self
        return self.keeping() if torch.rand((), generator=rng, dtype=torch.float32) < KEPT_PART else self

    def act(
        self, observation: Tensor, memory: PEARLMemory, deterministic: Tensor, rng: torch.Generator
    ) -> ActionChoice:
        """Act on z. Where ``deterministic``, act on the posterior mean, with the policy mean.

        Args:
            observation: (task, observation_dim).
            memory: one row per task.
            deterministic: (task,) bool.
            rng: draws the actions.
        """
        greedy = agreed(deterministic)
        if isinstance(greedy, bool):
            z = memory.z_mean if greedy else memory.z
        else:
            z = torch.where(greedy.unsqueeze(-1), memory.z_mean, memory.z)
        if self.acting_in_numpy.reads(observation):
            output = self.acting_in_numpy(observation.numpy(), z.numpy())
            return ActionChoice(torch.from_numpy(self.actions.choose_in_numpy(output, greedy, rng)))
        with torch.no_grad():
            policy = self.actor(self.features(observation), z)
            return ActionChoice(self.actions.choose(policy, greedy, rng))

    def observe(self, memory: PEARLMemory, transition: Transitions, active: Tensor) -> PEARLMemory:
        """Record one transition of each active task; z stays, follows the posterior or sweeps (``ExplorationConfig``).

        Raises:
            ValueError: a field of the transition has the wrong shape, or ``active`` is not bool.
            NonFiniteError: the transitions were folded into the belief, which would not be finite.
        """
        if active.dtype != torch.bool:
            raise ValueError(f"active must be a bool tensor of shape (task,), got {active.dtype}.")
        check_transitions(transition, self.observation_dim, self.action_dim, tuple(active.shape))
        if self.z_moves:
            followed = self.following_in_numpy.observe(memory, transition, active, self.kept)
            if followed is not None:  # Otherwise PyTorch's form decides, and raises the error.
                return followed
        step = Context(*transition[:4], mask=active)
        memory = memory._replace(unread=(*memory.unread, step))
        if self.z_moves:
            context = as_context(memory.unread)
            return self._draw(self._fold(memory, context), active, seen=context)
        return self.fold(memory) if len(memory.unread) == MAX_UNREAD else memory

    @torch.no_grad()
    def fold(self, memory: PEARLMemory) -> PEARLMemory:
        """Fold unread transitions into the belief.

        Raises:
            NonFiniteError: the belief would not be finite.
        """
        if not memory.unread:
            return memory
        context = as_context(memory.unread)
        read = self._fold(memory, context)
        check_memory("The belief", read.belief, context)
        return read

    def redraw(self, memory: PEARLMemory, rng: torch.Generator) -> PEARLMemory:
        """Return the memory with new draws for the trial's later episodes; z stays."""
        return memory._replace(draws=self.begin(len(memory.z), rng).draws)

    @torch.no_grad()
    def end_episode(self, memory: PEARLMemory, ended: Tensor, rng: torch.Generator) -> PEARLMemory:
        """Resample z from the posterior for each task whose episode ended (posterior sampling).

        Raises:
            NonFiniteError: the belief or the posterior would not be finite.
        """
        memory = self.fold(memory)
        steps, draws = memory.steps.masked_fill(ended, 0), memory.draws.advance(ended)
        return self._draw(memory._replace(steps=steps, draws=draws), ended)

    def infer(self, context: Context, belief: Belief | None = None) -> Belief:
        """Fold a context, in the spaces' units, into a belief (the prior where None)."""
        check_context(context, self.observation_dim, self.action_dim)
        reads_next = "next_observation" in self.encoder.context_fields
        encoded = encoder_inputs(context, self.features, self.actions, self.units, reads_next=reads_next)
        updated: Belief = self.encoder.encode(encoded) if belief is None else self.encoder.update(belief, encoded)
        return updated

    def see(self, trials: Trials) -> None:
        """Update the running statistics, if any: of observations, values, rewards and changes of observations."""
        super().see(trials)
        if self.units is not None:
            self.units.see(trials, self.features)

    def posterior(self, memory: PEARLMemory) -> Normal:
        """Return q(z|c) given all transitions so far, mean and stddev each (task, latent_dim).

        Raises:
            NonFiniteError: the belief or the posterior would not be finite.
        """
        posterior = self.encoder.posterior(self.fold(memory).belief)
        check_memory("The posterior", (posterior.mean, posterior.stddev))
        return posterior

    def update(self, batch: MetaBatch, rng: torch.Generator) -> dict[str, Tensor]:
        """Take one meta-gradient step (algorithm 1, lines 12 to 21).

        The critics' loss, the KL, the contrastive loss and the decoders' losses train the encoder and the features of
        images. A setting excludes the critics' loss from this. The actor's loss trains the actor alone. All losses are
        evaluated at the same parameters. Then one optimizer step changes all parameters, and the target critics follow.
        Each transition has its own sample of z, the same in every loss.

        Args:
            batch: context and transitions of several tasks (line 13); the transitions' reward is the training reward.
            rng: draws z and the actions.

        Returns:
            Scalars for logging, detached: critic_loss, actor_loss, kl, q_mean, temperature, entropy, posterior_stddev,
            posterior_mean_spread (standard deviation of posterior means between tasks, mean over dimensions), and
            early_kl, contrastive_loss, reconstruction_loss and task_inference_loss where they have a weight.
        """
        check_transitions(batch.transitions, self.observation_dim, self.action_dim)
        # Contexts are read in float32: their length varies, and bfloat16 kernels are prepared anew for each shape.
        early = None if batch.early_context is None else self.infer(batch.early_context)
        posterior = self.encoder.posterior(self.infer(batch.context, early))  # q(z|c) of line 14
        auxiliary = information_bounds(self.encoder, self.config, posterior, early)  # line 17
        if self.config.auxiliary.contrastive_weight > 0:
            auxiliary |= contrast(self.encoder, self.infer, self.config.auxiliary.contrastive_weight, batch.context)
        lower = self.config.precision == "bfloat16"
        # Without the cache: autocast would cache weights that were cast under no_grad as constants.
        with torch.autocast(self.device.type, torch.bfloat16, enabled=lower, cache_enabled=False):
            inputs = network_inputs(batch.transitions, self.features, self.actions)
            z = self._sample(posterior, inputs.reward.shape[1], rng)  # line 14
            critic, q_mean = self._critic_loss(inputs, z, rng)  # line 16
            auxiliary |= self._decoding_losses(inputs, z, batch.task_numbers)
            actor, entropy = self._actor_loss(inputs.observation.detach(), z.detach(), rng)  # line 15
        temperature = self.log_temperature.detach().exp()
        self.descend(  # lines 19 to 21
            critic + sum(weight * loss for weight, loss in auxiliary.values()),
            (self.features, self.encoder, self.critics, self.decoder, self.task_decoder),
            actor,
            (self.actor,),
            entropy,
        )
        self.follow([self.target_critics], [self.critics])
        return {
            "critic_loss": critic.detach(),
            "actor_loss": actor.detach(),
            "q_mean": q_mean,
            "temperature": temperature,
            "entropy": entropy.mean(),
            "posterior_stddev": posterior.stddev.detach().mean(),
            "posterior_mean_spread": posterior.mean.detach().std(0, correction=0).mean(),
        } | {name: loss.detach() for name, (_, loss) in auxiliary.items()}

    def _sample(self, posterior: Normal, n_steps: int, rng: torch.Generator) -> Tensor:
        """Return a sample of z for each transition, (task, step, latent_dim)."""
        mean, stddev = posterior.mean.unsqueeze(1), posterior.stddev.unsqueeze(1)
        size = (len(mean), n_steps, self.latent_dim)
        return mean + stddev * torch.randn(size, generator=rng, device=self.device, dtype=torch.float32)

    def _critic_loss(self, inputs: NetworkInputs, z: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return the critics' loss and their mean value, detached."""
        with torch.no_grad():
            next_value, _ = self.actions.soft_value(
                self.actor(inputs.next_observation, z),
                self.target_critics,
                inputs.next_observation,
                z,
                self.log_temperature.exp(),
                rng,
            )
            target = self.bellman_target(inputs.reward, inputs.terminated, next_value)
        learnt_z = z if self.config.auxiliary.critics_teach_encoder else z.detach()
        loss, q = self.actions.critic_loss(self.critics, inputs.observation, inputs.action, learnt_z, target)
        return loss, q.detach().mean()

    def _actor_loss(self, observation: Tensor, z: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return the actor's loss and the policy's entropy, (task, step), detached."""
        policy, temperature = self.actor(observation, z), self.log_temperature.detach().exp()
        value, entropy = self.actions.soft_value(policy, self.critics, observation, z, temperature, rng)
        return actor_loss(value), entropy.detach()

    def _decoding_losses(self, inputs: NetworkInputs, z: Tensor, numbers: Tensor | None) -> WeightedLosses:
        """Return the decoders' losses, of the transitions and of the tasks' ``numbers``."""
        auxiliary, losses = self.config.auxiliary, WeightedLosses()
        if auxiliary.reconstruction_weight > 0:
            reward = self.value_scale.rewards(inputs.reward)
            loss = self.decoder.loss(inputs.observation, inputs.action, inputs.next_observation, reward, z)
            losses["reconstruction_loss"] = auxiliary.reconstruction_weight, loss
        if auxiliary.task_inference > 0:
            expected, given = (len(z), TASK_NUMBERS), None if numbers is None else tuple(numbers.shape)
            if numbers is None or given != expected:
                raise ValueError(f"agent.auxiliary.task_inference_weight needs task_numbers {expected}, got {given}.")
            losses["task_inference_loss"] = auxiliary.task_inference, self.task_decoder.loss(z[:, 0], numbers)
        return losses

    @torch.no_grad()
    def _fold(self, memory: PEARLMemory, context: Context) -> PEARLMemory:
        """Return the memory with the unread transitions, ``context``, folded into the belief."""
        n_new = context.mask.sum(1)
        belief = memory.belief if self.kept == 1 else self.encoder.forget(memory.belief, self.kept ** n_new.double())
        return memory._replace(belief=self.infer(context, belief), unread=(), steps=memory.steps + n_new)

    @torch.no_grad()
    def _draw(self, memory: PEARLMemory, chosen: Tensor, *, seen: Context | tuple[()] = ()) -> PEARLMemory:
        """Draw z from the posterior for the tasks where ``chosen`` (task,) is True; errors name values ``seen``."""
        posterior = self.encoder.posterior(memory.belief)
        z = posterior.mean + posterior.stddev * memory.draws.noise(self._sweep * memory.steps.float())
        check_memory("The posterior", (z,), seen)  # If z is finite, so are the posterior's mean and stddev.
        row = chosen.unsqueeze(-1)
        return memory._replace(z=torch.where(row, z, memory.z), z_mean=torch.where(row, posterior.mean, memory.z_mean))
