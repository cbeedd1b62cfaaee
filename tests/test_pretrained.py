"""What the pretrained agents can do, straight from a clone."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3.common.evaluation import evaluate_policy

import pearl
from pearl.runs.report import posterior_path
from pearl.studies.probes import calibration, probe
from tests.support.processes import ROOT

PRETRAINED = ROOT / "pretrained"
FAMILIES = ("point-robot", "sparse-point-robot")


@pytest.fixture(scope="module", params=FAMILIES)
def model(request):
    return pearl.load(PRETRAINED / request.param)


def test_a_pretrained_agent_holds_no_training_state(model):
    assert not any((PRETRAINED / model.family).glob("*replay*"))
    assert (PRETRAINED / model.family / "README.md").is_file()


def test_it_adapts_to_held_out_tasks(model):
    evaluation = model.evaluate()
    before = evaluation.references.score(evaluation.returns[:, 0])
    assert set(model.test_tasks).isdisjoint(model.train_tasks)
    assert evaluation.score > 0.85
    assert evaluation.score > before.mean() + 0.3


def test_the_cards_worst_tasks_are_those_of_its_evaluation(model):
    card = (PRETRAINED / model.family / "README.md").read_text()
    (row,) = (line for line in card.splitlines() if "(CVaR)" in line)
    shown = [float(value) for value in row.split("|")[2].split("→")]
    assert shown == pytest.approx(model.evaluate().cvar_per_episode, abs=0.05)


def test_z_matters(model):
    scores = probe(model)
    assert scores["usual"] - scores["zero_z"] > 0.3
    assert scores["usual"] - scores["other_tasks_z"] > 0.3


def test_the_dense_agent_adapts_from_twenty_transitions_of_a_random_policy():
    dense = pearl.load(PRETRAINED / "point-robot")
    assert probe(dense)["random_context"] > 0.8


def test_the_agent_that_reads_pictures_adapts_by_its_z():
    scores = probe(pearl.load(PRETRAINED / "image-point-robot"))
    assert scores["usual"] > 0.7
    assert scores["usual"] - scores["zero_z"] > 0.3
    assert scores["usual"] - scores["other_tasks_z"] > 0.3


def test_the_posterior_narrows_as_context_comes_in():
    dense = pearl.load(PRETRAINED / "point-robot")
    trial = dense.evaluate().trajectories
    spread = posterior_path(dense.agent, trial, [0, 1, 5, 20, 60]).stddev.mean((0, 2))
    assert (np.diff(spread) < 0).all()
    assert spread[-1] < 0.7 * spread[0]


def test_the_posterior_is_about_as_sure_as_it_may_be(model):
    figures = calibration(model, [5, 10, 20])
    assert (figures > 0.5).all()
    assert (figures < 2.0).all()


def test_the_sparse_agent_sweeps_the_half_circle_while_it_finds_nothing():
    sparse = pearl.load(PRETRAINED / "sparse-point-robot")
    env = sparse.task_distribution.make_env(pearl.Task({"goal": [0.0, -5.0]}))
    angles = np.linspace(0, np.pi, 33)
    arc = np.column_stack([np.cos(angles), np.sin(angles)])
    covered = []
    for seed in range(10):
        visited = sparse.adapt(env, episodes=5, seed=seed).trial.next_observation[0]
        covered.append((np.linalg.norm(visited[:, None] - arc, axis=-1) <= 0.2).any(0).mean())
    assert np.mean(covered) > 0.85


def test_adapting_takes_no_gradient_and_changes_no_parameter(model):
    before = {name: tensor.clone() for name, tensor in model.agent.state_dict().items()}
    policy = model.adapt(model.task_distribution.make_env(model.test_tasks[0]), episodes=2, seed=0)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.agent.state_dict().items())
    assert not any(parameter.grad is not None for parameter in model.agent.parameters())
    assert not policy.posterior.mean.requires_grad


def test_the_adapted_policy_passes_stable_baselines3s_evaluation():
    dense = pearl.load(PRETRAINED / "point-robot")
    env = gym.make("pearl/PointRobot-v0", goal=(0.3, -0.7))
    policy = dense.adapt(env, episodes=2, seed=0)
    mean, _ = evaluate_policy(policy, env, n_eval_episodes=20, deterministic=True, warn=False)
    assert mean > -10.0


def test_more_evidence_does_not_make_an_agent_worse():
    dense = pearl.load(PRETRAINED / "point-robot")
    tasks = [pearl.Task({"goal": [0.0, 0.0]}), *dense.test_tasks[:7]]
    returns = dense.evaluate(tasks, episodes=400, exploration_episodes=400, seed=0).returns
    early, late = returns[:, 2:42].mean(1), returns[:, -40:].mean(1)
    # Forty episodes' mean starts at other places than the next forty's, which moves it by some tenths.
    assert (late > early - 0.7).all()
    assert late.mean() > early.mean() - 0.2
