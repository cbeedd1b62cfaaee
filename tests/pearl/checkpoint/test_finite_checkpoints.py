"""No checkpoint holds a weight, or what learning goes on from, that is not finite: it is neither written nor read."""

import pytest
import torch

from pearl import CheckpointError, NonFiniteError
from tests.support.checkpoint.forgeries import rewrite
from tests.support.small import INITIAL, ITERATION, differences, everything_learnt, files_of, load, small_model

WEIGHT = "actor.network.0.weight"


@pytest.fixture(name="model")
def trained_model():
    return small_model().learn(INITIAL + ITERATION)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_model_whose_weights_are_not_finite_is_not_saved_and_the_last_checkpoint_stands(model, tmp_path, value):
    model.save(tmp_path)
    learnt, files = everything_learnt(model), files_of(tmp_path)
    with torch.no_grad():
        model.agent.get_parameter(WEIGHT)[0, 1] = value
    for training_state in (True, False):
        with pytest.raises(NonFiniteError, match=rf"'{WEIGHT}' of the weights holds 1 NaN or infinite numbers of \d+"):
            model.save(tmp_path, training_state=training_state)
    assert files_of(tmp_path) == files
    assert differences(everything_learnt(load(tmp_path)), learnt) == []


def test_an_optimizer_that_is_not_finite_is_not_saved(model, tmp_path):
    next(iter(model.agent.optimizer.state.values()))["exp_avg"].fill_(float("nan"))
    with pytest.raises(NonFiniteError, match=r"'0\.exp_avg' of the optimizers"):
        model.save(tmp_path / "folder")
    assert not (tmp_path / "folder").exists()


@pytest.mark.parametrize(
    ("group", "tensor"),
    [("weights", WEIGHT), ("optimizers", "0.exp_avg"), ("optimizers", "0.step"), ("replay", "store")],
)
@pytest.mark.parametrize("value", [float("nan"), -float("inf")])
def test_a_checkpoint_that_is_not_finite_is_refused_by_its_file_and_tensor(model, tmp_path, group, tensor, value):
    model.save(tmp_path)
    rewrite(tmp_path, lambda groups, document: groups[group][tensor].view(-1)[0].fill_(value))
    with pytest.raises(CheckpointError, match=rf"{group}-\d+\.safetensors: '{tensor}' of the {group} holds 1 NaN"):
        load(tmp_path)


@pytest.mark.parametrize(("tensor", "value"), [("0.step", 1.5), ("0.step", -1.0), ("0.exp_avg_sq", -1.0)])
def test_an_optimizers_state_that_no_steps_lead_to_is_refused(model, tmp_path, tensor, value):
    model.save(tmp_path)
    rewrite(tmp_path, lambda groups, document: groups["optimizers"][tensor].view(-1)[0].fill_(value))
    with pytest.raises(CheckpointError, match=rf"'{tensor}'"):
        load(tmp_path)


def test_a_temperature_of_zero_is_saved_and_loaded_though_its_logarithm_is_not_finite(tmp_path):
    model = small_model(agent={"temperature": 0.0}).learn(INITIAL + ITERATION)
    model.save(tmp_path)
    assert differences(everything_learnt(load(tmp_path)), everything_learnt(model)) == []
    other = small_model(agent={"temperature": 0.1})
    with torch.no_grad():
        other.agent.log_temperature.fill_(-float("inf"))
    with pytest.raises(NonFiniteError, match="'log_temperature'"):
        other.save(tmp_path)
