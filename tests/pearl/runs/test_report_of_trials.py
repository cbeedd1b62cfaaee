"""What is read from an evaluation's trials, the posterior's path, positions and task values, is what was played."""

import numpy as np
import pytest
import torch

from encoders import Context
from pearl import Task
from pearl.collection.rollout import Trajectories
from pearl.runs.report import episode_positions, posterior_path, task_values
from tests.support.small import small_model


@pytest.fixture(
    scope="module", params=["linear_gaussian", "product_of_gaussians", "pooled_features", "mean", "gru", "attention"]
)
def played(request, few_reference_episodes):
    """A model of each kind of encoder, and an evaluation of it."""
    model = small_model(encoder={"kind": request.param}, evaluation={"episodes": 3})
    return model, model.evaluate()


# The posterior's path


@torch.no_grad()
def test_the_posterior_path_equals_folding_the_trial_step_by_step(played):
    model, outcome = played
    agent, trial = model.agent, outcome.trajectories
    belief = agent.encoder.prior(len(trial.mask))
    expected = [agent.encoder.posterior(belief)]
    for step in range(trial.mask.shape[1]):
        fields = [torch.from_numpy(getattr(trial, name)[:, step : step + 1]) for name in Context._fields]
        belief = agent.infer(Context(*fields), belief)
        expected.append(agent.encoder.posterior(belief))
    seen = [0, 1, 2, 5, 12]
    path = posterior_path(agent, trial, seen)
    assert path.transitions_seen.tolist() == seen
    for index, count in enumerate(seen):
        assert np.allclose(path.mean[:, index], expected[count].mean.numpy(), atol=1e-5)
        assert np.allclose(path.stddev[:, index], expected[count].stddev.numpy(), atol=1e-5)
    assert not np.allclose(path.mean[:, 1], path.mean[:, -1], atol=1e-5)


@torch.no_grad()
def test_the_posterior_path_ends_where_the_agents_memory_ended(played):
    model, outcome = played
    path = posterior_path(model.agent, outcome.trajectories, [outcome.trajectories.mask.shape[1]])
    posterior = model.agent.posterior(outcome.memory)
    assert np.allclose(path.mean[:, 0], posterior.mean.numpy(), atol=1e-5)
    assert np.allclose(path.stddev[:, 0], posterior.stddev.numpy(), atol=1e-5)


def test_the_posterior_path_of_one_task_does_not_depend_on_the_others(played):
    model, outcome = played
    trial = outcome.trajectories
    alone = Trajectories(*(field[1:2] for field in trial[:-2]), extras={})
    together = posterior_path(model.agent, trial, [0, 4, 12])
    assert np.allclose(posterior_path(model.agent, alone, [0, 4, 12]).mean[0], together.mean[1], atol=1e-5)


# Positions


def trial_of_two_tasks():
    """Task 0 plays episodes of 2 and 1 steps from (0, 0) and (5, 5), task 1 a single step from (10, 10)."""
    episode = np.array([[0, 0, 1], [0, 1, 1]])
    mask = np.array([[True, True, True], [True, False, False]])
    observation = np.array([[[0, 0, 9], [1, 1, 9], [5, 5, 9]], [[10, 10, 9], [0, 0, 0], [0, 0, 0]]], np.float32)
    nothing = np.zeros((2, 3))
    return Trajectories(
        observation=observation,
        action=np.zeros((2, 3, 2), np.float32),
        reward=nothing,
        training_reward=nothing,
        next_observation=observation + np.float32([1, 1, 0]),
        terminated=nothing > 0,
        truncated=nothing > 0,
        episode=episode,
        mask=mask,
        extras={},
    )


def test_positions_are_given_by_episode_from_start_to_end():
    first, second = episode_positions(trial_of_two_tasks(), 0)
    assert first.tolist() == [[0, 0], [1, 1], [2, 2]]
    assert second.tolist() == [[5, 5], [6, 6]]


def test_padding_is_no_position():
    (only,) = episode_positions(trial_of_two_tasks(), 1)
    assert only.tolist() == [[10, 10], [11, 11]]


# Task values


@pytest.mark.parametrize(
    ("tasks", "values", "names"),
    [
        ([{"velocity": 0.5}, {"velocity": 2}], [[0.5], [2]], ["velocity"]),
        ([{"goal": [1.0, 2.0]}, {"goal": [3.0, 4.0]}], [[1, 2], [3, 4]], ["goal 0", "goal 1"]),
        ([{"name": "door"}, {"name": "reach"}], [[0], [1]], ["task number"]),
        ([{"name": "door", "mass": 2.0}, {"name": "reach", "mass": 3.0}], [[2], [3]], ["mass"]),
        ([{"shape": ["round", 1.5]}, {"shape": ["flat", 2.5]}], [[1.5], [2.5]], ["shape 1"]),
        ([{"mass": 1.0}, {"mass": 2.0, "height": 3.0}], [[1], [2]], ["mass"]),
        ([{"mass": 1.0}, {"mass": "heavy"}], [[0], [1]], ["task number"]),
        ([{"gears": [1.0]}, {"gears": [1.0, 2.0]}], [[1], [1]], ["gears 0"]),
        ([{"mass": 1.0, "length": 2.0}, {"mass": 3.0, "length": 2.0}], [[1], [3]], ["mass"]),
        (
            [
                {"mass": [1.0, 2.0, 6.0], "size": 4.0},
                {"mass": [1.0, 4.0, 6.0], "size": 5.0},
                {"mass": [2.0, 2.0, 8.0], "size": 4.0},
            ],
            [[3, 4], [11 / 3, 5], [4, 4]],
            ["mean of mass", "size"],
        ),
        ([{"a": 1.0, "b": 2.0, "c": 3.0}, {"a": 2.0, "b": 3.0, "c": 4.0}], [[1, 2], [2, 3]], ["a", "b"]),
    ],
    ids=[
        "scalar",
        "tuple",
        "text",
        "text beside a number",
        "mixed tuple",
        "missing",
        "mixed",
        "ragged",
        "constant",
        "of many parts",
        "too many",
    ],
)
def test_a_task_is_as_many_values_as_it_has_numbers(tasks, values, names):
    found, found_names = task_values([Task(params) for params in tasks], most=2)
    assert found.tolist() == values
    assert found_names == names
