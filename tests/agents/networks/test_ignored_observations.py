"""Entries of observations that no network reads."""

import re
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from agents import MetaBatch, ObservationsConfig, PEARLAgentConfig
from agents.networks.features import NormalisedFeatures, VectorFeatures, make_features
from tests.support.agent_tester import (
    as_context,
    assert_identical,
    generator,
    pearl_agent,
    play,
    random_transitions,
    state,
)

IGNORING: list[dict[str, Any]] = [
    {"observations": {"ignored": (0, 2)}},
    {"observations": {"ignored": (0, 2), "normalise": True}},
]


@pytest.mark.parametrize("settings", IGNORING, ids=["plain", "normalised"])
def test_ignored_entries_change_nothing_that_the_agent_does(settings: dict[str, Any]) -> None:
    script, other = random_transitions(2, 9), random_transitions(2, 9, seed=1)
    for field in ("observation", "next_observation"):
        getattr(other, field)[..., 1] = getattr(script, field)[..., 1]
    found = []
    for observed_in in (script, other):
        transitions = script._replace(
            observation=observed_in.observation, next_observation=observed_in.next_observation
        )
        agent = pearl_agent(**settings)
        if "normalise" in settings["observations"]:
            agent.features.see(transitions.observation.flatten(0, 1))
        actions, memory = play(agent, agent.begin(2, generator(0)), transitions)
        believed = agent.fold(memory)
        agent.update(MetaBatch(as_context(transitions), transitions), generator(0))
        found.append((actions, believed, state(agent)))
    assert_identical(*found)


def test_what_is_not_ignored_is_read_in_its_order() -> None:
    rows = torch.arange(10.0).view(2, 5)
    features = VectorFeatures(5, (3, 0))
    assert features.dim == 3
    assert features(rows).tolist() == [[1.0, 2.0, 4.0], [6.0, 7.0, 9.0]]
    assert NormalisedFeatures(5, (3, 0))(rows).tolist() == features(rows).tolist()
    assert not features.state_dict()


@pytest.mark.parametrize(
    ("ignored", "rule"),
    [
        ((5,), "name different entries of the observation, from 0 to 4, and leave at least one; got"),
        ((0, 1, 2, 3, 4), "name different entries of the observation, from 0 to 4, and leave at least one; got"),
        ((-1,), "be different numbers from 0, got"),
        ((1, 1), "be different numbers from 0, got"),
    ],
)
def test_entries_that_cannot_be_ignored_are_refused(ignored: tuple[int, ...], rule: str) -> None:
    space = gym.spaces.Box(-1, 1, (5,))
    message = rf"agent\.observations\.ignored must {rule} "
    with pytest.raises(ValueError, match=message + re.escape(f"{ignored}.")):
        make_features(space, PEARLAgentConfig(observations=ObservationsConfig(ignored=ignored)))


def test_an_observation_may_have_no_entries_at_all() -> None:
    assert make_features(gym.spaces.Box(-1, 1, (0,)), PEARLAgentConfig()).dim == 0


def test_images_are_read_whole() -> None:
    with pytest.raises(ValueError, match=r"agent\.observations\.ignored is for vectors; images are read whole"):
        make_features(
            gym.spaces.Box(0, 255, (64, 64, 3), np.uint8),
            PEARLAgentConfig(observations=ObservationsConfig(ignored=(0,))),
        )
