"""A user's own encoder and algorithm, each in one file: trained, saved, loaded, resumed, evaluated and compared."""

import importlib
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import adapt
import compare
import evaluate
import pytest
import study
import torch
import train

import pearl
from encoders import EncoderConfig, make_encoder
from encoders.config import ENCODERS
from pearl.algorithms import ALGORITHMS
from pearl.config.reading import from_mapping
from pearl.studies.results import read_results
from tests.support.agent_tester import (
    ACTION_SPACE,
    OBSERVATION_SPACE,
    all_of,
    assert_identical,
    at_step,
    generator,
    learn,
    play,
    random_transitions,
    state,
)
from tests.support.encoder_tester import assert_close, at_steps, filled_where_masked, fold, random_context, random_mask
from tests.support.runs.script_runs import checkpoints, same_weights
from tests.support.small import small_model

EXAMPLES = Path(train.__file__).parent / "examples"
COMMON = {
    "--training.n-train-tasks": 4,
    "--training.initial-episodes": 1,
    "--training.meta-batch": 2,
    "--training.batch-size": 8,
    "--training.context.max-length": 8,
    "--training.gradient-steps-per-env-step": 0.02,
    "--agent.hidden-sizes": 8,
    "--agent.final-learning-rate": "None",
    "--evaluation.n-test-tasks": 2,
    "--evaluation.interval": 240,
    "--wandb": "disabled",
}
ENCODER = {"--import": "my_encoder", "--encoder.kind": "range", "--encoder.feature-dim": 4, "--encoder.latent-dim": 2}
ALGORITHM = {"--import": "my_algorithm", "--algorithm": "mean_context_sac"}
OWN = {"encoder": ENCODER, "algorithm": ALGORITHM}


def forget():
    """Let nothing be registered that the examples register, as in a process that has not imported them."""
    for module in ("my_encoder", "my_algorithm"):
        sys.modules.pop(module, None)
    ENCODERS.pop("range", None)
    ALGORITHMS.pop("mean_context_sac", None)


@pytest.fixture(autouse=True, scope="module")
def _found_by_name():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(EXAMPLES)
        patch.setattr("pearl.evaluation.protocol.REFERENCE_EPISODES", 1)
        yield


@pytest.fixture(autouse=True)
def _forgotten_after():
    forget()
    yield
    forget()


@pytest.fixture(params=OWN)
def own(request):
    return request.param


def trained(own, folder, steps, *more):
    flags = [str(part) for flag in (COMMON | OWN[own]).items() for part in flag]
    return train.main(["point-robot", *flags, "--total-steps", str(steps), "--run-dir", str(folder), *more])


def module_of(own):
    return OWN[own]["--import"]


@pytest.fixture
def run(own, tmp_path, no_pictures):
    """A finished run, in a process that has forgotten what it registered."""
    assert trained(own, tmp_path / "run", 480) == 0
    forget()
    return tmp_path / "run"


def test_it_is_trained_by_its_name(own, run):
    described = json.loads((run / "config.json").read_text())
    assert described["encoder"]["kind"] == "range" if own == "encoder" else described["algorithm"] == "mean_context_sac"
    assert json.loads((run / "result.json").read_text())["gradient_steps"] > 0


def test_its_checkpoint_asks_for_the_module_that_registers_it_and_loads_once_that_is_imported(own, run):
    name = {"encoder": "encoder.kind must be one of .*got 'range'", "algorithm": "no algorithm 'mean_context_sac'"}
    with pytest.raises(pearl.CheckpointError, match=f"cannot be loaded: .*{name[own]}.* import that module first"):
        pearl.load(run)
    importlib.import_module(module_of(own))
    model = pearl.load(run)
    assert type(model) is (pearl.PEARL if own == "encoder" else pearl.MetaLearner)
    agent: Any = model.agent
    part = agent.encoder if own == "encoder" else agent
    assert type(part).__module__ == module_of(own)
    policy = model.adapt(model.task_distribution.make_env(model.test_tasks[0]), 2)
    assert policy.trial.n_transitions == 40


def test_it_is_evaluated_and_adapted_by_the_scripts(own, run, capsys):
    assert evaluate.main(run) == 2
    assert "--import MODULE" in capsys.readouterr().err
    assert evaluate.main(run, tasks=2, modules=(module_of(own),)) == 0
    forget()
    assert adapt.main(run, modules=(module_of(own),)) == 0


def test_n_steps_and_a_resumed_run_equal_2n_bit_for_bit(own, run, tmp_path):
    assert trained(own, tmp_path / "through", 960) == 0
    forget()
    assert trained(own, run, 960, "--resume") == 0
    assert checkpoints(run) > 1
    assert same_weights(tmp_path / "through", run)


