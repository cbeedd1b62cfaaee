"""The few-shot protocol: a fresh belief per task, returns episode by episode, a score between two known ends."""

import numpy as np
import pytest
import torch

from pearl import PEARL, Task
from pearl.collection.references import OracleAgent, RandomAgent
from pearl.evaluation.protocol import References, check_disjoint, evaluate, measure_references
from pearl.tasks import make
from pearl.tasks.families.point_robot_env import EPISODE_STEPS, STEP_LENGTH
from tests.support.small import Counting, small_config, small_model

NONE_KNOWN = References(random=0.0, oracle=None)


@pytest.fixture(scope="module")
def model():
    """A point-robot model with random weights; z changes what it does all the same."""
    return small_model("point-robot", agent={"hidden_sizes": (32,)})


def protocol(model, tasks, *, episodes=3, exploration_episodes=2, seed=0, references=NONE_KNOWN):
    return evaluate(
        model.agent,
        model.task_distribution,
        tasks,
        episodes=episodes,
        exploration_episodes=exploration_episodes,
        seed=seed,
        references=references,
    )


def sparse(model):
    """The same agent in the sparse family, whose episodes all start at the origin."""
    other = PEARL("sparse-point-robot", model.config)
    other.agent.load_state_dict(model.agent.state_dict())
    return other


def weights(model):
    return {name: tensor.clone() for name, tensor in model.agent.state_dict().items()}


def test_returns_are_undiscounted_sums_episode_by_episode():
    model = small_model()
    evaluation = protocol(model, [Task({"number": 0.5}), Task({"number": -1.0})])
    assert evaluation.returns == pytest.approx(np.array([[4 * 0.5 + 1.0] * 3, [4 * -1.0 + 1.0] * 3]))
    assert evaluation.return_per_episode == pytest.approx([0.0, 0.0, 0.0])


def test_the_sparse_return_is_the_true_one_and_not_the_critics():
    tasks = [Task({"goal": [0.0, 1.0]})]
    distribution = make("sparse-point-robot")
    agent = OracleAgent(distribution, tasks)
    evaluation = evaluate(agent, distribution, tasks, episodes=1, exploration_episodes=0, seed=0, references=NONE_KNOWN)
    distances = 1.0 - STEP_LENGTH * np.minimum(np.arange(1, EPISODE_STEPS + 1), 10)
    by_hand = sum(1 - distance for distance in distances if distance <= 0.2 + 1e-6)
    assert evaluation.returns[0, 0] == pytest.approx(by_hand, abs=1e-5)


def test_evaluating_twice_gives_identical_results(model):
    one, other = model.evaluate(), model.evaluate()
    assert np.array_equal(one.returns, other.returns)
    assert np.array_equal(one.trajectories.action, other.trajectories.action)


def test_adapting_to_b_after_a_equals_adapting_to_b_fresh(model):
    a, b = [Task({"goal": [0.9, 0.9]})], [Task({"goal": [-0.9, 0.1]})]
    fresh = protocol(small_model("point-robot", agent={"hidden_sizes": (32,)}), b)
    protocol(model, a)
    after = protocol(model, b)
    assert np.array_equal(fresh.trajectories.action, after.trajectories.action)
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(fresh.memory.belief, after.memory.belief, strict=True))


def test_deterministic_episodes_do_not_depend_on_the_draws(model):
    tasks = [Task({"goal": [0.6, 0.8]})]
    still = sparse(model)
    one, other = (protocol(still, tasks, exploration_episodes=0, seed=seed) for seed in (0, 1))
    assert np.array_equal(one.trajectories.action, other.trajectories.action)


def test_exploring_episodes_do_depend_on_the_draws(model):
    tasks = [Task({"goal": [0.6, 0.8]})]
    one, other = (protocol(sparse(model), tasks, seed=seed) for seed in (0, 1))
    assert not np.array_equal(one.trajectories.action, other.trajectories.action)


def test_a_batch_of_tasks_equals_the_tasks_one_at_a_time(model):
    still = sparse(model)
    tasks = still.task_distribution.sample(5, np.random.default_rng(0))
    together = protocol(still, tasks, exploration_episodes=0)
    for row, task in enumerate(tasks):
        alone = protocol(still, [task], exploration_episodes=0)
        assert together.trajectories.action[row] == pytest.approx(alone.trajectories.action[0], abs=1e-4)
        assert together.returns[row] == pytest.approx(alone.returns[0], abs=1e-3)


def test_the_task_is_inferred_so_that_two_tasks_end_in_different_beliefs(model):
    evaluation = protocol(sparse(model), [Task({"goal": [0.0, 1.0]}), Task({"goal": [1.0, 0.0]})])
    posterior = model.agent.posterior(evaluation.memory)
    assert not torch.equal(posterior.mean[0], posterior.mean[1])


