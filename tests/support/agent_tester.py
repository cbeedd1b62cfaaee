"""What every agent's tests are made of: the agents, the spaces they act in, scripted tasks and batches.

A new agent joins by an entry in ``LEARNERS`` where it learns from a ``MetaBatch``, in ``KEPT_TRIAL_LEARNERS`` where it
learns from a ``TrialBatch``, in ``TRIAL_LEARNERS`` where it learns from ``Trials``.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from agents import (
    FOMAMLAgent,
    GradientAgentConfig,
    MAMLAgent,
    MAMLAgentConfig,
    MetaAgent,
    MetaBatch,
    PEARLAgent,
    PEARLAgentConfig,
    RecurrentSACAgent,
    RecurrentSACAgentConfig,
    ReptileAgent,
    RL2Agent,
    RL2AgentConfig,
    TransformerAgent,
    TransformerAgentConfig,
    Transitions,
    TrialBatch,
    Trials,
)
from agents.spaces import discrete_actions, is_discrete
from encoders import Context, EncoderConfig
from encoders.config import ENCODERS
from pearl.config.reading import from_mapping

OBSERVATION_DIM, ACTION_DIM = 3, 2
LOW, HIGH = np.array([-0.5, 2.0], np.float32), np.array([0.1, 7.0], np.float32)
OBSERVATION_SPACE = gym.spaces.Box(-np.inf, np.inf, (OBSERVATION_DIM,), np.float32)
ACTION_SPACE = gym.spaces.Box(LOW, HIGH)
DISCRETE = gym.spaces.Discrete(5, start=-2)
MULTI_DISCRETE = gym.spaces.MultiDiscrete([3, 2], start=[1, -1])
KINDS = tuple(ENCODERS)

MakeAgent = Callable[[int], Any]


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pearl_agent(
    seed: int = 0, *, kind: str = "product_of_gaussians", action_space: gym.Space[Any] = ACTION_SPACE, **settings: Any
) -> PEARLAgent:
    encoder = EncoderConfig(
        kind=kind,
        latent_dim=3,
        hidden_sizes=(16,),
        feature_dim=8,
        head_sizes=(8,),
        window=4,
    )
    config = from_mapping(PEARLAgentConfig, {"hidden_sizes": (16, 16), **settings})
    return PEARLAgent(OBSERVATION_SPACE, action_space, encoder, config, generator(seed))


def scalar_agent(seed: int = 0, **settings: Any) -> PEARLAgent:
    """A PEARL agent with scalar critics, which reads observations and rewards as they are unless it is told."""
    return pearl_agent(seed, **{"reward_scale": 1.0, "observations": {"normalise": False}, **settings})


def seeing(make: MakeAgent) -> MakeAgent:
    """Agents that have seen trials, others for each seed."""

    def make_seeing(seed: int) -> Any:
        agent = make(seed)
        agent.see(whole_trials(seed, action_space=agent.action_space))
        return agent

    return make_seeing


def pearl_with(**settings: Any) -> MakeAgent:
    return seeing(lambda seed: pearl_agent(seed, **settings))


def rl2_agent(seed: int = 0, *, action_space: gym.Space[Any] = ACTION_SPACE, **settings: Any) -> RL2Agent:
    config = from_mapping(RL2AgentConfig, {"memory_width": 6, "hidden_sizes": (8,), **settings})
    return RL2Agent(OBSERVATION_SPACE, action_space, config, generator(seed))


def rl2_with(**settings: Any) -> MakeAgent:
    return seeing(lambda seed: rl2_agent(seed, **settings))


def recurrent_sac_agent(
    seed: int = 0, *, action_space: gym.Space[Any] = ACTION_SPACE, **settings: Any
) -> RecurrentSACAgent:
    config = from_mapping(RecurrentSACAgentConfig, {"memory_width": 6, "hidden_sizes": (16,), **settings})
    return RecurrentSACAgent(OBSERVATION_SPACE, action_space, config, generator(seed))


def recurrent_sac_with(**settings: Any) -> MakeAgent:
    return seeing(lambda seed: recurrent_sac_agent(seed, **settings))


def transformer_agent(
    seed: int = 0, *, action_space: gym.Space[Any] = ACTION_SPACE, **settings: Any
) -> TransformerAgent:
    config = from_mapping(
        TransformerAgentConfig, {"width": 8, "heads": 2, "window": 5, "hidden_sizes": (8,), **settings}
    )
    return TransformerAgent(OBSERVATION_SPACE, action_space, config, generator(seed))


def transformer_with(**settings: Any) -> MakeAgent:
    return seeing(lambda seed: transformer_agent(seed, **settings))


def maml_agent(
    seed: int = 0, kind: type[MAMLAgent] = MAMLAgent, *, action_space: gym.Space[Any] = ACTION_SPACE, **settings: Any
) -> MAMLAgent:
    config = from_mapping(MAMLAgentConfig, {"hidden_sizes": (8,), "inner_episodes": 1, **settings})
    return kind(OBSERVATION_SPACE, action_space, config, generator(seed))


def maml_with(kind: type[MAMLAgent] = MAMLAgent, **settings: Any) -> MakeAgent:
    return seeing(lambda seed: maml_agent(seed, kind, **settings))


def reptile_with(**settings: Any) -> MakeAgent:
    config = from_mapping(GradientAgentConfig, {"hidden_sizes": (8,), "inner_episodes": 1, **settings})
    return seeing(lambda seed: ReptileAgent(OBSERVATION_SPACE, ACTION_SPACE, config, generator(seed)))


PEARL_SETTINGS: dict[str, dict[str, Any]] = {
    **{f"pearl-{kind}": {"kind": kind} for kind in KINDS},
    "pearl-discrete": {"action_space": DISCRETE},
    "pearl-multi-discrete": {"action_space": MULTI_DISCRETE},
    "pearl-multi-binary": {"action_space": gym.spaces.MultiBinary(2)},
    "pearl-plain": {"observations": {"normalise": False}, "critic_layer_norm": False},
    "pearl-ignoring": {"observations": {"ignored": (1,)}},
    "pearl-reconstructing": {
        "auxiliary": {"reconstruction_weight": 1.0, "reconstructed": ("reward", "next_observation")}
    },
}
LEARNERS: dict[str, MakeAgent] = {
    **{name: pearl_with(**settings) for name, settings in PEARL_SETTINGS.items()},
    **{f"{name}-scalar": pearl_with(reward_scale=1.0, **settings) for name, settings in PEARL_SETTINGS.items()},
}
KEPT_TRIAL_LEARNERS: dict[str, MakeAgent] = {
    "recurrent-sac": recurrent_sac_with(),
    "recurrent-sac-discrete": recurrent_sac_with(action_space=DISCRETE),
    "recurrent-sac-multi-discrete": recurrent_sac_with(action_space=MULTI_DISCRETE),
    "recurrent-sac-plain": recurrent_sac_with(observations={"normalise": False}, critic_layer_norm=False),
    "recurrent-sac-scalar": recurrent_sac_with(reward_scale=0.5),
    "recurrent-sac-scalar-discrete": recurrent_sac_with(reward_scale=0.5, action_space=DISCRETE),
}
MEMORY_LEARNERS: dict[str, MakeAgent] = {
    "rl2": rl2_with(),
    "rl2-discrete": rl2_with(action_space=DISCRETE),
    "rl2-multi-discrete": rl2_with(action_space=MULTI_DISCRETE),
    "rl2-plain": rl2_with(observations={"normalise": False}),
    "rl2-scaled": rl2_with(reward_scale=0.5),
    "transformer": transformer_with(),
    "transformer-window": transformer_with(window=3),
    "transformer-discrete": transformer_with(action_space=DISCRETE),
    "transformer-scaled": transformer_with(reward_scale=0.5),
}
GRADIENT_LEARNERS: dict[str, MakeAgent] = {
    "maml": maml_with(),
    "maml-twice": maml_with(adaptations=2, inner_steps=2, inner_objective="clipped"),
    "maml-discrete": maml_with(action_space=DISCRETE),
    "maml-scaled": maml_with(reward_scale=0.5),
    "maml-step-sizes": maml_with(learned_step_sizes=True),
    "fomaml": maml_with(FOMAMLAgent),
    "reptile": reptile_with(inner_steps=3),
    "reptile-scaled": reptile_with(inner_steps=3, reward_scale=0.5),
}
TRIAL_LEARNERS: dict[str, MakeAgent] = {**MEMORY_LEARNERS, **GRADIENT_LEARNERS}
REPLAY_LEARNERS: dict[str, MakeAgent] = {**LEARNERS, **KEPT_TRIAL_LEARNERS}
AGENTS: dict[str, MakeAgent] = {**REPLAY_LEARNERS, **TRIAL_LEARNERS}


def random_actions(*shape: int, space: gym.Space[Any], rng: torch.Generator) -> Tensor:
    if is_discrete(space):
        choices = torch.from_numpy(discrete_actions(space))
        return choices[torch.randint(len(choices), shape, generator=rng)]
    assert isinstance(space, gym.spaces.Box)
    low, high = torch.from_numpy(space.low), torch.from_numpy(space.high)
    return low + torch.rand(*shape, len(low), generator=rng) * (high - low)


def random_transitions(*shape: int, seed: int = 0, action_space: gym.Space[Any] = ACTION_SPACE) -> Transitions:
    rng = generator(seed)
    return Transitions(
        observation=torch.randn(*shape, OBSERVATION_DIM, generator=rng),
        action=random_actions(*shape, space=action_space, rng=rng),
        reward=torch.randn(*shape, generator=rng),
        next_observation=torch.randn(*shape, OBSERVATION_DIM, generator=rng),
        terminated=(torch.rand(*shape, generator=rng) < 0.2).float(),
    )


def as_context(transitions: Transitions) -> Context:
    values = transitions._asdict()
    del values["terminated"]
    return Context(**values, mask=torch.ones(transitions.reward.shape, dtype=torch.bool))


def random_batch(
    seed: int = 0,
    *,
    tasks: int = 3,
    context_steps: int = 6,
    steps: int = 8,
    action_space: gym.Space[Any] = ACTION_SPACE,
) -> MetaBatch:
    context = as_context(random_transitions(tasks, context_steps, seed=2 * seed + 1, action_space=action_space))
    return MetaBatch(context, random_transitions(tasks, steps, seed=2 * seed, action_space=action_space))


def random_trials(
    seed: int = 0, *, tasks: int = 3, steps: int = 8, episode: int = 3, action_space: gym.Space[Any] = ACTION_SPACE
) -> TrialBatch:
    """Trials of episodes of ``episode`` steps, every other one terminated; the last trial is two steps shorter."""
    transitions = random_transitions(tasks, steps, seed=seed, action_space=action_space)
    mask = torch.ones(tasks, steps, dtype=torch.bool)
    mask[-1, -2:] = False
    return TrialBatch(
        observation=transitions.observation,
        action=transitions.action,
        reward=transitions.reward,
        training_reward=transitions.next_observation[..., 0],
        ended=(torch.arange(1, steps + 1) % episode == 0).expand(tasks, -1),
        terminated=(torch.arange(1, steps + 1) % (2 * episode) == 0).expand(tasks, -1),
        mask=mask,
        learnt=mask,
    )


def whole_trials(
    seed: int = 0, *, tasks: int = 3, steps: int = 8, action_space: gym.Space[Any] = ACTION_SPACE
) -> Trials:
    """Trials as an iteration collects them, in units that differ from seed to seed.

    Episodes of four steps terminate; the last trial is an episode shorter.
    """
    ended = (torch.arange(1, steps + 1) % 4 == 0).expand(tasks, -1)
    drawn = random_transitions(tasks, steps, seed=seed, action_space=action_space)
    transitions = drawn._replace(
        observation=2.0 * drawn.observation + seed,
        reward=3.0 * drawn.reward + 0.5 + seed,
        next_observation=2.0 * drawn.next_observation + seed,
        terminated=ended.float(),
    )
    mask = torch.ones(tasks, steps, dtype=torch.bool)
    mask[-1, -4:] = False
    return Trials(transitions, transitions.reward, ended, mask, {})


def batch_for(agent: Any, seed: int = 0) -> MetaBatch | TrialBatch:
    """What the agent learns from in a gradient step."""
    made = random_trials if isinstance(agent, RecurrentSACAgent) else random_batch
    return made(seed, action_space=agent.action_space)


def at_step(transitions: Transitions, step: int) -> Transitions:
    return Transitions(*(values[:, step] for values in transitions))


def tensors(memory: Any) -> Iterator[Tensor]:
    """Every tensor of a memory, however nested."""
    if isinstance(memory, Tensor):
        yield memory
    elif isinstance(memory, dict):
        for value in memory.values():
            yield from tensors(value)
    elif isinstance(memory, Sequence):
        for value in memory:
            yield from tensors(value)
    else:
        assert memory is None, f"a memory is made of tensors, not of {type(memory)}"


def settled(agent: Any, memory: Any) -> Any:
    """A memory once everything seen is folded in, for agents that put that off."""
    return agent.fold(memory)


def snapshot(values: Any) -> list[Tensor]:
    return [value.detach().clone() for value in tensors(values)]


def state(agent: torch.nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in agent.state_dict().items()}


def assert_identical(found: Any, expected: Any) -> None:
    left, right = list(tensors(found)), list(tensors(expected))
    assert len(left) == len(right)
    for one, other in zip(left, right, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def all_of(n_tasks: int, value: bool) -> Tensor:
    return torch.full((n_tasks,), value)


def play(
    agent: MetaAgent[Any],
    memory: Any,
    transitions: Transitions,
    *,
    seed: int = 0,
    deterministic: bool = False,
    episode_steps: int = 4,
) -> tuple[list[Tensor], Any]:
    """Feed scripted transitions in episodes of ``episode_steps``; return the actions chosen and the memory after."""
    n_tasks, n_steps = transitions.reward.shape
    rng, actions = generator(seed), []
    for step in range(n_steps):
        transition = at_step(transitions, step)
        choice = agent.act(transition.observation, memory, all_of(n_tasks, deterministic), rng)
        actions.append(choice.action)
        memory = agent.observe(memory, transition, all_of(n_tasks, True))
        if (step + 1) % episode_steps == 0:
            memory = agent.end_episode(memory, all_of(n_tasks, True), rng)
    return actions, memory


def learn(agent: Any, n_updates: int, *, first: int = 0, rng: torch.Generator | None = None) -> list[dict[str, Tensor]]:
    """Take gradient steps on the batches numbered from ``first``."""
    rng = generator(0) if rng is None else rng
    return [agent.update(batch_for(agent, number), rng) for number in range(first, first + n_updates)]