def test_the_algorithm_is_compared_with_pearl(tmp_path, monkeypatch):
    def small(kind, family):
        training = {"total_steps": 120, "n_train_tasks": 2, "meta_batch": 2, "gradient_steps_per_env_step": 0.02}
        protocol = {"interval": 120, "n_test_tasks": 2}
        return from_mapping(kind, {"training": training, "evaluation": protocol})

    monkeypatch.setattr(compare, "preset", small)
    names = ("pearl", "mean_context_sac")
    compare.main("point-robot", algorithms=names, seeds=(0,), out=tmp_path, modules=("my_algorithm",))
    found = read_results(tmp_path / "point-robot").of_study("comparison")
    runs = {setting.algorithm: by_seed[0].measured for setting, by_seed in found.items()}
    assert set(runs) == set(names)
    assert runs["pearl"]["test_tasks"] == runs["mean_context_sac"]["test_tasks"]
    assert runs["pearl"]["returns"] != runs["mean_context_sac"]["returns"]


def test_the_encoder_is_compared_with_pearls(tmp_path):
    settings = "training: {total_steps: 240, n_train_tasks: 2, meta_batch: 2, gradient_steps_per_env_step: 0.02}"
    (tmp_path / "own.yaml").write_text(
        f"families: {{point-robot: {{{settings}, evaluation: {{n_test_tasks: 2}}}}}}\n"
        "variants: {range: {others: {encoder: {kind: range}}}}\n"
    )
    study.main(tmp_path / "own.yaml", seeds=(0,), out=tmp_path, modules=("my_encoder",))
    found = read_results(tmp_path / "point-robot").of_study("own")
    plain, own = (found["own", name, "pearl"][0].measured for name in ("plain", "range"))
    assert plain["returns"] != own["returns"]


def test_the_listing_names_a_users_algorithm(capsys):
    assert train.main(["--list", "--import", "my_algorithm"]) == 0
    assert "mean_context_sac" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("module", "message"),
    [
        ("no_such_module", "There is no module 'no_such_module' in "),
        ("my_encoder.py", "'my_encoder.py' is a file name; a module name has no .py"),
        ("taken", "Importing taken failed: ValueError: An encoder named 'gru' is registered already"),
    ],
)
def test_a_module_that_cannot_be_imported_is_named(tmp_path, monkeypatch, capsys, module, message):
    (tmp_path / "taken.py").write_text("import pearl\npearl.register_encoder('gru', lambda *three: None)\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert train.main(["point-robot", "--import", module]) == 2
    assert message in " ".join(capsys.readouterr().err.split())


@pytest.fixture
def encoder():
    importlib.import_module("my_encoder")
    torch.manual_seed(0)
    return make_encoder(EncoderConfig(kind="range", feature_dim=8, latent_dim=4), 3, 2)


def test_the_encoder_keeps_an_encoders_promises(encoder):
    context = random_context(3, 7)._replace(mask=random_mask(3, 7))
    whole = encoder.posterior(encoder.encode(context))
    assert_close(encoder.posterior(fold(encoder, context, (1, 4, 2))), whole)
    assert_identical(encoder.encode(filled_where_masked(context, 1e3)), encoder.encode(context))
    nothing = encoder.posterior(encoder.encode(at_steps(context, slice(0))))
    assert nothing.mean.eq(0).all()
    assert nothing.stddev.eq(1).all()
    assert not whole.mean.eq(0).any()


def own_agent(seed):
    module = importlib.import_module("my_algorithm")
    config = module.MeanContextSACConfig()
    small = replace(config, agent=replace(config.agent, hidden_sizes=(8,), summary_width=3))
    return module.MeanContextSACAgent(OBSERVATION_SPACE, ACTION_SPACE, small, generator(seed))


def test_the_agent_keeps_an_agents_promises():
    agent, twin = own_agent(0), own_agent(0)
    assert_identical(list(state(agent).values()), list(state(twin).values()))
    assert learn(agent, 3)[-1]["critic_loss"].isfinite()
    learn(twin, 3)
    assert_identical(list(state(agent).values()), list(state(twin).values()))
    moved = {name.split(".")[0] for name, value in state(own_agent(0)).items() if not value.equal(state(agent)[name])}
    assert moved == {"summary", "actor", "critics", "target_critics", "log_temperature"}


def test_one_task_of_the_agents_does_not_change_another(encoder):
    agent, transitions = own_agent(0), random_transitions(3, 6)
    _, together = play(agent, agent.begin(3, generator(0)), transitions)
    _, alone = play(agent, agent.begin(1, generator(0)), type(transitions)(*(field[1:2] for field in transitions)))
    torch.testing.assert_close(together.total[1:2], alone.total)
    idle = agent.observe(together, at_step(transitions, 0), all_of(3, False))
    assert_identical(idle, together)


def test_a_users_encoder_learns_from_what_its_trials_show_no_more_surely_than_in_training(encoder):
    model = small_model(encoder={"kind": "range"})
    assert model.agent.encoder.evidence_limit == max(model.config.training.context.longest, 2 * model.horizon)
