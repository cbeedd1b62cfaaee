"""The benchmark and the textbook step that it compares ours with."""

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import bench
import numpy as np
import pytest
import torch
import tyro
from benchmark import floor, learning, measure, running
from benchmark.textbook import TextbookPEARL
from PIL import Image

from agents import MetaBatch, PEARLAgentConfig, Transitions
from encoders import Context, EncoderConfig

TASKS, CONTEXT, BATCH, OBSERVATION, ACTION = 3, 7, 8, 4, 2
ENCODER = EncoderConfig(
    kind="product_of_gaussians",
    latent_dim=2,
    hidden_sizes=(16, 16),
    context_fields=("observation", "action", "reward"),
)
AGENT = PEARLAgentConfig(
    hidden_sizes=(24, 24), temperature=0.2, reward_scale=3.0, discount=0.99, kl_weight=0.3, learning_rate=3e-3
)
IN_THIS_PROCESS = (
    "step",
    "presets",
    "context",
    "tasks",
    "precision",
    "recurrence",
    "collection",
    "evaluation",
    "adaptation",
    "checkpoint",
)
IN_NEW_PROCESSES = ("replay", "startup", "memory")


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """The report of a quick run of the sections that start no process, and where it lies."""
    path = tmp_path_factory.mktemp("benchmark") / "deep" / "figures.json"
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running, "HAS_MUJOCO", False)
        patch.setenv("COLUMNS", "100")
        code = run("--quick", "--out", path, "--only", *IN_THIS_PROCESS)
    torch.set_num_threads(threads)
    return SimpleNamespace(code=code, path=path, report=json.loads(path.read_text()))


def run(*argv):
    return bench.main(tyro.cli(bench.Arguments, args=list(map(str, argv))))


def medians(report, section, setting):
    return {figure["what"]: figure["median"] for figure in report["sections"][section] if figure["setting"] == setting}


def small_batch():
    """A meta-batch with padding in its contexts and some ends of episodes."""
    rng = torch.Generator().manual_seed(5)

    def rows(length):
        return (
            torch.randn(TASKS, length, OBSERVATION, generator=rng),
            2 * torch.rand(TASKS, length, ACTION, generator=rng) - 1,
            torch.randn(TASKS, length, generator=rng),
            torch.randn(TASKS, length, OBSERVATION, generator=rng),
        )

    mask = torch.arange(CONTEXT) < torch.tensor([[2], [5], [CONTEXT]])
    terminated = (torch.rand(TASKS, BATCH, generator=rng) < 0.3).float()
    return MetaBatch(Context(*(*rows(CONTEXT), mask)), Transitions(*(*rows(BATCH), terminated)))


def with_the_weights_of(agent, textbook):
    """Copy our agent's weights into the textbook's networks."""
    textbook.encoder.load_state_dict(agent.encoder.network.state_dict())
    textbook.actor.load_state_dict(agent.actor.network.state_dict())
    for ours, theirs in (
        (agent.critics, (textbook.critic_1, textbook.critic_2)),
        (agent.target_critics, (textbook.target_critic_1, textbook.target_critic_2)),
    ):
        for number, network in enumerate(theirs):
            layers = [layer for layer in network if isinstance(layer, torch.nn.Linear)]
            for layer, weight, bias in zip(layers, ours.weights, ours.biases, strict=True):
                layer.weight.data.copy_(weight.data[number].T)
                layer.bias.data.copy_(bias.data[number, 0])
    return textbook


