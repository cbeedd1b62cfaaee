import math

import pytest
import torch

from pearl.checkpoint.optimizer_state import load_optimizer_tensors, optimizer_tensors
from pearl.checkpoint.store import read_checkpoint, write_checkpoint

OPTIMIZERS = {
    "Adam": lambda parameters: torch.optim.Adam(parameters, lr=3e-4),
    "fused Adam": lambda parameters: torch.optim.Adam(parameters, lr=3e-4, fused=True),
    "foreach Adam": lambda parameters: torch.optim.Adam(parameters, lr=3e-4, foreach=True),
    "amsgrad": lambda parameters: torch.optim.Adam(parameters, lr=3e-4, amsgrad=True),
    "AdamW": lambda parameters: torch.optim.AdamW(parameters, lr=3e-4),
    "SGD": lambda parameters: torch.optim.SGD(parameters, lr=3e-4),
    "SGD with momentum": lambda parameters: torch.optim.SGD(parameters, lr=3e-4, momentum=0.9),
}


def network(width=8):
    generator = torch.Generator().manual_seed(0)
    layers = torch.nn.Sequential(torch.nn.Linear(4, width), torch.nn.Tanh(), torch.nn.Linear(width, 1))
    with torch.no_grad():
        for parameter in layers.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return layers


def train(layers, optimizer, steps, schedule=False):
    for step in steps:
        inputs = torch.randn(16, 4, generator=torch.Generator().manual_seed(step))
        loss = (layers(inputs) - inputs.sum(1, keepdim=True)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if schedule:
            optimizer.param_groups[0]["lr"] *= 0.9


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS.keys())
def test_steps_then_save_and_load_then_steps_equal_all_steps_bit_for_bit(tmp_path, make):
    unbroken = network()
    optimizer = make(unbroken.parameters())
    train(unbroken, optimizer, range(10), schedule=True)

    first = network()
    optimizer = make(first.parameters())
    train(first, optimizer, range(5), schedule=True)
    groups = {"weights": first.state_dict(), "optimizers": optimizer_tensors(optimizer)}
    write_checkpoint(tmp_path, groups, {})

    found = read_checkpoint(tmp_path).groups
    resumed = network()
    resumed.load_state_dict(found["weights"])
    optimizer = make(resumed.parameters())
    load_optimizer_tensors(optimizer, found["optimizers"])
    train(resumed, optimizer, range(5, 10), schedule=True)
    for expected, parameter in zip(unbroken.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(expected, parameter)


def adam(layers, steps=0, **options):
    optimizer = torch.optim.Adam(layers.parameters(), **options)
    train(layers, optimizer, range(steps))
    return optimizer


def test_names_count_parameters_through_all_groups():
    layers = network()
    optimizer = torch.optim.Adam([{"params": layers[0].parameters()}, {"params": layers[2].parameters(), "lr": 0.5}])
    train(layers, optimizer, range(2))
    tensors = optimizer_tensors(optimizer)
    names = {f"{index}.{name}" for index in range(4) for name in ("step", "exp_avg", "exp_avg_sq")}
    assert set(tensors) == names | {"lr.0", "lr.1"}
    assert tensors["3.exp_avg"].shape == layers[2].bias.shape
    assert tensors["0.step"] == 2
    assert tensors["lr.1"].item() == 0.5


def test_a_learning_rate_changed_by_a_schedule_is_restored_to_the_last_bit():
    optimizer = adam(network(), 1)
    optimizer.param_groups[0]["lr"] = math.pi * 1e-4
    fresh = adam(network())
    load_optimizer_tensors(fresh, optimizer_tensors(optimizer))
    assert fresh.param_groups[0]["lr"] == math.pi * 1e-4


def test_an_optimizer_that_took_no_step_yet_is_restored_to_that():
    stepped = adam(network(), 3)
    load_optimizer_tensors(stepped, optimizer_tensors(adam(network())))
    assert not stepped.state_dict()["state"]


def test_a_parameter_that_never_had_a_gradient_has_no_state_after_loading_either():
    layers = network()
    layers[0].bias.requires_grad_(False)
    fresh = adam(network())
    load_optimizer_tensors(fresh, optimizer_tensors(adam(layers, 1)))
    assert sorted(fresh.state_dict()["state"]) == [0, 2, 3]


def test_loaded_tensors_are_copies():
    tensors = {name: tensor.clone() for name, tensor in optimizer_tensors(adam(network(), 1)).items()}
    before = {name: tensor.clone() for name, tensor in tensors.items()}
    layers = network()
    optimizer = adam(layers)
    load_optimizer_tensors(optimizer, tensors)
    train(layers, optimizer, range(3))
    assert all(torch.equal(tensors[name], before[name]) for name in tensors)


def changed(tensors, **changes):
    return {**tensors, **changes}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"1.exp_avg": torch.zeros(7)}, r"'1.exp_avg' is torch.float32 \(7,\), expected torch.float32 \(8,\)"),
        ({"1.exp_avg": torch.zeros(8).double()}, r"'1.exp_avg' is torch.float64"),
        ({"1.step": torch.zeros(1)}, r"'1.step' is torch.float32 \(1,\), expected torch.float32 \(\)"),
        ({"4.step": torch.tensor(1.0)}, "4 parameters in 1 groups and no place for 4.step"),
        ({"lr.1": torch.tensor(1.0)}, r"no place for lr.1"),
        ({"0.momentum_buffer": torch.zeros(8, 4)}, "no place for 0.momentum_buffer"),
        ({"lr.0": torch.tensor(float("nan"))}, "'lr.0' is nan"),
        ({"lr.0": torch.tensor(-1.0)}, "'lr.0' is -1"),
        ({"lr.0": torch.ones(1)}, "'lr.0' is tensor"),
    ],
)
def test_tensors_that_do_not_fit_are_refused_and_leave_the_optimizer_unchanged(change, message):
    optimizer = adam(network(), 2)
    before = {name: tensor.clone() for name, tensor in optimizer_tensors(optimizer).items()}
    with pytest.raises(ValueError, match=message):
        load_optimizer_tensors(optimizer, {**optimizer_tensors(adam(network(), 1)), **change})
    after = optimizer_tensors(optimizer)
    assert all(torch.equal(after[name], before[name]) for name in before)


@pytest.mark.parametrize("missing", ["lr.0", "0.step", "3.exp_avg_sq"])
def test_a_missing_tensor_is_refused(missing):
    tensors = optimizer_tensors(adam(network(), 1))
    del tensors[missing]
    with pytest.raises(ValueError, match="does not fit this optimizer"):
        load_optimizer_tensors(adam(network()), tensors)


def test_a_network_of_another_width_is_refused():
    with pytest.raises(ValueError, match=r"'0.exp_avg' is torch.float32 \(8, 4\), expected torch.float32 \(9, 4\)"):
        load_optimizer_tensors(adam(network(9)), optimizer_tensors(adam(network(8), 1)))


def test_an_optimizer_whose_state_is_not_known_is_refused():
    optimizer = torch.optim.RMSprop(network().parameters())
    with pytest.raises(ValueError, match="RMSprop; Adam, AdamW and SGD are known"):
        optimizer_tensors(optimizer)
