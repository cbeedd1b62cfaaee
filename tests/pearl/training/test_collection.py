"""A random policy plays first, in as many tasks as possible; iterations play as many tasks as are asked for."""

import pytest
import torch

import pearl
from agents import PEARLAgent
from pearl.training.off_policy import ReplayTraining
from tests.support.small import INITIAL, LENGTH, Counting, differences, everything_learnt, small_model

pytestmark = pytest.mark.usefixtures("one_thread")


def test_the_initial_episodes_are_those_of_a_random_policy_in_every_task():
    model = small_model(training={"initial_episodes": 3, "tasks_per_iteration": 1}).learn(1)
    assert model.num_timesteps == 4 * 3 * LENGTH
    assert model.training.replay.size().tolist() == [3 * LENGTH] * 4


@pytest.mark.parametrize(("total_steps", "iterations"), [(100 * LENGTH, 5), (LENGTH, 1), (10_000_000, 5_000 // LENGTH)])
def test_by_default_a_random_policy_plays_a_tenth_of_training_in_as_many_tasks_as_possible(total_steps, iterations):
    random = {"initial_episodes": None, "total_steps": total_steps, "replay_capacity": 10_000}
    model = small_model(training=random | {"tasks_per_iteration": 2})
    for iteration in range(1, iterations + 1):
        assert model.training.gradient_steps == 0
        model.training.iterate()
        assert model.num_timesteps == 2 * iteration * LENGTH
        sizes = model.training.replay.size()
        assert sizes.max() - sizes.min() <= LENGTH
    owed = model.config.training.gradient_steps_per_env_step * model.num_timesteps
    assert model.training.gradient_steps == pytest.approx(owed, abs=1)
    model.training.iterate()
    assert model.num_timesteps == 2 * (iterations + 2) * LENGTH


def test_training_resumes_from_within_its_random_start(tmp_path):
    random = {"initial_episodes": None, "total_steps": 100_000, "tasks_per_iteration": 1}
    model = small_model(training=random).learn(3 * LENGTH)
    assert model.training.gradient_steps == 0
    model.save(tmp_path)
    resumed = pearl.load(tmp_path, distribution=Counting())
    assert differences(everything_learnt(resumed.learn(3 * LENGTH)), everything_learnt(model.learn(3 * LENGTH))) == []


def test_an_iteration_collects_from_as_many_tasks_as_are_asked_for():
    model = small_model(training={"tasks_per_iteration": 2}).learn(INITIAL)
    for _ in range(12):
        before = model.training.replay.n_added.clone()
        model.learn(1)
        grown = (model.training.replay.n_added - before).tolist()
        assert sorted(grown) == [0, 0, 2 * LENGTH, 2 * LENGTH]
    assert (model.training.replay.n_added > LENGTH).all()


def test_tasks_that_hold_nothing_yet_are_not_trained_on():
    model = small_model(training={"initial_episodes": 0, "tasks_per_iteration": 1}).learn(2 * LENGTH)
    assert sorted(model.training.replay.size().tolist()) == [0, 0, 0, 2 * LENGTH]
    assert model.training.gradient_steps == 1


@pytest.mark.parametrize("policy", ["random", "steady"])
def test_the_initial_policy_is_the_one_that_is_asked_for(policy):
    model = small_model("point-robot", training={"initial_policy": policy}).learn(1)
    actions = model.training.replay.tensors()["store"][:, :20, 2:4]
    held = (actions == actions[:, :1]).all()
    assert held == (policy == "steady")
    assert len(actions[:, 0].unique(dim=0)) == 4


def players(monkeypatch, **agent):
    """Whether z moves in the agent that plays, in each of 60 iterations after the random ones."""
    found = []
    play = ReplayTraining._play

    def watched(training, player, *arguments):
        if isinstance(player, PEARLAgent):
            found.append(player.z_moves)
        return play(training, player, *arguments)

    monkeypatch.setattr(ReplayTraining, "_play", watched)
    model = small_model(agent=agent, training={"tasks_per_iteration": 1, "gradient_steps_per_env_step": 0.0})
    model.learn(INITIAL + 60 * 2 * LENGTH)
    assert len(found) == 60
    return found


def test_a_z_that_follows_is_kept_in_half_of_trainings_iterations(monkeypatch):
    found = players(monkeypatch)
    assert 20 <= sum(found) <= 40
    assert len({tuple(found[start : start + 4]) for start in range(0, 60, 4)}) > 4  # Drawn, not in turns.


@pytest.mark.parametrize(
    ("exploration", "moves"), [({"z_follows_posterior": False}, False), ({"sweep": 0.1}, True)], ids=["kept", "swept"]
)
def test_a_z_that_is_kept_or_swept_is_so_in_every_iteration(monkeypatch, exploration, moves):
    assert players(monkeypatch, exploration=exploration) == [moves] * 60


def test_only_a_z_that_follows_draws_who_plays():
    def draws(**exploration):
        rng = torch.Generator().manual_seed(0)
        before = rng.get_state()
        small_model(agent={"exploration": exploration}).agent.collecting(rng)
        return not torch.equal(rng.get_state(), before)

    assert draws()
    assert not draws(z_follows_posterior=False)
    assert not draws(sweep=0.1)
