"""Rand-params: the tasks' factors reach the MuJoCo models, stay there, and make the robots move differently."""

import math
import os
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

pytest.importorskip("mujoco")

from pearl.tasks.distribution import Task
from pearl.tasks.families.mujoco import FACTOR_BASES, HopperRandParams
from pearl.tasks.families.mujoco_envs import HopperRandParamsEnv
from tests.support.tasks.mujoco_families import RAND_PARAMS, tasks_of


@pytest.mark.parametrize("family", RAND_PARAMS)
def test_parameters_differ_between_tasks_by_the_tasks_factors_and_survive_a_reset(family):
    nominal = gym.make(family._id).unwrapped.model
    found = []
    for task in tasks_of(family, 2):
        env = family().make_env(task)
        for _ in range(2):
            env.reset()
            env.step(env.action_space.sample())
            model = env.unwrapped.model
            for name in FACTOR_BASES:
                before, after = getattr(nominal, name), getattr(model, name)
                scaled = before != 0
                assert after[scaled] == pytest.approx(before[scaled] * np.array(task.params[name]))
                assert not after[~scaled].any()
        assert model.body_subtreemass[0] == pytest.approx(model.body_mass.sum()), "derived quantities follow"
        found.append({name: getattr(model, name).copy() for name in FACTOR_BASES})
    for name in FACTOR_BASES:
        assert not np.allclose(found[0][name], found[1][name])


@pytest.mark.parametrize("family", RAND_PARAMS)
def test_other_parameters_move_the_robot_elsewhere(family):
    ends = []
    for task in tasks_of(family, 2):
        env = family().make_env(task)
        start, _ = env.reset(seed=0)
        for _ in range(5):
            observation, *_ = env.step(np.ones(env.action_space.shape, np.float32))
        ends.append((start, observation))
    assert np.array_equal(ends[0][0], ends[1][0])
    assert not np.allclose(ends[0][1], ends[1][1])


def test_factors_are_log_uniform():
    tasks = tasks_of(HopperRandParams, 200)
    for name, base in FACTOR_BASES.items():
        exponents = np.log(np.concatenate([task.params[name] for task in tasks])) / math.log(base)
        assert np.abs(exponents).max() <= 3
        counts = np.histogram(exponents, bins=4, range=(-3, 3))[0]
        assert counts / len(exponents) == pytest.approx([0.25] * 4, abs=0.06)


@pytest.mark.parametrize("change", [{"body_mass": [1.0]}, {"body_mass": [-1.0] * 4}, {"colour": [1.0]}])
def test_factors_that_do_not_fit_the_model_are_an_error(change):
    factors = {**tasks_of(HopperRandParams, 1)[0].to_json(), **change}
    with pytest.raises(ValueError, match=r"takes 4 positive factors|There must be factors for body_mass"):
        HopperRandParams().make_env(Task(factors))


def test_environments_that_were_parsed_once_share_nothing_and_move_as_gymnasiums_own():
    one, other = HopperRandParamsEnv(), HopperRandParamsEnv()
    parsed = gym.make("Hopper-v5").unwrapped
    one.model.body_mass[:] = 1.0
    assert (other.model.body_mass == parsed.model.body_mass).all()
    for env in (other, parsed):
        env.reset(seed=0)
    actions = np.random.default_rng(0).uniform(-1, 1, (50, 3)).astype(np.float32)
    for action in actions:
        assert np.array_equal(other.step(action)[0], parsed.step(action)[0])


def test_a_model_whose_file_has_changed_is_parsed_anew(tmp_path):
    source = Path(HopperRandParamsEnv().fullpath).read_text()
    file = tmp_path / "hopper.xml"
    file.write_text(source)
    before = HopperRandParamsEnv(xml_file=str(file)).model.opt.timestep
    file.write_text(source.replace('timestep="0.002"', 'timestep="0.001"'))
    os.utime(file, ns=(0, 0))
    assert HopperRandParamsEnv(xml_file=str(file)).model.opt.timestep == before / 2
