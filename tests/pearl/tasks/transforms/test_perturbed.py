"""Task distributions made from an environment's own attributes."""

import json
import pickle

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from pearl import PEARL, Task
from pearl.tasks.check.distribution import check_task_distribution
from pearl.tasks.samplers import Categorical, LogUniform, Scale, Uniform
from pearl.tasks.transforms.perturbation import Perturbed, perturbed
from tests.support.small import small_config

PENDULUM = {"g": Uniform(5.0, 15.0), "m": LogUniform(0.5, 2.0)}


class Cart(gym.Env):
    """The speed limit follows from the power; a reset sets the wind; the arm is given in centimetres."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = gym.spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, power=1.0, arm=50.0, render_mode=None):
        self.power, self.limit = power, 3 * power
        self.arm = arm / 100
        self.wind = 0.0
        self.drag = np.array([0.5, 0.25])
        self.brakes = True
        self.position = np.zeros(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.wind = 0.0
        self.position = np.zeros(2)
        return self.position.astype(np.float32), {}

    def step(self, action):
        self.position = self.position + np.minimum(self.power * action[0], self.limit) - self.drag
        self.drag *= 0.9
        return self.position.astype(np.float32), 0.0, False, False, {}


gym.register("test/Cart-v0", Cart, max_episode_steps=10)
gym.register("test/EndlessCart-v0", Cart)


def first_task(family):
    return family.sample(1, np.random.default_rng(0))[0]


def trajectory(env, steps=20):
    observation, _ = env.reset(seed=0)
    rng = np.random.default_rng(0)
    space = env.action_space
    return np.array([observation, *(env.step(rng.uniform(space.low, space.high))[0] for _ in range(steps))])


def test_tasks_name_the_attributes_and_stay_in_their_ranges():
    tasks = perturbed("Pendulum-v1", PENDULUM).sample(50, np.random.default_rng(0))
    assert len(set(tasks)) == 50
    for task in tasks:
        assert 5 <= task.params["g"] <= 15
        assert 0.5 <= task.params["m"] <= 2
        assert Task(json.loads(json.dumps(task.to_json()))) == task


def test_the_same_generator_state_gives_the_same_tasks():
    family = perturbed("Pendulum-v1", PENDULUM)
    one, same, other = (family.sample(5, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert one == same
    assert one != other


def test_attributes_differ_between_tasks_and_survive_resets():
    family = perturbed("Pendulum-v1", PENDULUM)
    tasks = family.sample(3, np.random.default_rng(0))
    for task in tasks:
        env = family.make_env(task)
        for _ in range(3):
            assert (env.unwrapped.g, env.unwrapped.m) == (task.params["g"], task.params["m"])
            env.reset()
            env.step(env.action_space.sample())


def test_a_value_that_was_overwritten_is_back_after_the_next_reset():
    env = perturbed("Pendulum-v1", {"m": Uniform(2, 3)}).make_env(Task({"m": 2.5}))
    env.unwrapped.m = 1.0
    env.reset()
    assert env.unwrapped.m == 2.5


def test_tasks_have_other_dynamics_and_the_environments_own_values_give_its_own():
    family = perturbed("Pendulum-v1", PENDULUM)
    own = trajectory(gym.make("Pendulum-v1"))
    assert np.array_equal(trajectory(family.make_env(Task({"g": 10.0, "m": 1.0}))), own)
    assert not np.allclose(trajectory(family.make_env(Task({"g": 5.0, "m": 1.0}))), own)
    assert not np.allclose(trajectory(family.make_env(Task({"g": 10.0, "m": 2.0}))), own)


def test_tasks_step_together_each_with_its_own_values():
    family = perturbed("Pendulum-v1", PENDULUM)
    tasks = family.sample(3, np.random.default_rng(0))
    envs = family.make_vec_env(tasks)
    assert envs.metadata["autoreset_mode"] is AutoresetMode.DISABLED
    envs.reset(seed=0)
    envs.reset(options={"reset_mask": np.array([True, False, True])})
    assert list(envs.get_attr("m")) == [task.params["m"] for task in tasks]


def test_the_values_that_cartpole_derives_follow():
    family = perturbed("CartPole-v1", {"masspole": Uniform(0.2, 1.0), "length": Scale(Uniform(2.0, 3.0))})
    env = family.make_env(Task({"masspole": 0.4, "length": 2.0})).unwrapped
    env.reset()
    assert (env.masspole, env.length) == (0.4, 1.0)
    assert env.total_mass == pytest.approx(1.4)
    assert env.polemass_length == pytest.approx(0.4)


def test_a_derived_value_that_is_varied_itself_is_not_recomputed():
    family = perturbed("CartPole-v1", {"masscart": Uniform(1, 2), "total_mass": Uniform(1, 2)})
    assert family.make_env(Task({"masscart": 1.5, "total_mass": 1.25})).unwrapped.total_mass == 1.25


def test_what_a_constructor_derives_from_its_argument_follows():
    env = perturbed("test/Cart-v0", {"power": Uniform(1, 4)}).make_env(Task({"power": 2.0}))
    assert (env.unwrapped.power, env.unwrapped.limit) == (2.0, 6.0)


def test_an_argument_in_another_unit_than_its_attribute_is_left_alone():
    env = perturbed("test/Cart-v0", {"arm": Uniform(0.1, 1)}).make_env(Task({"arm": 0.2}))
    env.reset()
    assert env.unwrapped.arm == 0.2


def test_a_scale_multiplies_the_environments_own_value_and_does_not_compound():
    family = perturbed("test/Cart-v0", {"drag": Scale(Uniform(0.5, 3.0))})
    env = family.make_env(Task({"drag": 2.0}))
    for _ in range(3):
        env.reset()
        assert env.unwrapped.drag.tolist() == [1.0, 0.5]
        env.step(np.zeros(1, np.float32))
        assert env.unwrapped.drag.tolist() == [0.9, 0.45]
    assert family.make_env(Task({"drag": 2.0})).unwrapped.drag.tolist() == [1.0, 0.5]


def test_a_scale_multiplies_what_make_kwargs_set():
    family = perturbed("test/Cart-v0", {"power": Scale(Uniform(0.5, 3.0))}, make_kwargs={"power": 10.0})
    env = family.make_env(Task({"power": 2.0})).unwrapped
    assert (env.power, env.limit) == (20.0, 60.0)


def test_arrays_strings_and_booleans_take_values_of_their_kind():
    family = perturbed("test/Cart-v0", {"drag": Categorical([[0.1, 0.2]]), "brakes": Categorical([False])})
    env = family.make_env(first_task(family)).unwrapped
    assert env.drag.tolist() == [0.1, 0.2]
    assert env.brakes is False
    family = perturbed("CartPole-v1", {"kinematics_integrator": Categorical(["semi-implicit"])})
    assert family.make_env(first_task(family)).unwrapped.kinematics_integrator == "semi-implicit"


@pytest.mark.parametrize(
    ("env_id", "path", "message"),
    [
        ("Pendulum-v1", "gg", "PendulumEnv has no attribute 'gg'. Did you mean 'g'"),
        ("CartPole-v1", "masspol", "Did you mean 'masspole'"),
        ("Acrobot-v1", "link_mass1", "Did you mean 'LINK_MASS_1'"),
        ("Pendulum-v1", "viscosity", "Its own numbers: dt, g, l, m, max_speed"),
        ("Pendulum-v1", "model.body_mass", "PendulumEnv has no attribute 'model.body_mass'"),
    ],
)
def test_a_misspelt_attribute_is_an_error_that_names_the_close_ones(env_id, path, message):
    with pytest.raises(AttributeError) as caught:
        perturbed(env_id, {path: Uniform(1, 2)})
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("path", "sampler", "error", "message"),
    [
        ("wind", Uniform(1, 2), ValueError, "A reset of test/Cart-v0 overwrites 'wind'"),
        ("np_random", Uniform(1, 2), TypeError, "only numbers, arrays of numbers, strings and booleans can be varied"),
        ("drag", Uniform(1, 2), ValueError, r"array of the shape \(2,\).*multiply the whole array: Scale"),
        ("power", Categorical([[1.0]]), TypeError, r"'power' of test/Cart-v0 is 1.0, a task cannot make it \[1.0\]"),
        ("power", Categorical([True]), TypeError, "a task cannot make it True"),
        ("brakes", Uniform(1, 2), TypeError, "'brakes' of test/Cart-v0 is True, a task cannot make it"),
        ("brakes", Scale(Uniform(1, 2)), TypeError, "which a Scale cannot multiply"),
        ("power", (5, 15), TypeError, r"'power' needs a sampler \(Uniform, .*got \(5, 15\)"),
    ],
)
def test_what_cannot_be_varied_is_an_error_that_says_why(path, sampler, error, message):
    with pytest.raises(error, match=message):
        perturbed("test/Cart-v0", {path: sampler})


def test_an_environment_without_a_time_limit_asks_for_one():
    with pytest.raises(ValueError, match=r"EndlessCart-v0 has no time limit.*Pass max_episode_steps"):
        perturbed("test/EndlessCart-v0", {"power": Uniform(1, 2)})
    family = perturbed("test/EndlessCart-v0", {"power": Uniform(1, 2)}, max_episode_steps=7)
    env = family.make_env(first_task(family))
    env.reset(seed=0)
    assert [env.step(np.zeros(1, np.float32))[3] for _ in range(7)] == [False] * 6 + [True]
    assert env.spec.max_episode_steps == 7


def test_fixed_tasks_are_drawn_without_replacement():
    tasks = [{"g": 9.0}, {"g": 10.0}, {"g": 11.0}]
    family = perturbed("Pendulum-v1", tasks=tasks)
    drawn = family.sample(3, np.random.default_rng(0))
    assert set(drawn) == {Task(task) for task in tasks}
    assert family.make_env(Task({"g": 9.0})).unwrapped.g == 9.0
    with pytest.raises(ValueError, match="has 3 fixed tasks, asked for 4"):
        family.sample(4, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ([], "must not be empty"),
        ([{}], "must not be empty"),
        ([{"g": 9.0}, {"m": 1.0}], "needs the same parameters"),
        ([{"g": 9.0}, {"g": 10.0}, {"g": 9.0}], r"must differ, got \(g=9\) more than once"),
    ],
)
def test_fixed_tasks_that_make_no_set_are_an_error(tasks, message):
    with pytest.raises(ValueError, match=message):
        perturbed("Pendulum-v1", tasks=tasks)


def test_every_fixed_task_is_checked_when_the_family_is_made():
    with pytest.raises(TypeError, match=r"'g' of Pendulum-v1 is 10.0, a task cannot make it 'heavy'"):
        perturbed("Pendulum-v1", tasks=[{"g": 9.0}, {"g": "heavy"}])


def test_samplers_and_fixed_tasks_exclude_each_other_and_one_is_needed():
    for arguments in ({}, {"parameters": PENDULUM, "tasks": [{"g": 9.0}]}):
        with pytest.raises(ValueError, match="Give either samplers"):
            perturbed("Pendulum-v1", **arguments)
    with pytest.raises(ValueError, match="At least one attribute must vary"):
        perturbed("Pendulum-v1", {})


def test_a_task_of_another_family_is_an_error():
    with pytest.raises(ValueError, match=r"has the parameters \['g', 'm'\], got \['g'\]"):
        perturbed("Pendulum-v1", PENDULUM).make_env(Task({"g": 9.0}))


def test_the_family_is_named_after_its_environment_unless_named():
    assert perturbed("Pendulum-v1", PENDULUM).name == "perturbed-Pendulum-v1"
    assert perturbed("Pendulum-v1", PENDULUM, name="moons").name == "moons"


def test_the_family_can_be_pickled_for_other_processes():
    family = pickle.loads(pickle.dumps(perturbed("Pendulum-v1", PENDULUM)))
    assert isinstance(family, Perturbed)
    assert family.make_env(Task({"g": 9.0, "m": 1.5})).unwrapped.m == 1.5


def test_environments_can_be_rendered():
    env = perturbed("Pendulum-v1", PENDULUM).make_env(Task({"g": 9.0, "m": 1.5}), render_mode="rgb_array")
    assert env.render_mode == "rgb_array"


def test_the_checker_passes_a_perturbed_environment():
    check_task_distribution(perturbed("Pendulum-v1", PENDULUM, max_episode_steps=20))
    check_task_distribution(perturbed("Pendulum-v1", tasks=[{"m": 0.5}, {"m": 2.0}], max_episode_steps=20), n_tasks=2)


def test_pearl_meta_trains_on_a_perturbed_environment():
    model = PEARL(perturbed("Pendulum-v1", PENDULUM, max_episode_steps=5), small_config())
    model.learn(80)
    assert model.num_timesteps >= 80
    assert model.training.gradient_steps > 0
    assert model.horizon == 5


class TestMujoco:
    @pytest.fixture(autouse=True)
    def needs_mujoco(self):
        pytest.importorskip("mujoco")

    @pytest.fixture(scope="class")
    @staticmethod
    def family():
        pytest.importorskip("mujoco")
        parameters = {"model.body_mass": Scale(LogUniform(0.5, 2.0)), "model.opt.timestep": Uniform(0.005, 0.01)}
        return perturbed("InvertedPendulum-v5", parameters)

    def test_one_factor_multiplies_every_element_and_does_not_compound(self, family):
        own = gym.make("InvertedPendulum-v5").unwrapped.model.body_mass.copy()
        env = family.make_env(Task({"model.body_mass": 1.5, "model.opt.timestep": 0.01}))
        for _ in range(3):
            env.reset()
            assert np.array_equal(env.unwrapped.model.body_mass, 1.5 * own)
            assert env.unwrapped.model.opt.timestep == 0.01

    def test_the_constants_that_mujoco_derives_follow(self, family):
        own = gym.make("InvertedPendulum-v5").unwrapped.model.body_subtreemass.copy()
        env = family.make_env(Task({"model.body_mass": 2.0, "model.opt.timestep": 0.01}))
        assert np.allclose(env.unwrapped.model.body_subtreemass, 2 * own)

    def test_the_environments_own_values_give_its_own_dynamics_and_others_do_not(self, family):
        bare = gym.make("InvertedPendulum-v5")
        timestep = bare.unwrapped.model.opt.timestep
        own = trajectory(bare)
        same = family.make_env(Task({"model.body_mass": 1.0, "model.opt.timestep": timestep}))
        heavy = family.make_env(Task({"model.body_mass": 2.0, "model.opt.timestep": timestep}))
        assert np.array_equal(trajectory(same), own)
        assert not np.allclose(trajectory(heavy), own)

    @pytest.mark.parametrize(
        ("path", "message"),
        [
            ("body_mass", "Did you mean 'model.body_mass'"),
            ("model.opt.gravty", "Did you mean 'model.opt.gravity'"),
            ("dt", "An attribute of InvertedPendulum-v5 cannot be set"),
        ],
    )
    @pytest.mark.usefixtures("family")
    def test_what_the_model_lacks_or_computes_is_an_error(self, path, message):
        with pytest.raises(AttributeError, match=message):
            perturbed("InvertedPendulum-v5", {path: Uniform(1, 2)})

    def test_a_constant_that_is_varied_itself_is_not_recomputed(self):
        parameters = {"model.body_mass": Scale(Uniform(0.5, 2)), "model.body_subtreemass": Scale(Uniform(0.5, 2))}
        family = perturbed("InvertedPendulum-v5", parameters)
        own = gym.make("InvertedPendulum-v5").unwrapped.model.body_subtreemass.copy()
        env = family.make_env(Task({"model.body_mass": 1.0, "model.body_subtreemass": 1.5}))
        env.reset()
        assert np.allclose(env.unwrapped.model.body_subtreemass, 1.5 * own)
