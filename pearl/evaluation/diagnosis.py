"""A diagnosis of a meta-trained agent: signs that it does not use what it infers, or that learning went wrong."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from agents import ActionChoice, LearningAgent, PEARLAgent
from agents.context.inputs import RunningUnits
from agents.learning.value_scale import RunningScale
from agents.memories import shifted
from agents.networks.actions import Actions, ContinuousActions
from agents.networks.features import NormalisedFeatures
from pearl.collection.references import RandomAgent
from pearl.collection.rollout import Trajectories, rollout
from pearl.collection.workers import make_envs
from pearl.config.training import CollectionConfig, TrainingConfig
from pearl.evaluation.protocol import Evaluation
from pearl.evaluation.rare_rewards import are_rare, share_that_differs
from pearl.evaluation.statistics import mean_interval
from pearl.tasks import Task, TaskDistribution
from pearl.tasks.distribution import relabels
from pearl.tasks.transforms.drifting import drifts

LEAST_NATS = 0.05
"""KL under which z is all but the prior"""
FAR_VALUES = 15.0
"""Mean value, in standard deviations of recent returns, from which on critics count as diverging"""
LEAST_ENTROPY = 0.02
"""Share of the largest entropy of a finite set of actions under which a policy counts as deterministic"""
MOST_ENTROPY = 0.95
"""Share of it over which a policy counts as random"""


class Finding(NamedTuple):
    """One sign that something is wrong."""

    name: str
    """Short name, such as "z unused" """
    message: str
    """One line: the measurement, and a remedy"""


def diagnose(
    agent: LearningAgent[Any],
    distribution: TaskDistribution,
    tasks: Sequence[Task],
    evaluation: Evaluation,
    *,
    training: CollectionConfig,
    gradient_steps: int,
    metrics: Mapping[str, float],
    seed: int,
    workers: int = 0,
    worker_timeout_s: float | None = None,
) -> list[Finding]:
    """Return what the evaluation, the newest training metrics and a few further episodes show to be wrong.

    For an agent with an encoder, each task is played again, one deterministic episode each: with its own belief, with
    another task's, and after a random policy's exploration. z is kept in these episodes. If z follows the posterior,
    an episode whose z stays at the prior takes the place of the first one. Differences count if their 95 % bootstrap
    interval over tasks excludes 0.

    Args:
        agent: the meta-trained agent.
        distribution: builds the tasks' environments.
        tasks: the evaluation's tasks.
        evaluation: a few-shot evaluation of the agent.
        training: the settings of its meta-training.
        gradient_steps: number of them that the agent has taken.
        metrics: the agent's scalars of the newest gradient steps; empty if there are none.
        seed: seed of every draw.
        workers: number of processes that step the environments; 0 steps them in this process.
        worker_timeout_s: seconds after which a worker counts as hanging; None for no limit.
    """
    if gradient_steps == 0:
        return [Finding("not trained", "The agent has taken no gradient step. Call learn.")]
    if _returns_never_varied(agent):
        remedy = _for_rare_rewards(agent, distribution, training)
        return [
            Finding(
                "rewards that never vary",
                "Every reward of training was the same, so that there is nothing to learn. Check make_env's rewards "
                "with pearl.check_task_distribution; rare rewards need longer trials or training.initial_episodes."
                + (f" {remedy}" if remedy else ""),
            )
        ]
    found = [*_constant_entries(agent), *_learning(agent, metrics), *_returns(evaluation)]
    if evaluation.returns.shape[1] > 1 and not (isinstance(agent, PEARLAgent) and agent.z_moves):
        first = evaluation.returns[:, 0]
        found += _no_adaptation(evaluation, first, f"the first one's {first.mean():.4g}")
    if isinstance(agent, PEARLAgent) and agent.encoder.infers:
        envs = make_envs(distribution, tasks, workers, worker_timeout_s)
        try:
            for_rare, for_z = _for_rare_rewards(agent, distribution, training), for_unused_z(agent, distribution)
            found += _inference(agent, envs, tasks, evaluation, metrics, seed, for_rare, for_z)
        finally:
            envs.close()
    return found


def diagnosis_lines(findings: Sequence[Finding]) -> list[str]:
    """Return a line for each finding, or one that says there is none."""
    return [f"Diagnosis: {name}. {message}" for name, message in findings] or ["Diagnosis: nothing found."]


def _returns_never_varied(agent: LearningAgent[Any]) -> bool:
    """Return whether all rewards were the same, and no return differed by when its episode terminated."""
    units, values = getattr(agent, "units", None), getattr(agent, "value_scale", None)
    if not isinstance(units, RunningUnits) or float(units.reward.inverse_deviation()) > 0:
        return False
    return not (isinstance(values, RunningScale) and values.varies)


def _constant_entries(agent: LearningAgent[Any]) -> list[Finding]:
    features = getattr(agent, "features", None)
    if not isinstance(features, NormalisedFeatures) or float(features.count) == 0:
        return []
    constant = features.constant_entries()
    if not constant:
        return []
    return [
        Finding(
            "observations that never vary",
            f"{len(constant)} of {features.dim} entries of the observation never varied in training "
            f"({_listed(constant)}), so that networks read 0 for them. Check that make_env fills them. Name them in "
            "agent.observations.ignored if they shall be constant.",
        )
    ]


def _learning(agent: LearningAgent[Any], metrics: Mapping[str, float]) -> list[Finding]:
    found = []
    if isinstance(getattr(agent, "value_scale", None), RunningScale) and "q_mean" in metrics:
        value = metrics["q_mean"]
        if abs(value) > FAR_VALUES:
            found.append(
                Finding(
                    "critics diverging",
                    f"The critics' mean value lies {value:.3g} standard deviations from the returns collected. Lower "
                    "agent.learning_rate or training.gradient_steps_per_env_step.",
                )
            )
    entropy, actions = metrics.get("entropy"), getattr(agent, "actions", None)
    if entropy is not None and isinstance(actions, Actions):
        continuous = isinstance(actions, ContinuousActions)
        target, most = float(getattr(agent, "target_entropy", 0.0)), float(np.log(actions.encoded_width))
        least = 3.0 * min(target, -1.0) if continuous else LEAST_ENTROPY * most
        if entropy < least:
            learnt = "agent.initial_temperature or agent.target_entropy"
            setting = learnt if continuous else "agent.temperature or agent.target_entropy"
            found.append(
                Finding(
                    "entropy gone",
                    f"The policy's entropy is {entropy:.3g} nats, under {least:.3g}: it no longer explores. Raise "
                    f"{setting}.",
                )
            )
        elif not continuous and actions.encoded_width > 1 and entropy > MOST_ENTROPY * most:
            found.append(
                Finding(
                    "actions stay random",
                    f"The policy's entropy is {entropy:.3g} of at most {most:.3g} nats. Where one action changes the "
                    "return by little, lower agent.temperature, to a tenth at first. If that changes nothing, the "
                    "rewards do not depend on what the agent can know.",
                )
            )
    return found


def _returns(evaluation: Evaluation) -> list[Finding]:
    found = []
    last = evaluation.returns[:, -1]
    random = evaluation.references.random
    low, _ = mean_interval(last - np.asarray(evaluation.references.random_by_task))
    if low <= 0:
        found.append(
            Finding(
                "no better than random",
                f"The last episode's return is {last.mean():.4g}, a random policy's {random:.4g}. Train longer; if "
                "that does not help, check rewards and time limit with pearl.check_task_distribution.",
            )
        )
    return found


def _worse_later(evaluation: Evaluation) -> list[Finding]:
    """Return a finding if an agent that adapts within its first episode is worse in the last one."""
    first, last = evaluation.returns[:, 0], evaluation.returns[:, -1]
    low, high = mean_interval(last - first)
    if high >= 0:
        return []
    return [
        Finding(
            "worse in later episodes",
            f"The last episode's return is {last.mean():.4g}, the first one's {first.mean():.4g} (difference {low:.3g} "
            f"to {high:.3g}), though more is known. Train longer, or with as many training.episodes_per_trial.",
        )
    ]


def _no_adaptation(evaluation: Evaluation, before: NDArray[np.float64], described: str) -> list[Finding]:
    """Return a finding if the last episode's returns are no better than those ``before``, (task,)."""
    last = evaluation.returns[:, -1]
    low, high = mean_interval(last - before)
    if low > 0:
        return []
    return [
        Finding(
            "no adaptation",
            f"The last episode's return is {last.mean():.4g}, {described} (difference {low:.3g} to {high:.3g}). "
            "Adaptation brings nothing where one policy solves all tasks, or where a first episode shows too little; "
            "give evaluation.exploration_episodes more.",
        )
    ]


