"""A twin on another device learns what the agent itself would have learnt, and asks its device nothing meanwhile."""

from contextlib import nullcontext
from typing import Any

import pytest
import torch

import pearl
from agents import PEARLAgent
from agents.spaces import is_image
from encoders import static_shapes
from pearl import ConfigError, PEARLConfig
from pearl.checkpoint.store import read_checkpoint
from pearl.model.document import read_document
from pearl.model.loading import _restore
from pearl.replay.transitions import TaskReplay
from pearl.runs.run import resume, saved_config
from pearl.training.learner import TwinLearner, copy_parameters
from tests.support.small import (
    HORIZON,
    INITIAL,
    ITERATION,
    Counting,
    differences,
    everything_learnt,
    small_config,
    small_model,
)
from tests.support.twins import VARIANTS, OneDevice, own_sampler, twin_model, without_autocast

# Single precision in products of other numbers of rows: rounding, and what Adam makes of it where gradients are small.
TOLERANCE = {"rtol": 2e-3, "atol": 2e-5}


def gradients_and_scalars(agent, batch, rng):
    scalars = agent.update(batch, rng)
    gradients = {name: parameter.grad for name, parameter in agent.named_parameters() if parameter.grad is not None}
    return {**scalars, **gradients}


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_step_of_static_shapes_is_the_same_step(variant):
    found = []
    for shapes in (nullcontext, static_shapes):
        model = begun(**VARIANTS[variant])
        rng = torch.Generator().manual_seed(3)
        with shapes():
            found.append(gradients_and_scalars(model.agent, own_sampler(model.training, rng).sample(), rng))
    plain, unasked = found
    assert plain.keys() == unasked.keys()
    for name in plain:
        torch.testing.assert_close(
            unasked[name], plain[name], rtol=1e-4, atol=1e-6, msg=lambda text, name=name: f"{name}: {text}"
        )


def begun(family=None, **sections):
    """A small model that has collected its initial episodes."""
    model = small_model(family, **sections)
    model.training.iterate()
    assert model.training.replay.every_task_has_transitions
    return model


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_twin_learns_what_the_agent_itself_would_with_the_same_draws(variant, monkeypatch):
    model, own = twin_model(monkeypatch, **VARIANTS[variant]), begun(**VARIANTS[variant])
    model.training.iterate()
    copy_parameters(model.agent, own.agent)
    own.training.learner.load_optimizer_state(model.training.learner.optimizer_state())
    state = model.training._learn_rng.get_state()
    found = model.training.learner.learn(5)
    seeds = torch.Generator()
    seeds.set_state(state)
    rng = torch.Generator().manual_seed(int(torch.randint(2**62, (1,), generator=seeds)))
    sampler = own_sampler(own.training, rng)
    expected = [own.agent.update(sampler.sample(), rng) for _ in range(5)]
    for name, value in found.items():
        mean = sum(float(scalars[name]) for scalars in expected) / 5
        assert value == pytest.approx(mean, rel=TOLERANCE["rtol"], abs=TOLERANCE["atol"]), name
    weights = own.agent.state_dict()
    for name, value in model.agent.state_dict().items():
        torch.testing.assert_close(value, weights[name], **TOLERANCE, msg=lambda text, name=name: f"{name}: {text}")
    assert differences(steps_of(own), steps_of(model)) == []


def steps_of(model):
    state = model.training.learner.optimizer_state()
    return {name: value for name, value in state.items() if name.endswith(".step") or name.startswith("lr.")}


def test_the_agent_acts_with_what_its_twin_learnt_from_the_statistics_that_it_collected(monkeypatch):
    model = twin_model(monkeypatch, agent={"observations": {"normalise": True}})
    before = {name: tensor.clone() for name, tensor in model.agent.named_parameters()}
    model.learn(2 * ITERATION)
    assert [name for name, now in model.agent.named_parameters() if torch.equal(before[name], now)] == []
    learner: Any = model.training.learner
    twin = learner._twin
    assert twin is not model.agent
    assert twin.features.count == model.num_timesteps
    shared = {tensor.data_ptr() for tensor in model.agent.state_dict().values() if tensor.numel()}
    assert shared.isdisjoint(tensor.data_ptr() for tensor in twin.state_dict().values())
    assert differences(model.agent.state_dict(), twin.state_dict()) == []


def test_weights_that_are_set_between_iterations_are_learnt_from(monkeypatch):
    model = twin_model(monkeypatch).learn(INITIAL)
    with torch.no_grad():
        model.agent.critics.weights[0].fill_(float("nan"))
    with pytest.raises(pearl.DivergedError, match="actor_loss"):
        model.learn(ITERATION)


@pytest.mark.parametrize("variant", ["linear-Gaussian", "pooled, normalised, recent", "maximum, contrastive, schedule"])
def test_n_steps_saved_and_loaded_and_n_more_equal_2n_bit_for_bit(variant, monkeypatch, tmp_path):
    sections, n = VARIANTS[variant], INITIAL + ITERATION
    unbroken = twin_model(monkeypatch, **sections).learn(2 * n)
    twin_model(monkeypatch, **sections).learn(n).save(tmp_path)
    resumed = twin_model(monkeypatch, **sections)
    restore(resumed, tmp_path, monkeypatch)
    resumed.learn(2 * n - resumed.num_timesteps)
    assert differences(learnt(unbroken), learnt(resumed)) == []
    assert unbroken.training.gradient_steps > 10


