"""The checker of task distributions: what it passes, and what it says of each thing that is wrong."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from pearl.tasks import Task, TaskDistribution, TaskDistributionError, check_task_distribution, make

HORIZON = 5


class Walk(gym.Env):
    """A point on a line that starts at random; the reward is minus the distance to the goal."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (1,), np.float32)
    action_space = gym.spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, goal):
        self.goal = goal

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.position = self.np_random.uniform(-1, 1, 1).astype(np.float32)
        self.steps = 0
        return self.position.copy(), {}

    def step(self, action):
        self.position = self.position + np.asarray(action, np.float32)
        self.steps += 1
        return self.position.copy(), -abs(float(self.position[0]) - self.goal), False, False, {}


class Walks(TaskDistribution):
    """What the broken distributions change one thing of."""

    env = Walk
    horizon = HORIZON

    def sample(self, n, rng):
        return [Task({"goal": goal}) for goal in rng.uniform(-1, 1, n).tolist()]

    def make_env(self, task, *, render_mode=None):
        return gym.wrappers.TimeLimit(self.env(task.params["goal"]), self.horizon)


def assert_found(distribution, *messages, n_tasks=4):
    with pytest.raises(TaskDistributionError) as caught:
        check_task_distribution(distribution, n_tasks)
    for message in messages:
        assert message in str(caught.value)


@pytest.mark.parametrize("family", ["point-robot", "sparse-point-robot", "image-point-robot"])
def test_the_families_that_come_with_the_framework_pass(family):
    check_task_distribution(make(family))


@pytest.mark.parametrize("seed", range(3))
def test_a_sound_distribution_passes_and_is_left_as_it_was(seed):
    family = Walks()
    before = family.sample(4, np.random.default_rng(0))
    check_task_distribution(family, seed=seed)
    assert family.sample(4, np.random.default_rng(0)) == before


def test_environments_are_closed_after_the_check():
    opened = []

    class Closing(Walk):
        def __init__(self, goal):
            super().__init__(goal)
            self.closed = False
            opened.append(self)

        def close(self):
            self.closed = True

    family = Walks()
    family.env = Closing
    check_task_distribution(family)
    assert len(opened) >= 8
    assert all(env.closed for env in opened)


def test_the_error_is_a_value_error():
    assert issubclass(TaskDistributionError, ValueError)


def test_one_task_cannot_be_compared():
    with pytest.raises(ValueError, match=r"n_tasks must be at least 2.*got 1"):
        check_task_distribution(Walks(), n_tasks=1)


def test_the_class_in_place_of_an_instance_is_found():
    assert_found(Walks, "Pass an instance, not the class: Walks().")


def test_a_missing_method_is_found():
    class NoEnv:
        def sample(self, n, rng):
            return []

    assert_found(NoEnv(), "NoEnv has no method 'make_env'; define make_env(self, task, *, render_mode=None)")
    assert_found(object(), "object has no method 'sample'; define sample(self, n, rng)")


def test_methods_without_the_base_class_are_found():
    class Plain:
        sample, make_env = Walks.sample, Walks.make_env

    assert_found(Plain(), "Plain must inherit from pearl.TaskDistribution")


def test_a_wrong_signature_is_found():
    class NoGenerator(Walks):
        def sample(self, n):
            return []

    class NoRenderMode(Walks):
        def make_env(self, task):
            return Walk(0.0)

    assert_found(NoGenerator(), "NoGenerator.sample(n) cannot be called as sample(self, n, rng)")
    assert_found(NoRenderMode(), "NoRenderMode.make_env(task) cannot be called as make_env(", "'render_mode'")


def goals(*values):
    return [Task({"goal": value}) for value in values]


class LossyTask(Task):
    def to_json(self):
        return {"goal": round(self.params["goal"], 1)}


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        (lambda self, n, rng: [{"goal": 0.5}] * n, "must return a list of pearl.Task, got [{'goal': 0.5}"),
        (lambda self, n, rng: tuple(goals(*rng.uniform(size=n).tolist())), "must return a list of pearl.Task, got ("),
        (lambda self, n, rng: goals(*rng.uniform(size=n - 1).tolist()), "must return 4 tasks, got 3"),
        (lambda self, n, rng: goals(*rng.uniform(size=n)[:, None]), "sample(4, rng) raised TypeError"),
        (lambda self, n, rng: [LossyTask({"goal": g}) for g in rng.uniform(size=n).tolist()], "JSON round trip"),
        (lambda self, n, rng: goals(*np.random.uniform(size=n).tolist()), "gave other tasks with the same seed"),  # noqa: NPY002
        (lambda self, n, rng: goals(*[0.5] * n), "gave the same task 4 times: (goal=0.5)"),
        (lambda self, n, rng: goals(*np.linspace(0, 1, n).tolist()), "gave the same tasks with every seed"),
    ],
)
def test_a_broken_sample_is_found(sample, message):
    assert_found(type("Broken", (Walks,), {"sample": sample})(), message)


