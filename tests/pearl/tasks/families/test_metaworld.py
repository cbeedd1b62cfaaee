"""Meta-World's families: names that are looked up, and tasks that are the same in every run."""

from collections import Counter

import numpy as np
import pytest

pytest.importorskip("metaworld")

import metaworld

from pearl.config.run import PEARLConfig, load_preset
from pearl.tasks import make
from pearl.tasks.families import metaworld as families_of_metaworld
from pearl.tasks.families.metaworld import ENVIRONMENTS, ML1, ML10, ML45
from pearl.tasks.registry import UnknownFamilyError, families, register, register_pattern


def flat(tasks):
    return [task for group in tasks.values() for task in group]


# First, since few_goals lasts for the rest of the module once it is used.
@pytest.mark.slow
def test_the_benchmarks_have_fifty_tasks_of_each_environment():
    for family, n_train in ((ML10(), 10), (ML45(), 45)):
        train, test = family.task_sets()
        assert list(map(len, train.values())) == [50] * n_train
        assert list(map(len, test.values())) == [50] * 5
        assert set(train).isdisjoint(test)


def test_there_is_a_family_for_each_of_metaworlds_environments():
    assert list(ENVIRONMENTS) == sorted(metaworld.ALL_V3_ENVIRONMENTS)
    for environment in ENVIRONMENTS:
        assert make(f"ml1-{environment}").environment == environment


def test_the_families_are_listed_in_three_lines_and_looked_up_by_each_name():
    listed = [name for name in families() if name.startswith("ml")]
    assert listed == ["ml1-<task>-v3", "ml10", "ml45"]
    assert families()["ml1-push-v3"] == families()["ml1-<task>-v3"]
    assert "ml1-push-v3" in families()
    assert "ml1-reech-v3" not in families()
    assert len(families()) == len(list(families()))


def test_a_family_is_made_by_its_name():
    assert type(make("ml10")) is ML10
    assert type(make("ml45")) is ML45
    assert make("ml1-push-v3").name == ML1("push-v3").name == "ml1-push-v3"
    assert [make(name).episode_steps for name in ("ml1-push-v3", "ml10", "ml45")] == [200, 500, 500]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ml1-reech-v3", r"^Unknown family 'ml1-reech-v3'\. Did you mean 'ml1-reach-v3' or "),
        ("reach-v3", r"Did you mean 'ml1-reach-v3' or "),
        ("ml1-<task>-v3", r"It stands for families such as 'ml1-push-v3'\. Known families: .*, ml1-<task>-v3, "),
    ],
)
def test_a_wrong_name_is_an_error_that_names_the_nearest(name, message):
    with pytest.raises(UnknownFamilyError, match=message):
        make(name)


def test_a_wrong_environment_is_an_error_that_names_the_nearest():
    with pytest.raises(ValueError, match=r"^Metaworld has no environment 'reech-v3'\. Did you mean 'reach-v3' or "):
        ML1("reech-v3")


def test_names_of_a_pattern_are_taken():
    with pytest.raises(ValueError, match="'ml1-push-v3' is registered already"):
        register("ml1-push-v3", ML10, "another")
    with pytest.raises(ValueError, match="'ml10' is registered already"):
        register_pattern("ml<number>", ML1, ["ml10"], "another", example="ml10")
    with pytest.raises(ValueError, match="must be one of the families of 'x-<y>'"):
        register_pattern("x-<y>", ML1, ["x-1"], "another", example="x-2")


def test_all_of_ml1_but_reach_share_a_preset_and_the_benchmarks_have_their_own():
    assert load_preset("ml1-push-v3") == load_preset("ml1-door-open-v3") != PEARLConfig()
    reach = load_preset("ml1-reach-v3")
    assert reach not in (PEARLConfig(), load_preset("ml1-push-v3"))
    assert set(range(39)) - set(reach.agent.observations.ignored) == {0, 1, 2, 3, 18, 19, 20, 21}
    assert load_preset("ml1-reech-v3") == PEARLConfig()
    n_environments = {"ml1-reach-v3": (1, 1), "ml10": (10, 5), "ml45": (45, 5)}
    for name, (n_train, n_test) in n_environments.items():
        preset = load_preset(name)
        assert preset.training.n_train_tasks % n_train == 0
        assert preset.evaluation.n_test_tasks % n_test == 0
        assert preset.encoder.context_fields == ("observation", "action", "reward")


def test_ml1_has_fifty_tasks_for_training_and_fifty_others_for_test():
    train, test = ML1("reach-v3").split(50, 50, np.random.default_rng(0))
    assert len(set(train)) == len(set(test)) == 50
    assert len(set(train) | set(test)) == 100
    assert {task.params["env"] for task in train + test} == {"reach-v3"}
    with pytest.raises(ValueError, match=r"^ml1-reach-v3 has 50 training tasks, 51 were asked for"):
        ML1("reach-v3").sample(51, np.random.default_rng(0))


@pytest.mark.usefixtures("few_goals")
def test_tasks_are_metaworlds_own_and_the_same_whatever_the_global_random_state():
    np.random.seed(5)  # noqa: NPY002
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    first = ML1("push-v3").task_sets()
    assert np.array_equal(np.random.get_state()[1], state)  # noqa: NPY002
    families_of_metaworld._task_sets.cache_clear()
    np.random.seed(6)  # noqa: NPY002
    assert ML1("push-v3").task_sets() == first

    benchmark = metaworld.ML1("push-v3", seed=families_of_metaworld.BENCHMARK_SEED)
    env = benchmark.train_classes["push-v3"]()
    for tasks, own in ((benchmark.train_tasks, first.train), (benchmark.test_tasks, first.test)):
        for task, mine in zip(tasks, own["push-v3"], strict=True):
            env.set_task(task)
            assert tuple(env._last_rand_vec) == mine.params["rand_vec"]


@pytest.mark.usefixtures("few_goals")
def test_the_benchmarks_train_and_test_in_different_environments():
    train, test = ML10().task_sets()
    assert list(map(len, train.values())) == [3] * 10
    assert list(map(len, test.values())) == [3] * 5
    assert set(train).isdisjoint(test)
    assert set(flat(train)).isdisjoint(flat(test))


@pytest.mark.usefixtures("few_goals")
def test_a_split_draws_training_and_test_tasks_from_metaworlds_and_balances_environments():
    family = ML10()
    train, test = family.split(20, 12, np.random.default_rng(3))
    assert set(train) <= set(flat(family.task_sets().train))
    assert set(test) <= set(flat(family.task_sets().test))
    assert sorted(Counter(task.params["env"] for task in train).values()) == [2] * 10
    assert sorted(Counter(task.params["env"] for task in test).values()) == [2, 2, 2, 3, 3]
    assert len(set(train)) == 20
    assert family.split(20, 12, np.random.default_rng(3)) == (train, test)
    assert family.split(20, 12, np.random.default_rng(4)) != (train, test)
    assert family.sample(0, np.random.default_rng(0)) == []
    with pytest.raises(ValueError, match=r"^ml10 has 15 test tasks, 16 were asked for"):
        family.split(20, 16, np.random.default_rng(3))
