"""A captured step moves on by exactly one step at each call, and on a GPU takes the same steps as the plain one."""

from contextlib import contextmanager, nullcontext
from copy import deepcopy
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import pearl
from agents import MetaBatch
from encoders import static_shapes
from pearl.training.captured_step import WARM_UP, CapturedStep
from pearl.training.learner import TwinLearner
from tests.support.small import INITIAL, ITERATION, LENGTH, Counting, everything_learnt, small_config, small_model
from tests.support.twins import VARIANTS, own_sampler

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")


class Counter:
    """A step that counts itself, and a stand-in for CUDA's graphs: what is captured is not executed until a replay."""

    def __init__(self):
        self.n = 0
        self.log = []

    def step(self):
        self.n += 1

    def patch(self, monkeypatch):
        counter = self

        class Graph:
            def register_generator_state(self, rng):
                counter.log.append(f"register {rng}")

            def replay(self):
                counter.step()
                counter.log.append("replay")

        @contextmanager
        def capture(graph, stream):
            before = counter.n
            yield
            assert counter.n == before + 1
            counter.n = before
            counter.log.append(f"capture on {stream}")

        class Stream:
            def wait_stream(self, other):
                counter.log.append(f"{self} waits for {other}")

            def __repr__(self):
                return "side"

        present = SimpleNamespace(wait_stream=lambda other: counter.log.append(f"present waits for {other}"))
        monkeypatch.setattr(torch.cuda, "Stream", Stream)
        monkeypatch.setattr(torch.cuda, "stream", nullcontext)
        monkeypatch.setattr(torch.cuda, "current_stream", lambda: present)
        monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
        monkeypatch.setattr(torch.cuda, "graph", capture)


def test_each_call_is_one_step_and_the_capture_is_none(monkeypatch):
    counter = Counter()
    counter.patch(monkeypatch)
    step = CapturedStep(counter.step, "rng")
    for n in range(1, WARM_UP + 5):
        step()
        assert counter.n == n
    assert counter.log[2 * WARM_UP :] == ["register rng", "capture on side", *["replay"] * 4]


def gpu_model(captured, **sections):
    """A small model that learns on the GPU, captured or step by step, after its initial episodes."""
    family = sections.pop("family", None)
    model = small_model(family, **{**sections, "training": {**sections.get("training", {}), "device": "cuda"}})
    training = model.training
    if not captured:
        training.learner = TwinLearner(
            model.agent,
            lambda rng: own_sampler(training, rng),
            training._learn_rng,
            torch.device("cuda"),
            captured=False,
        )
    training.iterate()
    return model


def learnt(model):
    found = {name: value for name, value in everything_learnt(model).items() if name.startswith("weights/")}
    return found | model.training.learner.optimizer_state()


def check_close(found, expected, **tolerance):
    assert found.keys() == expected.keys()
    for name in found:
        torch.testing.assert_close(
            found[name].cpu(), expected[name].cpu(), **tolerance, msg=lambda text, name=name: f"{name}: {text}"
        )


@needs_gpu
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_captured_steps_are_the_plain_ones(variant, precision):
    sections = {**VARIANTS[variant], "agent": {**VARIANTS[variant].get("agent", {}), "precision": precision}}
    captured, plain = (gpu_model(each, **sections) for each in (True, False))
    for n_steps in (WARM_UP + 2, 6):
        scalars = [model.training.learner.learn(n_steps) for model in (captured, plain)]
        assert scalars[0] == pytest.approx(scalars[1], rel=1e-3, abs=1e-4)
    assert captured.training.learner._captured_step._graph is not None
    # The same kernels in the same order; a library may choose another algorithm within a capture, and Adam turns
    # rounding of small gradients into moves of up to a step size, 1e-3.
    check_close(learnt(captured), learnt(plain), rtol=1e-3, atol=2e-4)


@needs_gpu
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_step_on_the_gpu_is_the_step_on_the_cpu(variant, monkeypatch):
    """With the same meta-batch and the same noise: gradients and scalars agree to single precision."""
    draw = torch.randn

    def drawn_on_the_cpu(*shape, generator, device, dtype=torch.float32):
        return draw(*shape, generator=generator, dtype=dtype).to(device)

    monkeypatch.setattr(torch, "randn", drawn_on_the_cpu)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    sections = dict(VARIANTS[variant])
    model = small_model(sections.pop("family", None), **sections)
    model.training.iterate()
    batch = own_sampler(model.training, torch.Generator().manual_seed(3)).sample()
    found = []
    for device in ("cpu", "cuda"):
        agent = gpu_twin(model, device)
        rng = torch.Generator().manual_seed(4)
        with static_shapes() if device == "cuda" else nullcontext():
            scalars = agent.update(MetaBatch(*(moved(part, device) for part in batch)), rng)
        found.append(scalars | {name: p.grad for name, p in agent.named_parameters() if p.grad is not None})
    check_close(*found, rtol=2e-3, atol=1e-5)


def gpu_twin(model, device):
    agent = deepcopy(model.agent).to(device)
    agent.optimizer = agent.make_optimizer(1e-3)
    return agent


def moved(part, device):
    if part is None or isinstance(part, torch.Tensor):
        return None if part is None else part.to(device)
    return type(part)(*(field.to(device) for field in part))


@needs_gpu
def test_n_steps_saved_and_loaded_and_n_more_are_2n_on_the_gpu(tmp_path):
    n = INITIAL + 2 * ITERATION
    sections = {"training": {"device": "cuda"}, "agent": {"final_learning_rate": 1e-5}}
    unbroken = small_model(**sections).learn(2 * n)
    small_model(**sections).learn(n).save(tmp_path)
    resumed = pearl.load(tmp_path, distribution=Counting())
    assert resumed.config == small_config(**sections)
    resumed.learn(2 * n - resumed.num_timesteps)
    # A resumed run warms up anew, so that a few of its steps are plain where the unbroken run's are replays.
    check_close(learnt(resumed), learnt(unbroken), rtol=1e-2, atol=1e-3)
    assert np.isfinite(resumed.evaluate().returns).all()


@needs_gpu
def test_tasks_that_hold_nothing_yet_are_left_out_on_the_gpu_too():
    training = {"device": "cuda", "initial_episodes": 0, "tasks_per_iteration": 1}
    model = small_model(training=training).learn(2 * LENGTH)
    learner: Any = model.training.learner
    assert learner._captured_step._graph is None
    model.learn(20 * 2 * LENGTH)
    assert model.training.replay.every_task_has_transitions
    assert learner._captured_step._graph is not None


@needs_gpu
def test_the_gpu_is_asked_nothing_during_an_iteration():
    model = gpu_model(captured=False)
    learner = model.training.learner
    learner.learn(2)
    torch.cuda.set_sync_debug_mode("error")
    try:
        with static_shapes():
            learner._step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