def learnt(model):
    found = {name: value for name, value in everything_learnt(model).items() if not name.startswith("optimizers/")}
    return found | {name: tensor.clone() for name, tensor in model.training.learner.optimizer_state().items()}


def restore(model, folder, monkeypatch):
    """Bring a twin's model to where a saved one stood."""
    checkpoint = read_checkpoint(folder)
    _restore(model, checkpoint, read_document(checkpoint.document))


def test_a_checkpoint_knows_nothing_of_the_device_that_learnt(monkeypatch, tmp_path):
    model = twin_model(monkeypatch, agent={"learning_rate": 3e-4}).learn(INITIAL + ITERATION)
    model.save(tmp_path)
    own = pearl.load(tmp_path, distribution=Counting())
    assert differences(learnt(model), learnt(own)) == []
    assert [group["lr"] for group in own.agent.optimizer.param_groups] == [3e-4]
    own.learn(ITERATION)


def learner_without_data(model, monkeypatch):
    """A twin on the meta device, whose tensors have no data: what would read a value, or a shape from one, fails."""
    training, device, cpu_generator = model.training, torch.device("meta"), torch.Generator
    replay = TaskReplay(
        len(training.tasks),
        training.replay.capacity,
        model.agent.observation_dim,
        model.agent.action_dim,
        budget_mb=100,
        images=is_image(model.observation_space),
        device=device,
    )
    replay.n_added.copy_(training.replay.n_added)
    optimizer = torch.optim.SGD([torch.zeros(1)])  # Fused Adam is PyTorch's own affair.
    monkeypatch.setattr(PEARLAgent, "make_optimizer", lambda agent, learning_rate, capturable: optimizer)
    monkeypatch.setattr(torch, "Generator", lambda device=None: cpu_generator())
    return TwinLearner(
        model.agent, lambda rng: own_sampler(training, rng, replay), cpu_generator(), device, captured=False
    )


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_step_asks_its_device_nothing_and_stays_on_it(variant, monkeypatch):
    learner = learner_without_data(begun(**VARIANTS[variant]), monkeypatch)
    with without_autocast(monkeypatch), static_shapes(), OneDevice("meta") as watch:
        learner._step()
        learner._step()
    assert {"randn.generator", "randperm.generator", "index.Tensor", "_foreach_lerp_.Scalar"} <= watch.seen
    assert all(parameter.grad.is_meta for parameter in learner._twin.actor.parameters())


def test_without_static_shapes_a_step_asks(monkeypatch):
    learner = learner_without_data(begun(), monkeypatch)
    with without_autocast(monkeypatch), pytest.raises(RuntimeError, match="meta"):
        learner._step()


def test_before_every_task_has_transitions_a_step_asks(monkeypatch):
    model = begun()
    model.training.replay.n_added[1] = 0
    assert not own_sampler(model.training, torch.Generator()).has_fixed_shapes
    learner = learner_without_data(model, monkeypatch)
    with (
        without_autocast(monkeypatch),
        static_shapes(),
        pytest.raises(RuntimeError, match=r"item\(\) cannot be called on meta"),
    ):
        learner._step()


def test_cuda_without_a_gpu_is_refused_with_what_to_do(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"training\.device is cuda, but PyTorch .* Set training\.device to cpu"):
        small_model(training={"device": "cuda"})


def test_relabelling_needs_the_cpu():
    with pytest.raises(
        ConfigError, match=r"relabelling\.candidates computes rewards on the CPU.*Set training\.device to"
    ):
        small_config(training={"device": "cuda", "relabelling": {"candidates": 2}})


def test_a_model_of_a_gpu_loads_to_act_where_there_is_none(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    model = small_model().learn(INITIAL)
    model.config = small_config(training={"device": "cuda"}).for_tasks(HORIZON)
    model.save(tmp_path)
    with pytest.raises(ConfigError, match=r'pearl\.load\(path, device="cpu"\)'):
        pearl.load(tmp_path, distribution=Counting())
    loaded = pearl.load(tmp_path, distribution=Counting(), device="cpu")
    assert loaded.config == small_config().for_tasks(HORIZON)
    assert differences(everything_learnt(model), everything_learnt(loaded)) == []


def test_a_run_goes_on_without_the_gpu_that_it_began_on(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    model = small_model().learn(INITIAL)
    model.config = small_config(training={"device": "cuda"}).for_tasks(HORIZON)
    model.save(tmp_path / "checkpoint")
    assert saved_config(tmp_path) == model.config
    resumed = resume(tmp_path, config=small_config(), distribution=Counting())
    assert isinstance(resumed.config, PEARLConfig)
    assert resumed.config.training.device == "cpu"
    with pytest.raises(ConfigError, match="finds no NVIDIA GPU"):
        resume(tmp_path, config=model.config, distribution=Counting())


def test_an_unknown_device_is_an_error_that_names_the_known_ones(tmp_path):
    small_model().save(tmp_path)
    with pytest.raises(ConfigError, match=r"^device must be one of 'cpu', 'cuda', got 'mps'"):
        pearl.load(tmp_path, distribution=Counting(), device="mps")


def test_no_gradient_steps_change_nothing(monkeypatch):
    model = twin_model(monkeypatch)
    before = learnt(model)
    assert model.training.learner.learn(0) == {}
    assert differences(before, learnt(model)) == []
