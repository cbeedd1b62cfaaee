"""Every context that a gradient step reads is in time order, without gaps: encoders may read it as it happened."""

import numpy as np
import pytest
import torch

import pearl
from agents.types import TASK_NUMBERS
from pearl.config.reading import ConfigError
from pearl.tasks.families.point_robot import SparsePointRobot
from pearl.tasks.numbers import standardised_numbers
from pearl.tasks.transforms.task_observed import TaskObserved
from tests.support.small import LENGTH, Counting, small_model
from tests.support.twins import own_sampler

BATCHES = 100


def sampled(model):
    """Contexts of many meta-batches, early ones and later ones, after more transitions than the replay holds."""
    sampler = own_sampler(model.training, torch.Generator().manual_seed(0))
    batches = [sampler.sample() for _ in range(BATCHES)]
    return [context for batch in batches for context in (batch.context, batch.early_context)]


def rows_without_padding(contexts):
    """Each task's observations and next observations, where masks say that they are there."""
    for context in contexts:
        for row, mask in enumerate(context.mask):
            yield context.observation[row, mask], context.next_observation[row, mask]


@pytest.mark.parametrize("random_length", [False, True])
def test_a_tasks_own_contexts_early_and_later_are_in_time_order_without_gaps(random_length):
    training = {"context": {"random_length": random_length, "max_length": 7}, "replay_capacity": 30}
    model = small_model(agent={"auxiliary": {"early_kl_weight": 0.1}}, training=training).learn(200)
    assert (model.training.replay.n_added > 30).all()
    lengths = set()
    for observation, _ in rows_without_padding(sampled(model)):
        _, episode, step = observation.T
        time = episode * LENGTH + step
        assert torch.equal(time, time[0] + torch.arange(len(time)))
        lengths.add(len(time))
    assert lengths == set(range(1, 8))


def test_relabelled_contexts_early_and_later_are_in_time_order_without_gaps():
    training = {
        "relabelling": {"candidates": 3, "rewarded_context": 5},
        "episodes_per_trial": 1,
        "context": {"max_length": 7},
    }
    model = small_model("sparse-point-robot", agent={"auxiliary": {"early_kl_weight": 0.1}}, training=training).learn(
        200
    )
    rows = list(rows_without_padding(sampled(model)))
    assert {len(observation) for observation, _ in rows} == set(range(1, 8))
    for observation, next_observation in rows:
        assert torch.equal(observation[1:], next_observation[:-1])


def test_padding_follows_what_is_there():
    for context in sampled(small_model(agent={"auxiliary": {"early_kl_weight": 0.1}}).learn(80)):
        assert (context.mask[:, 1:] <= context.mask[:, :-1]).all()
        assert context.mask[:, 0].all()


INFERRING = {"auxiliary": {"task_inference_weight": 1.0}}
UNTOLD = {"auxiliary": {"task_inference_weight": 0.0}}


def test_the_numbers_of_a_meta_batch_are_those_of_its_tasks():
    model = small_model(agent=INFERRING).learn(80)
    numbers = standardised_numbers(model.train_tasks, TASK_NUMBERS)
    of_task = {
        float(np.float32(task.params["number"])): row for task, row in zip(model.train_tasks, numbers, strict=True)
    }
    batch = own_sampler(model.training, torch.Generator().manual_seed(0)).sample()
    told = batch.context.observation[:, 0, 0].tolist()
    assert len(set(told)) > 1
    for number, row in zip(told, batch.task_numbers.numpy(), strict=True):
        assert (of_task[number] == row).all()


def test_the_numbers_of_a_relabelled_meta_batch_are_those_of_the_tasks_whose_rewards_it_has():
    training = {"relabelling": {"candidates": 64, "rewarded_context": 5}, "episodes_per_trial": 1}
    model = small_model("sparse-point-robot", agent=INFERRING, training=training).learn(200)
    numbers = standardised_numbers(model.train_tasks, TASK_NUMBERS)
    batch = own_sampler(model.training, torch.Generator().manual_seed(0)).sample()
    for row, context in enumerate(zip(*batch.context, strict=True)):
        observation, action, reward, following, _ = (field[context[-1]].numpy() for field in context)
        index = int((numbers == batch.task_numbers[row].numpy()).all(1).argmax())
        fields = (field[None] for field in (observation, action, following))
        expected, _ = model.task_distribution.relabel([model.train_tasks[index]], *fields)
        np.testing.assert_allclose(reward, expected[0], rtol=1e-5)