def test_a_finite_set_in_a_fixed_order_passes():
    class Two(Walks):
        def sample(self, n, rng):
            if n > 2:
                raise ValueError(f"There are 2 tasks, asked for {n}.")
            return goals(-1.0, 1.0)[:n]

    check_task_distribution(Two(), n_tasks=2)
    assert_found(Two(), "sample(4, rng) raised ValueError: There are 2 tasks", "finite set")


def test_a_make_env_that_fails_or_makes_something_else_is_found():
    def failing(self, task, *, render_mode=None):
        raise KeyError("velocity")

    assert_found(type("Failing", (Walks,), {"make_env": failing})(), "make_env((goal=", "raised KeyError: 'velocity'")
    other = {"make_env": lambda self, task, *, render_mode=None: "Walk-v0"}
    assert_found(type("Other", (Walks,), other)(), "must return a gymnasium.Env, got 'Walk-v0'")


def test_tasks_with_spaces_of_their_own_are_found():
    class Wide(Walk):
        def __init__(self, goal):
            super().__init__(goal)
            self.action_space = gym.spaces.Box(-abs(goal), abs(goal), (1,), np.float32)

    assert_found(type("Broken", (Walks,), {"env": Wide})(), "must share one action_space", "the first has Box(")


@pytest.mark.parametrize(
    ("name", "space", "message"),
    [
        ("action_space", gym.spaces.Text(3), "Discrete, MultiDiscrete or MultiBinary as its action space, got Text"),
        ("action_space", gym.spaces.Box(-np.inf, np.inf, (1,)), "PEARL needs an action space with finite bounds"),
        ("observation_space", gym.spaces.Text(3), "PEARL cannot read the observation space Text"),
    ],
)
def test_spaces_that_pearl_does_not_support_are_found(name, space, message):
    assert_found(type("Broken", (Walks,), {"env": type("Odd", (Walk,), {name: space})})(), message)


def test_a_missing_time_limit_is_found():
    endless = {"make_env": lambda self, task, *, render_mode=None: Walk(task.params["goal"])}
    assert_found(type("Endless", (Walks,), endless)(), "has no time limit", "gymnasium.wrappers.TimeLimit")


def test_a_time_limit_that_is_declared_but_not_kept_is_found():
    class Claimed(Walks):
        def make_env(self, task, *, render_mode=None):
            env = Walk(task.params["goal"])
            env.spec = gym.envs.registration.EnvSpec("test/Walk-v0", max_episode_steps=HORIZON)
            return env

    assert_found(Claimed(), "went past its time limit of 5 steps without truncation")


def test_termination_in_place_of_truncation_is_found():
    class Ending(Walk):
        def step(self, action):
            observation, reward, _, _, info = super().step(action)
            return observation, reward, self.steps == HORIZON, False, info

    broken = type("Broken", (Walks,), {"env": Ending})
    assert_found(broken(), "terminated just at its time limit", "truncated=True")
    broken.horizon = HORIZON + 1
    check_task_distribution(broken())


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (np.zeros(1, np.float32), "reset must return (observation, info)"),
        ((np.zeros(1, np.float32), None), "reset must return (observation, info) with a dictionary"),
        ((np.zeros(2, np.float32), {}), "The observation that reset returned for task (goal="),
        ((np.zeros(1, np.float64), {}), "is not in the observation space Box(-inf, inf, (1,), float32)"),
        ((np.array([np.nan], np.float32), {}), "it must be finite"),
    ],
)
def test_a_broken_reset_is_found(returned, message):
    odd = type("Odd", (Walk,), {"reset": lambda self, *, seed=None, options=None: returned})
    assert_found(type("Broken", (Walks,), {"env": odd})(), message)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({0: np.zeros(2, np.float32)}, "The observation that step returned for task (goal="),
        ({1: float("nan")}, "reward must be a finite number, got nan"),
        ({1: np.zeros(1)}, "reward must be a finite number, got array([0.])"),
        ({1: None}, "reward must be a finite number, got None"),
        ({2: 0}, "terminated must be True or False, got 0"),
        ({4: []}, "step must return a dictionary as info, got []"),
        ({4: {"training_reward": float("inf")}}, "info['training_reward'] must be a finite number, got inf"),
    ],
)
def test_a_broken_step_is_found(changed, message):
    def step(self, action):
        step = Walk.step(self, action)
        return tuple(changed.get(i, value) for i, value in enumerate(step))

    assert_found(type("Broken", (Walks,), {"env": type("Odd", (Walk,), {"step": step})})(), message)