@pytest.mark.parametrize("layer_norm", [False, True])
def test_the_textbook_step_has_our_agents_losses_and_gradients(monkeypatch, layer_norm):
    config = replace(AGENT, critic_layer_norm=layer_norm)
    agent = learning.make_agent(OBSERVATION, ACTION, ENCODER, config)
    # Targets must differ from the critics, or mistaking one for the other would go unseen.
    for parameter in agent.target_critics.parameters():
        parameter.data.mul_(0.7)
    textbook = with_the_weights_of(agent, TextbookPEARL(OBSERVATION, ACTION, ENCODER, config))
    critics = textbook.critic_1, textbook.critic_2
    critic_gradients: list[Any] = []
    # The textbook steps its critics before the actor's loss, and that loss adds to their gradients.
    monkeypatch.setattr(
        textbook.critic_optimizer,
        "step",
        lambda: critic_gradients.extend(parameter.grad.clone() for net in critics for parameter in net.parameters()),
    )
    # The same noise for every transition, so that z drawn for a task and z drawn for each transition are one.
    monkeypatch.setattr(torch, "randn", lambda *shape, **_: torch.full(shape[0] if len(shape) == 1 else shape, 0.3))
    batch, rng = small_batch(), torch.Generator()
    ours, theirs = agent.update(batch, rng), textbook.update(batch, rng)

    for name in ("critic_loss", "actor_loss", "kl"):
        torch.testing.assert_close(theirs[name], ours[name])
    for own, network in ((agent.encoder.network, textbook.encoder), (agent.actor.network, textbook.actor)):
        for one, other in zip(own.parameters(), network.parameters(), strict=True):
            assert one.grad.abs().max() > 1e-4
            torch.testing.assert_close(other.grad, one.grad, rtol=1e-4, atol=1e-6)
    pairs = zip(agent.critics.weights, agent.critics.biases, strict=True)
    layers = [(weight.grad, bias.grad) for weight, bias in pairs]
    expected = [part for number in range(2) for weight, bias in layers for part in (weight[number].T, bias[number, 0])]
    for found, own in zip(critic_gradients, expected, strict=True):
        torch.testing.assert_close(found, own, rtol=1e-4, atol=1e-6)


def test_the_textbook_step_learns():
    torch.manual_seed(0)
    config = replace(AGENT, temperature=0.0, reward_scale=1.0, discount=0.5, learning_rate=1e-2, kl_weight=1e-3)
    textbook = TextbookPEARL(OBSERVATION, ACTION, ENCODER, config)
    untrained = {name: weight.clone() for name, weight in textbook.state_dict().items()}
    batch, rng = small_batch(), torch.Generator().manual_seed(0)
    losses = [float(textbook.update(batch, rng)["critic_loss"]) for _ in range(60)]
    assert np.mean(losses[-5:]) < 0.3 * np.mean(losses[:5])
    assert not [name for name, weight in textbook.state_dict().items() if torch.equal(weight, untrained[name])]


def test_the_products_of_a_step_are_those_counted_by_hand():
    sizes = floor.StepSizes(
        observation_dim=3, action_dim=2, latent_dim=1, context_rows=20, rows=10, encoder_widths=[6, 4, 2]
    )
    encoder = 20 * 6 * 4 * 2 + 20 * 4 * 2 * 3  # none to the data
    actor = 10 * 4 * 4 * 2 + (10 * 4 * 4 * 2 + 10 * 4 * 4 * 3)  # next actions; and those that learn
    targets = 10 * 6 * 4 + 10 * 4 * 1
    bellman = 10 * 6 * 4 * 2 + 10 * 4 * 1 + 10 * 4 * 1 * 2  # with the gradients to weights and to z
    improving = 10 * 6 * 4 + 10 * 4 * 2 + 10 * 4 * 1  # on to the actions
    for precision, lower in (("float32", 0), ("bfloat16", 4 * 160 + 2 * (240 + 480 + 40 + 240 + 80) - 160)):
        config = PEARLAgentConfig(hidden_sizes=(4,), precision=precision)
        products = floor.step_products(sizes, config)
        sums = [rows * inner * columns for rows, inner, columns, _ in products]
        assert sum(sums) == encoder + actor + 2 * (targets + bellman + improving)
        assert sum(n for n, product in zip(sums, products, strict=True) if product.dtype == torch.bfloat16) == lower


def test_candidates_take_turns_and_each_round_begins_with_another():
    called = []
    candidates = {name: lambda name=name: called.append(name) for name in "abc"}
    seconds = measure.in_turns(candidates, 2, warm_up=1)
    assert "".join(called) == "abcbcacab"
    assert {name: len(values) for name, values in seconds.items()} == {"a": 2, "b": 2, "c": 2}
    assert all((values > 0).all() for values in seconds.values())


