"""What a model is given wrongly is answered with what was given and what to give."""

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.vec_env import DummyVecEnv

import pearl
from pearl import PEARL, ConfigError, PEARLConfig, Task, TrainingConfig
from pearl.config.run import RL2Config
from pearl.model.loading import load_config
from pearl.runs.run import Run
from tests.support.small import HORIZON, Counting, CountingEnv, small_config, small_model, together

NAN, INF = float("nan"), float("inf")
NO_WHOLE_NUMBERS = [NAN, INF, "5", True, np.True_, 1.5, [1], (), b"1", 1 + 0j, object(), int]


@pytest.fixture(scope="module")
def model():
    return small_model()


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    small_model().save(folder)
    return folder


def env():
    return gym.wrappers.TimeLimit(CountingEnv(), 4)


NUMBERS = {
    "learn total_timesteps": lambda model, value: model.learn(value),
    "evaluate episodes": lambda model, value: model.evaluate(episodes=value),
    "evaluate exploration_episodes": lambda model, value: model.evaluate(exploration_episodes=value),
    "evaluate seed": lambda model, value: model.evaluate(seed=value),
    "adapt episodes": lambda model, value: model.adapt(env(), value),
    "adapt exploration_episodes": lambda model, value: model.adapt(env(), exploration_episodes=value),
    "adapt seed": lambda model, value: model.adapt(env(), seed=value),
    "session seed": lambda model, value: model.session(seed=value),
    "PEARL seed": lambda model, value: PEARL(Counting(), small_config(), seed=value),
}


@pytest.mark.parametrize("call", NUMBERS)
@pytest.mark.parametrize(
    "value",
    NO_WHOLE_NUMBERS,
    ids=lambda value: f"{type(value).__name__}-{value}" if type(value) is not object else "object",
)
def test_a_number_that_is_not_whole_is_refused_by_its_name(model, call, value):
    name = call.split()[1]
    with pytest.raises(ConfigError, match=rf"^{name} must be a whole number, got "):
        NUMBERS[call](model, value)
    assert model.num_timesteps == 0


@pytest.mark.parametrize("call", NUMBERS)
def test_a_number_out_of_its_range_is_refused_by_its_name(model, call):
    name = call.split()[1]
    for value in (-1, np.int64(-1), *([0] if name == "episodes" else [])):
        with pytest.raises(ConfigError, match=rf"^{name} must be at least [01], got {value}\."):
            NUMBERS[call](model, value)
    if call not in ("learn total_timesteps", "PEARL seed"):
        with pytest.raises(ConfigError, match=rf"^{name} must be a whole number of less than 64 bits"):
            NUMBERS[call](model, 2**64)


def test_numbers_of_numpys_do_as_pythons():
    one, other = (small_model(seed=seed) for seed in (3, np.int64(3)))
    assert one.evaluate(seed=5).returns.tolist() == other.evaluate(seed=np.uint8(5)).returns.tolist()
    assert other.evaluate(episodes=np.int32(1), exploration_episodes=np.int64(0)).returns.shape == (3, 1)
    trials = [one.adapt(env(), 2, seed=7).trial, other.adapt(env(), np.int8(2), seed=np.int64(7)).trial]
    assert trials[0].action.tolist() == trials[1].action.tolist()
    assert one.session(seed=1).memory.z.tolist() == other.session(seed=np.int64(1)).memory.z.tolist()


def test_steps_may_be_written_as_a_float():
    for steps in (1e1, np.float64(10), np.int64(10)):
        assert small_model().learn(steps).num_timesteps >= 10


def test_a_models_seed_may_have_any_number_of_bits(tmp_path):
    model = small_model(seed=2**100)
    model.save(tmp_path)
    assert pearl.load(tmp_path, distribution=Counting()).train_tasks == model.train_tasks


@pytest.mark.parametrize(
    ("family", "message"),
    [
        (Counting, r"got the class Counting\. Give an instance of it: Counting\(\)\."),
        (CountingEnv(), r"got a CountingEnv\. An environment is one task\. Write a class that inherits"),
        (CountingEnv, r"got the class CountingEnv\. An environment is one task"),
        (lambda: Counting(), r"got a function\. Write a class that inherits from pearl\.TaskDistribution"),
        (None, "got None"),
        (3, "got 3"),
        ([Counting()], "got a list"),
        ({"family": 1}, "got a dict"),
        (small_config(), "got a PEARLConfig"),
    ],
)
def test_what_is_no_family_is_answered_with_what_to_give(family, message):
    with pytest.raises(TypeError, match=rf"^family must be a registered family's name or a task dist.*, {message}"):
        PEARL(family, small_config())
    with pytest.raises(TypeError, match=message):
        PEARL(family)
    with pytest.raises(TypeError, match=message):
        pearl.MetaLearner(family, RL2Config())


