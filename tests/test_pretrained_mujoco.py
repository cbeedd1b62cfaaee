"""What the pretrained half cheetahs and the ant can do, straight from a clone."""

import numpy as np
import pytest

pytest.importorskip("mujoco")

import pearl
from pearl.studies.probes import OtherZ
from tests.support.processes import ROOT

PRETRAINED = ROOT / "pretrained"
# Mean return of the last episode that an agent keeps to with room to spare, and of what it gets without its z.
ADAPTED = {"cheetah-vel": -60.0, "cheetah-dir": 850.0, "ant-forward-backward": 550.0}
UNADAPTED = {"cheetah-vel": -150.0, "cheetah-dir": 250.0, "ant-forward-backward": 100.0}


@pytest.fixture(scope="module", params=sorted(ADAPTED))
def model(request):
    return pearl.load(PRETRAINED / request.param)


def test_it_adapts_after_two_episodes(model):
    returns = model.evaluate().returns
    assert returns[:, 0].mean() < UNADAPTED[model.family]
    assert returns[:, -1].mean() > ADAPTED[model.family]


def test_without_its_z_it_fails(model):
    evaluation = model.evaluate(agent=OtherZ(model.agent, lambda z: z.roll(1, 0)))
    assert evaluation.returns[:, -1].mean() < UNADAPTED[model.family]


def test_an_adapted_cheetah_runs_at_the_velocity_it_was_never_told():
    model = pearl.load(PRETRAINED / "cheetah-vel")
    for velocity in (0.6, 1.7, 2.6):
        env = model.task_distribution.make_env(pearl.Task({"velocity": velocity}))
        policy = model.adapt(env, episodes=2, seed=0)
        observation, _ = env.reset(seed=0)
        reached = []
        for _ in range(200):
            action, _ = policy.predict(observation, deterministic=True)
            observation, _, _, _, info = env.step(action)
            reached.append(info["x_velocity"])
        assert np.mean(reached[100:]) == pytest.approx(velocity, abs=0.35)