def _inference(
    agent: PEARLAgent,
    envs: VectorEnv[Any, Any, Any],
    tasks: Sequence[Task],
    evaluation: Evaluation,
    metrics: Mapping[str, float],
    seed: int,
    for_rare: str,
    for_z: str,
) -> list[Finding]:
    found = []
    follows, agent = agent.z_moves, agent.keeping()
    if follows:
        ignorant = _one_episode(agent, envs, tasks, agent.begin(len(tasks), torch.Generator().manual_seed(seed)), seed)
        found += _no_adaptation(evaluation, ignorant, f"with a z that stays at the prior {ignorant.mean():.4g}")
        found += _worse_later(evaluation)
    own = _one_episode(agent, envs, tasks, evaluation.memory, seed)
    if len(tasks) > 1:
        other = _one_episode(agent, envs, tasks, shifted(evaluation.memory), seed)
        low, high = mean_interval(own - other)
        if low <= 0:
            nats = metrics.get("kl")
            holds = "" if nats is None else f" z holds {nats:.2g} nats."
            starved = nats is not None and nats < LEAST_NATS
            remedy = "Lower agent.kl_weight, or train longer." if starved else "Train longer."
            remedy += for_z
            found.append(
                Finding(
                    "z unused",
                    f"With another task's z the return is {other.mean():.4g}, with its own {own.mean():.4g} "
                    f"(difference {low:.3g} to {high:.3g}).{holds} {remedy} --algorithm oracle_sac "
                    "shows what knowing the task is worth; if nothing, one policy solves all tasks.",
                )
            )
    if evaluation.exploration_episodes > 0:
        random, memory = _explored_at_random(agent, envs, tasks, evaluation.exploration_episodes, seed)
        found += _rare_rewards(random, for_rare)
        informed = _one_episode(agent, envs, tasks, memory, seed)
        low, high = mean_interval(informed - own)
        if low > 0:
            found.append(
                Finding(
                    "exploration worse than random",
                    f"After a random policy's exploration the return is {informed.mean():.4g}, after the agent's own "
                    f"{own.mean():.4g} (difference {low:.3g} to {high:.3g}). Train longer, or set "
                    "training.initial_episodes, so that more tasks are explored at random first.",
                )
            )
    return found