@pytest.mark.parametrize("wrap", [pearl.mirrored, pearl.task_observed], ids=["mirrored", "task_observed"])
def test_what_is_no_distribution_cannot_be_wrapped(wrap):
    with pytest.raises(TypeError, match=r"got the class Counting\. Give an instance of it: Counting\(\)"):
        wrap(Counting)
    with pytest.raises(TypeError, match=r"got 'point-robot'\. Build it: pearl\.tasks\.make\('point-robot'\)"):
        wrap("point-robot")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"training": {}}, r"^config must be the settings of a run, got a dict\. Build them: pearl\.PEARLConfig\("),
        (PEARLConfig, r"^config must be the settings of a run, got the class PEARLConfig\."),
        ("fast", r"^config must be the settings of a run, got 'fast'\."),
        (TrainingConfig(), r"^config must be the settings of a run, got a TrainingConfig\."),
        (RL2Config(), r"^PEARL takes a PEARLConfig, got a RL2Config\. Use pearl\.MetaLearner"),
    ],
)
def test_what_are_no_settings_is_answered_with_what_to_give(config, message):
    with pytest.raises(TypeError, match=message):
        PEARL(Counting(), config)


TASKS = [Task({"number": 0.25}), Task({"number": 0.5})]


@pytest.mark.parametrize(
    ("tasks", "error", "message"),
    [
        ([{"number": 1.0}], TypeError, r"tasks\[0\] must be a pearl\.Task, got a dict\. Wrap it: pearl\.Task\(\{'numb"),
        ([*TASKS, 3], TypeError, r"tasks\[2\] must be a pearl\.Task, got 3\."),
        ([CountingEnv()], TypeError, r"tasks\[0\] must be a pearl\.Task, got a CountingEnv\. Draw tasks by sample\."),
        ({"number": 1.0}, TypeError, r"tasks must be a list of pearl\.Task, got a dict\. Put it into a list: \[pearl"),
        (TASKS[0], TypeError, r"tasks must be a list of pearl\.Task, got a Task\. Put it into a list: \[task\]\."),
        (20, TypeError, r"tasks must be a list of pearl\.Task, got 20\."),
        ("goal=1", TypeError, r"tasks must be a list of pearl\.Task, got 'goal=1'\."),
        (Counting(), TypeError, r"tasks must be a list of pearl\.Task, got a Counting\."),
        ([], ValueError, r"tasks must hold at least one task, got none\."),
        (iter(()), ValueError, r"tasks must hold at least one task, got none\."),
    ],
)
def test_what_are_no_tasks_is_answered_with_what_to_give(model, tasks, error, message):
    with pytest.raises(error, match=f"^{message}"):
        model.evaluate(tasks)