def test_evaluation_leaves_the_agent_as_it_was_and_takes_no_gradient(model):
    before = weights(model)
    evaluation = model.evaluate()
    assert all(torch.equal(before[name], tensor) for name, tensor in model.agent.state_dict().items())
    assert all(parameter.grad is None for parameter in model.agent.parameters())
    held = [*evaluation.memory.belief, evaluation.memory.z, evaluation.memory.z_mean]
    assert not any(tensor.requires_grad for tensor in held)


@pytest.mark.parametrize("family", ["point-robot", "sparse-point-robot"])
def test_the_score_is_0_for_the_random_policy_and_1_for_the_one_that_knows_the_task(family):
    distribution = make(family)
    tasks = distribution.sample(100, np.random.default_rng(1))
    references = measure_references(distribution, tasks, seed=0)
    assert references.oracle > references.random
    space = distribution.make_env(tasks[0]).action_space
    for agent, expected in ((RandomAgent(space), 0.0), (OracleAgent(distribution, tasks), 1.0)):
        evaluation = evaluate(
            agent, distribution, tasks, episodes=1, exploration_episodes=0, seed=1, references=references
        )
        assert evaluation.score == pytest.approx(expected, abs=0.1)
        low, high = evaluation.score_ci95
        assert low <= evaluation.score <= high


def test_a_score_is_linear_between_its_ends():
    references = References(random=-20.0, oracle=-5.0)
    assert references.score(np.array([-20.0, -12.5, -5.0, -50.0])).tolist() == [0.0, 0.5, 1.0, -2.0]


def test_the_score_is_that_of_the_last_episode():
    model = small_model("point-robot")
    references = References(random=0.0, oracle=-10.0)
    evaluation = protocol(model, model.test_tasks, references=references)
    assert evaluation.score == pytest.approx(evaluation.returns[:, -1].mean() / -10)


def numbered(numbers, episodes=3):
    return protocol(small_model(), [Task({"number": float(number)}) for number in numbers], episodes=episodes)


def test_the_cvar_of_twenty_tasks_is_their_worst_and_that_of_more_their_worst_twentieth():
    # Counting's return is four times its number plus one.
    assert numbered(range(20)).cvar_per_episode == pytest.approx([1.0, 1.0, 1.0])
    assert numbered(range(30, 0, -1)).cvar_per_episode == pytest.approx([(5 + 0.5 * 9) / 1.5] * 3)


def test_the_cvar_is_logged_of_the_last_episode_and_said_in_words():
    evaluation = numbered([15, *range(-4, 15)])
    assert evaluation.figures()["test/cvar"] == pytest.approx(-15.0)
    assert evaluation.line().endswith("; worst 5 % of tasks -15, -15, -15")


def test_fewer_than_twenty_different_tasks_have_no_cvar_and_none_is_logged():
    for numbers in (range(19), [*range(19), 0, 0, 0]):
        evaluation = numbered(numbers)
        assert evaluation.cvar_per_episode is None
        assert not [name for name in evaluation.figures() if "cvar" in name]
        assert "worst" not in evaluation.line()


def test_a_family_without_a_known_optimum_has_no_score():
    evaluation = small_model().evaluate()
    assert evaluation.score is None
    assert evaluation.score_ci95 is None


def test_references_are_measured_once_and_in_the_tasks_that_are_scored(model):
    mine = model.evaluate().references
    assert model.evaluate().references is mine
    assert model.evaluate(model.train_tasks).references != mine


def test_a_test_task_that_is_a_training_task_is_an_error_that_names_it():
    train = [Task({"goal": [0.0, 1.0]}), Task({"goal": [1.0, 0.0]})]
    with pytest.raises(ValueError, match=r"1 of 2 test tasks .* goal=\(1, 0\)"):
        check_disjoint(train, [Task({"goal": [0.5, 0.5]}), Task({"goal": [1.0, 0.0]})])
    check_disjoint(train, [Task({"goal": [0.5, 0.5]})])


def test_a_family_too_small_for_held_out_tasks_is_refused():
    class TwoTasks(Counting):
        def sample(self, n, rng):
            return [Task({"number": float(number)}) for number in rng.integers(2, size=n)]

    with pytest.raises(ValueError, match="test tasks are training tasks too"):
        PEARL(TwoTasks(), small_config())


def test_the_models_own_tasks_are_disjoint_and_follow_from_the_seed():
    one, same, other = (small_model(seed=seed) for seed in (0, 0, 1))
    assert not set(one.train_tasks) & set(one.test_tasks)
    assert (one.train_tasks, one.test_tasks) == (same.train_tasks, same.test_tasks)
    assert one.train_tasks != other.train_tasks


def test_a_family_of_the_same_tasks_is_evaluated_on_them_and_says_so():
    class Two(Counting):
        same_tasks = True

        def sample(self, n, rng):
            return super().sample(2, np.random.default_rng(0)) * (n // 2)

    model = PEARL(Two(), small_config(training={"n_train_tasks": 2, "meta_batch": 2}, evaluation={"n_test_tasks": 2}))
    assert model.test_tasks == model.train_tasks
    assert model.evaluate().tasks_label == "2 tasks, the same as in training"
    assert small_model().evaluate().tasks_label.endswith("held-out tasks")
