"""What the pretrained robot arm can do, straight from a clone."""

import pytest

pytest.importorskip("metaworld")

import pearl
from pearl.studies.probes import OtherZ
from tests.support.processes import ROOT

PRETRAINED = ROOT / "pretrained"


@pytest.fixture(scope="module")
def model():
    return pearl.load(PRETRAINED / "ml1-reach-v3")


def test_it_finds_goals_that_it_was_never_told(model):
    evaluation = model.evaluate()
    assert set(model.test_tasks).isdisjoint(model.train_tasks)
    assert evaluation.return_per_episode[0] < 1500.0
    assert evaluation.return_per_episode[-1] > 1750.0
    assert evaluation.success_per_episode[-1] >= 0.7
    assert evaluation.success_per_episode[-1] > evaluation.success_per_episode[0] + 0.3


def test_with_another_tasks_z_it_goes_elsewhere(model):
    evaluation = model.evaluate(agent=OtherZ(model.agent, lambda z: z.roll(1, 0)))
    assert evaluation.return_per_episode[-1] < 1500.0