@pytest.mark.parametrize(
    ("tasks", "error", "message"),
    [
        (([{"number": 1.0}], TASKS), TypeError, r"tasks\[0\]\[0\] must be a pearl\.Task, got a dict\. Wrap it: pearl"),
        ((TASKS, [{"number": 1.0}]), TypeError, r"tasks\[1\]\[0\] must be a pearl\.Task, got a dict\. Wrap it: pearl"),
        (([], TASKS), ValueError, r"tasks\[0\] must hold at least one task, got none\."),
        ((TASKS, []), ValueError, r"tasks\[1\] must hold at least one task, got none\."),
        ((TASKS,), TypeError, r"tasks must be two lists, of training and of test tasks, got 1 of them"),
        ((TASKS, TASKS, TASKS), TypeError, r"tasks must be two lists, of training and of test tasks, got 3 of them"),
        (TASKS, TypeError, r"tasks\[0\] must be a list of pearl\.Task, got a Task\."),
        ({"train": TASKS, "test": TASKS}, TypeError, r"tasks must be two lists, .*, got a dict: tasks=\(train, test\)"),
        (Counting(), TypeError, r"tasks must be two lists, of training and of test tasks, got a Counting"),
    ],
)
def test_what_is_no_split_of_tasks_is_answered_with_what_to_give(tasks, error, message):
    with pytest.raises(error, match=f"^{message}"):
        PEARL(Counting(), small_config(), tasks=tasks)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DummyVecEnv([env]), r"got a DummyVecEnv\. It steps several environments; give one of them, such as"),
        (lambda: together(CountingEnv()), r"got a SyncVectorEnv\. It steps several environments; give one of them"),
        (
            lambda: "point-robot",
            r"got 'point-robot'\. Give an instance that the task distribution builds: model\.task_distribution",
        ),
        (lambda: CountingEnv, r"got the class CountingEnv\. Give an instance of it: CountingEnv\(\.\.\.\)\."),
        (lambda: env, r"got a function\. Call it, and give the environment that it returns\."),
        (lambda: TASKS[0], r"got a Task\. Build its environment: model\.task_distribution\.make_env\(task\)\."),
        (
            lambda: Counting(),
            r"got a Counting\. Give an instance that the task distribution builds: model\.task_distribution",
        ),
        (lambda: None, r"got None\. Give an instance"),
    ],
)
def test_what_is_no_environment_of_one_task_is_answered_with_what_to_give(model, make, message):
    with pytest.raises(TypeError, match=rf"^env must be the gymnasium\.Env of one task, {message}"):
        model.adapt(make())


def test_a_model_in_place_of_its_agent_is_answered_with_what_to_give(model):
    for agent, message in (
        (model, r"got a PEARL\. Give its agent: model\.agent\."),
        (type(model.agent), "got the class PEARLAgent"),
        ("rl2", r"got 'rl2'\. It lacks begin, act, observe, end_episode"),
    ):
        with pytest.raises(TypeError, match=rf"^agent must be an instance of agents\.MetaAgent, {message}"):
            model.evaluate(agent=agent)


NO_PATHS = [
    ("", ValueError, "must not be empty"),
    ("a\0b", ValueError, r"must not hold a NUL, got 'a\\x00b'"),
    ("~nobody-of-this-name/x", ValueError, "whose home is not known. Write the whole path"),
    (None, TypeError, "must be text or a pathlib.Path, got None"),
    (3, TypeError, "must be text or a pathlib.Path, got 3"),
    (b"saved", TypeError, "must be text or a pathlib.Path, got a bytes"),
]


@pytest.mark.parametrize(("path", "error", "message"), NO_PATHS)
def test_what_is_no_path_is_neither_written_to_nor_read(model, path, error, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for call in (model.save, pearl.load, load_config):
        with pytest.raises(error, match=f"^path .*{message}"):
            call(path)
    assert list(tmp_path.iterdir()) == []


def test_a_tilde_is_the_home(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    model.save("~/x")
    assert [path.name for path in tmp_path.iterdir()] == ["home"]
    assert pearl.load("~/x", distribution=Counting()).config == model.config == load_config("~/x")


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        (
            {"distribution": Counting},
            TypeError,
            r"^distribution must be a task distribution, got the class Counting\. Giv",
        ),
        ({"distribution": "counting"}, TypeError, r"^distribution must be a task .* Build it: pearl\.tasks\.make\("),
        ({"distribution": CountingEnv()}, TypeError, r"^distribution must be a task .* got a CountingEnv\."),
        ({"device": "gpu"}, ConfigError, r"^device must be one of 'cpu', 'cuda', got 'gpu'"),
        ({"device": 0}, ConfigError, r"^device must be one of 'cpu', 'cuda', got 0"),
        (
            {"z_follows_posterior": "yes"},
            ConfigError,
            r"^agent\.exploration\.z_follows_posterior must be true or false, got 'yes'",
        ),
    ],
)
def test_what_a_model_cannot_be_loaded_with_is_answered_with_what_to_give(saved, settings, error, message):
    with pytest.raises(error, match=message):
        pearl.load(saved, **{"distribution": Counting()} | settings)


def test_a_run_in_a_folder_under_the_home_is_found(tmp_path, monkeypatch, quickly):
    monkeypatch.setenv("HOME", str(tmp_path))
    Run(small_model(), tmp_path / "run", wandb="disabled").save()
    assert load_config("~/run") == small_config().for_tasks(HORIZON)