def test_the_old_step_of_four_values_is_found():
    class Old(Walks):
        def make_env(self, task, *, render_mode=None):
            env = Walk(task.params["goal"])
            env.step = lambda action: (np.zeros(1, np.float32), 0.0, False, {})
            env.spec = gym.envs.registration.EnvSpec("test/Walk-v0", max_episode_steps=HORIZON)
            return env

    assert_found(Old(), "step must return (observation, reward, terminated, truncated, info)")


def test_a_step_that_fails_is_found_with_its_error():
    def step(self, action):
        raise RuntimeError("simulator lost")

    broken = type("Broken", (Walks,), {"env": type("Odd", (Walk,), {"step": step})})
    assert_found(broken(), "step of task (goal=", "raised RuntimeError: simulator lost")


def test_draws_from_elsewhere_than_the_environments_generator_are_found():
    def reset(self, *, seed=None, options=None):
        Walk.reset(self, seed=seed)
        self.position = np.random.default_rng().uniform(-1, 1, 1).astype(np.float32)
        return self.position.copy(), {}

    broken = type("Broken", (Walks,), {"env": type("Odd", (Walk,), {"reset": reset})})
    assert_found(broken(), "is not deterministic: after reset(seed=0)", "self.np_random")


def test_tasks_that_all_behave_the_same_are_found():
    class Ignoring(Walks):
        def make_env(self, task, *, render_mode=None):
            return gym.wrappers.TimeLimit(Walk(0.0), HORIZON)

    assert_found(Ignoring(), "All 4 tasks behaved the same", "may not apply the task's parameters")


def test_tasks_that_differ_in_the_training_reward_alone_pass():
    class Sparse(Walk):
        def step(self, action):
            observation, reward, terminated, truncated, _ = super().step(action)
            return observation, 0.0, terminated, truncated, {"training_reward": reward}

    check_task_distribution(type("Sparsely", (Walks,), {"env": Sparse})())


class Locked(Walk):
    """Pays for nothing but full steps forward, which random actions all but never are."""

    def step(self, action):
        observation, reward, terminated, truncated, info = super().step(action)
        return observation, reward * float(action[0] == 1.0), terminated, truncated, info


def test_tasks_that_random_actions_cannot_tell_apart_pass_with_a_policy_that_can():
    locked = type("Locks", (Walks,), {"env": Locked})()
    assert_found(locked, "All 4 tasks behaved the same", "give a policy that meets them")
    seen = []

    def forward(observation):
        seen.append(observation)
        return [1.0]

    check_task_distribution(locked, policy=forward)
    assert all(observation.shape == (1,) for observation in seen)


def vectorised(tasks, mode=AutoresetMode.DISABLED):
    return SyncVectorEnv([lambda task=task: Walks().make_env(task) for task in tasks], autoreset_mode=mode)


class Clumsy(SyncVectorEnv):
    def reset(self, *, seed=None, options=None):
        return super().reset(seed=seed)


@pytest.mark.parametrize(
    ("make_vec_env", "message"),
    [
        (lambda self, tasks: Walk(0.0), "must return a gymnasium.vector.VectorEnv"),
        (lambda self, tasks: vectorised(tasks[:2]), "must build one environment per task, 4, got 2"),
        (lambda self, tasks: vectorised(tasks, AutoresetMode.NEXT_STEP), "must use AutoresetMode.DISABLED"),
        (lambda self, tasks: make("point-robot").make_vec_env(make("point-robot").sample(4, np.random.default_rng(0))),
         "make_vec_env's single_observation_space is Box(-inf, inf, (2,), float32)"),
        (lambda self, tasks: Clumsy([lambda: Walks().make_env(tasks[0])] * 4, autoreset_mode=AutoresetMode.DISABLED),
         "must reset alone"),
        (lambda self, tasks: tasks[9], "make_vec_env(tasks) raised IndexError"),
    ],
)  # fmt: skip
def test_a_broken_vector_environment_is_found(make_vec_env, message):
    assert_found(type("Broken", (Walks,), {"make_vec_env": make_vec_env})(), message)


class Relabelling(Walks):
    factor = 1.0
    keep = (Ellipsis,)

    def relabel(self, tasks, observation, action, next_observation):
        goal = np.array([[task.params["goal"]] for task in tasks], np.float32)
        reward = -np.abs(next_observation[..., 0] - goal)
        return reward[self.keep], (self.factor * reward)[self.keep]


def test_relabelling_that_reproduces_the_rewards_passes():
    check_task_distribution(Relabelling())


def test_relabelling_with_other_rewards_or_shapes_is_found():
    wrong, flat = Relabelling(), Relabelling()
    wrong.factor, flat.keep = 1.1, (0,)
    assert_found(wrong, "relabel must reproduce the environment's training reward", "they differ by up to")
    assert_found(flat, "relabel must return each reward as (task, step), (1, 5), got (5,)")