def _rare_rewards(random: Trajectories, remedy: str) -> list[Finding]:
    """Return a finding if random actions hardly meet a reward, and training did not use what helps then."""
    if not remedy or not are_rare(random):
        return []
    share = share_that_differs(random)
    found = f"Of a random policy's steps {share:.2%} have another reward than the others: goals must be searched for."
    return [Finding("rare rewards", f"{found} {remedy}")]


def _for_rare_rewards(agent: LearningAgent[Any], distribution: TaskDistribution, training: CollectionConfig) -> str:
    """Return which settings help to find rare rewards and are not set, in a sentence; nothing if all are set."""
    if not isinstance(agent, PEARLAgent) or not isinstance(training, TrainingConfig):
        return ""
    if not agent.encoder.infers:
        return ""
    own, continuous = agent.config, isinstance(agent.actions, ContinuousActions)
    missing = {
        "training.relabelling.candidates to 512 (on the CPU)": not training.relabelling.candidates,
        "agent.exploration.sweep to 1 / steps of an episode": not own.exploration.sweep,
        "agent.auxiliary.early_kl_weight to 0.003": not own.auxiliary.early_kl_weight,
        "training.initial_policy to steady": continuous and training.initial_policy != "steady",
    }
    names = [name for name, lacking in missing.items() if lacking]
    if not names:
        return ""
    unwritten = "If a task's reward follows from a transition, write TaskDistribution.relabel"
    if not relabels(distribution) and own.reward_scale is None:
        return f"{unwritten}: on the CPU, settings that help are then chosen by themselves."
    return f"{'Set' if relabels(distribution) else f'{unwritten}, and set'} {', '.join(names)}."


def for_unused_z(agent: PEARLAgent, distribution: TaskDistribution) -> str:
    """Return the setting that teaches the encoder what the tasks are, in a sentence; nothing if it is set."""
    if agent.config.auxiliary.task_inference > 0 or drifts(distribution):
        return ""
    return " If Task.params says what differs, set agent.auxiliary.task_inference_weight to 1."


class _RandomExplorer:
    """Acts at random and remembers as the agent does."""

    def __init__(self, agent: PEARLAgent) -> None:
        self._random = RandomAgent(agent.action_space)
        self.begin, self.observe, self.end_episode = agent.begin, agent.observe, agent.end_episode

    def act(
        self, observation: torch.Tensor, memory: Any, deterministic: torch.Tensor, rng: torch.Generator
    ) -> ActionChoice:
        return self._random.act(observation, None, deterministic, rng)


def _explored_at_random(
    agent: PEARLAgent, envs: VectorEnv[Any, Any, Any], tasks: Sequence[Task], episodes: int, seed: int
) -> tuple[Trajectories, Any]:
    """Return ``episodes`` episodes of a random policy, and the agent's memory after them."""
    rng = torch.Generator().manual_seed(seed)
    explorer = _RandomExplorer(agent)
    memory = agent.begin(len(tasks), rng)
    return rollout(envs, explorer, memory, episodes=episodes, seed=seed, rng=rng, labels=tasks)


def _one_episode(
    agent: PEARLAgent, envs: VectorEnv[Any, Any, Any], tasks: Sequence[Task], memory: Any, seed: int
) -> NDArray[np.float64]:
    """Return each task's return in one deterministic episode that starts with ``memory``, (task,)."""
    rng = torch.Generator().manual_seed(seed)
    played, _ = rollout(envs, agent, memory, episodes=1, seed=seed, rng=rng, deterministic_from=0, labels=tasks)
    returns: NDArray[np.float64] = played.episode_returns(1)[:, 0]
    return returns


def _listed(entries: Sequence[int]) -> str:
    return ", ".join(map(str, entries[:8])) + (", …" if len(entries) > 8 else "")