def test_a_figure_is_a_median_with_quartiles():
    found = measure.figure("here", "it", "ms", [5.0, 1.0, 2.0, 4.0, 3.0])
    assert (found.low, found.median, found.high, found.n) == (2.0, 3.0, 4.0, 5)


def test_a_process_that_fails_is_an_error_with_what_it_said():
    with pytest.raises(RuntimeError, match="no such luck"):
        measure.fresh_process("raise ValueError('no such luck')")


def check_figures(report, sections):
    assert list(report["sections"]) == list(sections)
    for name, figures in report["sections"].items():
        assert figures, name
        for figure in figures:
            assert 0 < figure["low"] <= figure["median"] <= figure["high"], figure
            assert figure["n"] >= 1


def test_a_quick_run_writes_every_section_with_positive_figures(measured):
    assert measured.code == 0
    check_figures(measured.report, IN_THIS_PROCESS)


def test_the_report_says_when_where_and_of_what_it_is(measured):
    report = measured.report
    assert {"date", "commit", "versions", "machine", "quick", "peak_memory_mib"} < set(report)
    assert report["machine"]["threads"] == 1
    assert report["machine"]["processor"]
    assert report["versions"]["torch"] == torch.__version__
    assert report["quick"] is True
    assert report["peak_memory_mib"] > 50


def test_a_picture_lies_beside_the_report(measured):
    with Image.open(measured.path.with_suffix(".png")) as image:
        assert min(image.size) > 400


def test_bfloat16_changes_a_gradient_less_than_another_meta_batch_does(measured):
    found = medians(measured.report, "precision", "point-robot")
    for part in ("encoder", "actor", "critics"):
        assert 0 < found[f"{part}: error of bfloat16"] < 0.5 * found[f"{part}: one meta-batch from the mean"]


@pytest.mark.slow  # It compares timings, which a busy machine can turn round.
def test_the_floor_is_no_larger_than_our_step(measured):
    for section in ("step", "presets"):
        for setting in {figure["setting"] for figure in measured.report["sections"][section]}:
            found = medians(measured.report, section, setting)
            for precision in ("float32", "bfloat16"):
                assert found[f"floor of {precision}"] <= found[precision], (setting, found)


def test_without_a_gpu_nothing_is_measured_on_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert list(learning.gpu(True)) == []


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_on_a_gpu_both_precisions_are_measured_captured_and_step_by_step():
    figures = list(learning.gpu(True))
    assert len({figure.what for figure in figures}) == 4
    assert all(figure.median > 0 for figure in figures)


def test_adaptation_needs_the_same_memory_however_long_the_trial(measured):
    found = medians(measured.report, "adaptation", "reference")
    assert found["most memory, from step 10"] == found["most memory, from step 400"]


def test_the_table_names_what_was_measured(tmp_path, capsys):
    assert run("--quick", "--out", tmp_path / "few.json", "--only", "evaluation") == 0
    printed = capsys.readouterr().out
    assert "evaluation · point-robot, 30 tasks" in printed
    assert str(tmp_path / "few.json") in printed
    assert not (tmp_path / "few.png").exists()


@pytest.mark.parametrize(
    ("argv", "message"), [(["--threads", "0"], "--threads must be at least 1"), (["--out", "a.csv"], "a .json file")]
)
def test_a_wrong_argument_is_named(capsys, argv, message):
    with pytest.raises(SystemExit, match="2"):
        run(*argv)
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_sections_that_start_processes_are_written_too(tmp_path):
    run("--quick", "--out", tmp_path / "slow.json", "--only", *IN_NEW_PROCESSES)
    report = json.loads((tmp_path / "slow.json").read_text())
    check_figures(report, IN_NEW_PROCESSES)
    replay = medians(report, "replay", "10 tasks × 10,000")
    assert replay["memory taken"] == pytest.approx(replay["memory announced"], rel=0.25)
    startup = medians(report, "startup", "point-robot")
    first, second = (
        startup[f"train.py to the first environment step of {name}"] for name in ("evaluation", "training")
    )
    assert first < second
