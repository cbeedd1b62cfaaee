"""Training tasks are drawn apart from the test tasks, as many as training can play."""

import pytest

import pearl
from tests.support.small import Counting


class Numbered(Counting):
    """Counting in one of ``n`` tasks."""

    n = 2_000

    def sample(self, n, rng):
        return [pearl.Task({"number": float(number)}) for number in rng.integers(0, self.n, n)]


def test_by_default_training_tasks_that_are_test_tasks_are_left_out():
    model = pearl.PEARL(Numbered(), pearl.PEARLConfig())
    assert model.config.training.n_train_tasks > len(model.train_tasks) > 0.5 * model.config.training.n_train_tasks
    assert not set(model.train_tasks) & set(model.test_tasks)


def test_a_family_of_few_tasks_is_still_told_to_say_so():
    few = Numbered()
    few.n = 10
    with pytest.raises(ValueError, match="same_tasks = True"):
        pearl.PEARL(few, pearl.PEARLConfig())
    with pytest.raises(ValueError, match="test tasks are training tasks too"):
        pearl.PEARL(Numbered(), pearl.PEARLConfig(training=pearl.TrainingConfig(n_train_tasks=400)))
