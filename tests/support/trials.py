"""Trials that agents learn from: played by an agent, of given rewards, or padded."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from agents import Transitions, Trials
from agents.learning.value_scale import RunningScale
from tests.support.agent_tester import all_of, at_step, generator, random_transitions


def one_trial(reward: list[float], *, ended: list[bool], terminated: list[bool] | None = None) -> Trials:
    """A trial of one task whose rewards alone matter."""
    rewards = torch.tensor([reward])
    flags = torch.tensor([terminated or [False] * len(reward)]).float()
    nothing = torch.zeros(1, len(reward), 1)
    transitions = Transitions(nothing, nothing, rewards, nothing, flags)
    ends = torch.tensor([ended])
    return Trials(transitions, rewards, ends, torch.ones_like(ends), {})


def played(
    agent: Any, seed: int, reward: Callable[[Tensor], Tensor], *, tasks: int, steps: int, episode: int
) -> tuple[Trials, Any]:
    """Trials of scripted observations, with what the agent chose in them and what ``reward`` gives, and its memory."""
    rng, memory = generator(seed), agent.begin(tasks, generator(seed))
    scripted = random_transitions(tasks, steps, seed=seed, action_space=agent.action_space)
    taken, extras = [], []
    for step in range(steps):
        given = at_step(scripted, step)
        choice = agent.act(given.observation, memory, all_of(tasks, False), rng)
        transition = given._replace(action=choice.action, reward=reward(choice.action))
        memory = agent.observe(memory, transition, all_of(tasks, True))
        taken.append(transition)
        extras.append(choice.extras)
        if (step + 1) % episode == 0:
            memory = agent.end_episode(memory, all_of(tasks, True), rng)
    transitions = Transitions(*(torch.stack(field, 1) for field in zip(*taken, strict=True)))
    ended = (torch.arange(1, steps + 1) % episode == 0).expand(tasks, -1)
    joined = {name: torch.stack([extra[name] for extra in extras], 1) for name in extras[0]}
    mask = torch.ones(tasks, steps, dtype=torch.bool)
    return Trials(transitions, transitions.reward, ended, mask, joined), memory


def forget_unit(agent: Any) -> None:
    """Let the next trials alone decide the unit of values, as in the first iteration."""
    if isinstance(agent.value_scale, RunningScale):
        agent.value_scale.n_iterations.zero_()


def without_terminations(trials: Trials) -> Trials:
    """Trials whose episodes only a time limit ends."""
    never = torch.zeros_like(trials.transitions.terminated)
    return trials._replace(transitions=trials.transitions._replace(terminated=never))


def longer(values: Tensor, *, padding: float = 3.0) -> Tensor:
    """Values (task, step, …) with three more steps."""
    return torch.cat([values, torch.full_like(values[:, :3], padding)], dim=1)


def padded_trials(trials: Trials) -> Trials:
    """The trials with three more steps of padding, of which learning must see nothing.

    Their actions are those of the first three steps.
    """
    transitions = Transitions(*(longer(field) for field in trials.transitions))
    action = trials.transitions.action
    return Trials(
        transitions._replace(action=torch.cat([action, action[:, :3]], dim=1)),
        longer(trials.training_reward),
        longer(trials.ended),
        longer(trials.mask, padding=False),
        {name: longer(extra) for name, extra in trials.extras.items()},
    )