def test_without_a_weight_a_meta_batch_has_no_numbers():
    assert own_sampler(small_model(agent=UNTOLD).learn(80).training, torch.Generator()).sample().task_numbers is None


@pytest.mark.parametrize("around", [lambda family: family, pearl.mirrored, TaskObserved])
def test_tasks_that_drift_have_no_one_description(around):
    family = around(pearl.drifting(Counting(), pearl.DriftSchedule(2)))
    with pytest.raises(ConfigError, match="task_inference_weight needs tasks that stay as they are"):
        small_model(family, agent=INFERRING)


class OfAnySize(Counting):
    def sample(self, n, rng):
        tasks = super().sample(n, rng)
        return [pearl.Task({**task.to_json(), "size": 0.5 if k else 10**400}) for k, task in enumerate(tasks)]


def test_parameters_that_cannot_be_described_are_refused_with_the_setting_to_change():
    with pytest.raises(ConfigError, match=r"size has a whole number .* Or set agent\.auxiliary\.task_inference_weight"):
        small_model(OfAnySize())
    small_model(OfAnySize(), agent=UNTOLD)


class Shifted(SparsePointRobot):
    """Goals with a cost in each step, as many families have it: -1, and more at the goal."""

    def relabel(self, tasks, observation, action, next_observation):
        reward, training_reward = super().relabel(tasks, observation, action, next_observation)
        return reward - 1, training_reward


PLAIN = {"exploration": {"sweep": 0.0}, "auxiliary": {"early_kl_weight": 0.0}}
RELABELLING = {
    "relabelling": {"candidates": 64, "rewarded_context": 5},
    "initial_policy": "steady",
    "initial_episodes": 10,
    "replay_capacity": 200,
}


def goals(kind):
    return small_model(kind(), agent=PLAIN, training=RELABELLING).learn(1)


def ends_at_a_goal(kind, common):
    """Whether each of many relabelled contexts ends at another reward than the commonest."""
    sampler = own_sampler(goals(kind).training, torch.Generator().manual_seed(0))
    contexts = [sampler.sample().context for _ in range(BATCHES)]
    ends = [context.reward[torch.arange(len(context.mask)), context.mask.sum(1) - 1] for context in contexts]
    return torch.cat(ends) != common


def test_relabelled_contexts_end_at_a_reward_that_differs_from_the_commonest_whatever_that_is():
    found = ends_at_a_goal(SparsePointRobot, 0)
    assert found.float().mean() > 0.4  # Few of the 4 tasks' goals were met at all.
    assert torch.equal(ends_at_a_goal(Shifted, -1), found)


@pytest.mark.parametrize(
    ("returned", "found"),
    [
        (lambda reward: None, r"returned None\. Set training\.relabelling\.candidates to 0"),
        (lambda reward: (reward[0], reward[0]), r"each \(\d+, \d+\); it returned shapes \(\d+,\), \(\d+,\)"),
    ],
)
def test_rewards_that_a_family_does_not_compute_after_all_are_an_error_that_says_so(returned, found):
    class Wrong(SparsePointRobot):
        def relabel(self, tasks, observation, action, next_observation):
            return returned(super().relabel(tasks, observation, action, next_observation)[0])

    with pytest.raises(ConfigError, match=found):
        goals(Wrong)


def test_relabelled_rewards_may_be_lists_of_python_numbers():
    class Lists(SparsePointRobot):
        def relabel(self, tasks, observation, action, next_observation):
            return [part.tolist() for part in super().relabel(tasks, observation, action, next_observation)]

    lists, arrays = (goals(kind).agent for kind in (Lists, SparsePointRobot))
    for name, expected in arrays.state_dict().items():
        assert torch.equal(lists.state_dict()[name], expected)
