"""Settings are read strictly, every one of them is used, and a mistake is answered with what was meant."""

import ast
import dataclasses
import typing
from operator import attrgetter
from pathlib import Path

import pytest
import yaml

from agents import (
    AuxiliaryConfig,
    ExplorationConfig,
    ObservationsConfig,
    PEARLAgentConfig,
    RecurrentSACAgentConfig,
    RL2AgentConfig,
    TransformerAgentConfig,
)
from encoders import EncoderConfig
from pearl import ConfigError, EvaluationConfig, PEARLConfig, TrainingConfig
from pearl.config.reading import from_mapping, read_yaml, to_yaml
from pearl.config.run import RecurrentSACConfig, RL2Config, TransformerConfig
from pearl.config.training import CollectionConfig, ContextConfig, RelabellingConfig, TrialReplayConfig
from tests.support.configs import RUNS, SECTIONS, nested
from tests.support.processes import ROOT

CONFIGS = {
    **RUNS,
    EncoderConfig: {"config", "encoder"},
    PEARLAgentConfig: {"config", "agent"},
    TrainingConfig: {"config", "training", "settings"},
    CollectionConfig: {"config", "training", "settings"},
    EvaluationConfig: {"config", "evaluation", "settings"},
    RL2AgentConfig: {"config", "agent"},
    TransformerAgentConfig: {"config", "agent"},
    RecurrentSACAgentConfig: {"config", "agent"},
    TrialReplayConfig: {"config", "training", "settings"},
    ObservationsConfig: {"observations"},
    ExplorationConfig: {"exploration"},
    AuxiliaryConfig: {"auxiliary"},
    ContextConfig: {"context"},
    RelabellingConfig: {"relabelling"},
}
"""Each config and the names of variables and attributes that hold one"""
FIELDS = [(config, field.name) for config in CONFIGS for field in dataclasses.fields(config)]
NUMBERS = [
    (config, field.name)
    for config in CONFIGS
    for field in dataclasses.fields(config)
    if {int, float}
    & {typing.get_type_hints(config)[field.name], *typing.get_args(typing.get_type_hints(config)[field.name])}
    and "tuple" not in str(typing.get_type_hints(config)[field.name])
]


def fields_read():
    """(holder, field) of every ``holder.field`` that code reads, the config classes' own bodies apart.

    A method of a config that code calls reads its own fields in its holder's name.
    """
    found, methods = set(), []
    for folder in ("encoders", "agents", "pearl"):
        for path in (ROOT / folder).rglob("*.py"):
            tree = ast.parse(path.read_text())
            methods += [
                method
                for node in tree.body
                if isinstance(node, ast.ClassDef) and node.name.endswith("Config")
                for method in node.body
                if isinstance(method, ast.FunctionDef) and method.name in ("rows_per_task", "longest", "task_inference")
            ]
            tree.body = [
                node for node in tree.body if not (isinstance(node, ast.ClassDef) and node.name.endswith("Config"))
            ]
            for node in ast.walk(tree):
                if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                    holder = node.value
                    name = holder.attr if isinstance(holder, ast.Attribute) else getattr(holder, "id", None)
                    found.add((name, node.attr))
    for method in methods:
        holders = {holder for holder, name in found if name == method.name}
        own = {node.attr for node in ast.walk(method) if isinstance(node, ast.Attribute) and is_self(node.value)}
        found |= {(holder, name) for holder in holders for name in own}
    return found


def is_self(node):
    return isinstance(node, ast.Name) and node.id == "self"


READ = fields_read()


@pytest.mark.parametrize(("config", "field"), FIELDS)
def test_every_field_is_read_somewhere(config, field):
    assert any((holder, field) in READ for holder in CONFIGS[config]), f"{config.__name__}.{field} changes nothing"


@pytest.mark.parametrize(("config", "field"), FIELDS)
def test_every_field_has_a_line_of_documentation(config, field):
    owner = next(kind for kind in config.__mro__ if field in vars(kind).get("__annotations__", {}))
    tree = ast.parse(Path(ROOT / f"{owner.__module__.replace('.', '/')}.py").read_text())
    (body,) = [node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == owner.__name__]
    place = next(i for i, node in enumerate(body) if isinstance(node, ast.AnnAssign) and node.target.id == field)
    line = body[place + 1]
    assert isinstance(line, ast.Expr)
    assert isinstance(line.value, ast.Constant)
    assert line.value.value.endswith(".")


@pytest.mark.parametrize(
    ("data", "named", "meant"),
    [
        ({"trainig": {}}, "'trainig'", "'training'"),
        ({"training": {"meta_bach": 3}}, "'training.meta_bach'", "'meta_batch'"),
        ({"agent": {"learning-rate": 1e-3}}, "'agent.learning-rate'", "'learning_rate'"),
        ({"encoder": {"latent": 3}}, "'encoder.latent'", "'latent_dim'"),
        ({"evaluation": {"episode": 3}}, "'evaluation.episode'", "'episodes'"),
    ],
)
def test_an_unknown_setting_is_named_with_the_nearest_known_one(data, named, meant):
    with pytest.raises(ConfigError, match=f"Unknown setting {named}. Did you mean {meant}"):
        from_mapping(PEARLConfig, data)


def test_an_unknown_setting_like_no_other_is_answered_with_all():
    with pytest.raises(ConfigError, match=r"Unknown setting 'evaluation\.zzz'\. Settings here: n_test_tasks, "):
        from_mapping(PEARLConfig, {"evaluation": {"zzz": 1}})
    with pytest.raises(ConfigError, match="Unknown setting '3'"):
        from_mapping(PEARLConfig, {3: 1})  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("section", "field", "value", "wanted"),
    [
        ("training", "meta_batch", 2.5, "a whole number"),
        ("training", "meta_batch", "16", "a whole number"),
        ("training", "meta_batch", None, "a whole number"),
        ("training", "meta_batch", [4], "a whole number"),
        ("training", "tasks_per_iteration", "all", "a whole number"),
        ("agent", "learning_rate", "fast", "a finite number"),
        ("agent", "learning_rate", float("nan"), "a finite number"),
        ("agent", "learning_rate", "inf", "a finite number"),
        ("agent", "learning_rate", [1e-3], "a finite number"),
        ("agent", "hidden_sizes", 64, "a list"),
        ("agent", "hidden_sizes", "64", "a list"),
        ("encoder", "context_fields", "reward", "a list"),
    ],
)
def test_a_value_of_the_wrong_type_is_named_with_what_is_wanted(section, field, value, wanted):
    with pytest.raises(ConfigError, match=rf"^{section}\.{field} must be {wanted}, got "):
        from_mapping(PEARLConfig, {section: {field: value}})


def test_a_wrong_item_of_a_list_is_named_by_its_place():
    with pytest.raises(ConfigError, match=r"agent\.hidden_sizes\[1\] must be a whole number, got 1\.5"):
        from_mapping(PEARLConfig, {"agent": {"hidden_sizes": [64, 1.5]}})


FLAGS = [(config, field.name) for config in SECTIONS for field in dataclasses.fields(config) if field.type is bool]


def test_there_are_settings_that_are_true_or_false():
    assert (PEARLAgentConfig, "critic_layer_norm") in FLAGS
    assert (ObservationsConfig, "normalise") in FLAGS


@pytest.mark.parametrize(("config", "field"), FLAGS)
def test_a_flag_is_true_or_false_and_nothing_else(config, field):
    run, section = SECTIONS[config]
    for text, value in (("true", True), ("false", False)):
        read = from_mapping(run, nested(section, {field: yaml.safe_load(text)}), run())
        assert attrgetter(f"{section}.{field}")(read_yaml(to_yaml(read), "text", run())) is value
    for wrong in (0, 1, 1.0, "true", "yes", None, [True]):
        with pytest.raises(ConfigError, match=rf"^{section}\.{field} must be true or false, got "):
            from_mapping(run, nested(section, {field: wrong}))


@pytest.mark.parametrize(("config", "field"), NUMBERS)
@pytest.mark.parametrize("value", [True, False])
def test_a_boolean_is_no_number(config, field, value):
    with pytest.raises(ConfigError, match=f"{field} must be .* number, got {value}"):
        from_mapping(config, {field: value})


@pytest.mark.parametrize(("text", "value"), [("1e-3", 1e-3), ("1.0e-3", 1e-3), ("2e0", 2.0), ("1", 1.0), ("5.", 5.0)])
def test_numbers_are_floats_however_yaml_reads_them(text, value):
    read = read_yaml(f"agent: {{learning_rate: {text}}}", "text", PEARLConfig()).agent.learning_rate
    assert read == value
    assert type(read) is float


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"encoder": {"kind": "linear_gausian"}}, r"encoder\.kind must be one of .*Did you mean 'linear_gaussian'\?"),
        ({"encoder": {"context_fields": ["reward", "acton"]}}, r"encoder\.context_fields\[1\] .*mean 'action'\?"),
        ({"encoder": {"kind": 3}}, r"encoder\.kind must be one of 'linear_gaussian', .*got 3\."),
        ({"encoder": {"kind": ["mean"]}}, r"encoder\.kind must be one of "),
    ],
)
def test_a_wrong_choice_is_answered_with_the_choices_and_the_nearest(data, message):
    with pytest.raises(ConfigError, match=message):
        from_mapping(PEARLConfig, data)


@pytest.mark.parametrize(
    ("section", "field", "value"),
    [
        ("encoder", "latent_dim", 0),
        ("encoder", "hidden_sizes", [8, -1]),
        ("encoder", "head_sizes", [0]),
        ("encoder", "feature_dim", -5),
        ("encoder", "min_stddev", -1e-3),
        ("agent", "hidden_sizes", [-64]),
        ("agent", "hidden_sizes", []),
        ("agent", "n_critics", 0),
        ("agent", "learning_rate", -1e-3),
        ("agent", "final_learning_rate", -1e-3),
        ("agent", "discount", 1.0),
        ("agent", "discount", -0.1),
        ("agent", "target_update_rate", 0),
        ("agent", "reward_scale", 0),
        ("agent", "temperature", -1),
        ("agent", "initial_temperature", 0),
        ("agent.observations", "image_channels", []),
        ("agent.observations", "image_channels", [16, 0]),
        ("agent", "kl_weight", -1),
        ("training", "total_steps", 0),
        ("training", "n_train_tasks", -1),
        ("training", "tasks_per_iteration", 0),
        ("training", "episodes_per_trial", 0),
        ("training", "initial_episodes", -1),
        ("training", "gradient_steps_per_env_step", -0.1),
        ("training", "meta_batch", -16),
        ("training", "batch_size", 0),
        ("training.context", "max_length", 0),
        ("training.context", "recent_transitions", 0),
        ("training.relabelling", "candidates", -1),
        ("training.relabelling", "rewarded_context", 0),
        ("training", "replay_capacity", -1),
        ("training", "replay_budget_mb", 0),
        ("evaluation", "n_test_tasks", 0),
        ("evaluation", "exploration_episodes", -1),
        ("evaluation", "episodes", 0),
        ("evaluation", "interval", 0),
    ],
)
def test_a_size_or_rate_out_of_its_range_is_named(section, field, value):
    with pytest.raises(ConfigError, match=rf"{section}\.{field} must"):
        from_mapping(PEARLConfig, nested(section, {field: value}))


@pytest.mark.parametrize(
    ("section", "settings", "message"),
    [
        (
            "training",
            {"device": "cuda", "relabelling": {"candidates": 16}},
            r"Set training\.device to cpu, or training\.relabelling\.candidates to 0",
        ),
        ("evaluation", {"exploration_episodes": 3, "episodes": 3}, r"episodes \(3\) must exceed .*\(3\)"),
    ],
)
def test_settings_that_contradict_each_other_are_refused_together(section, settings, message):
    with pytest.raises(ConfigError, match=message):
        from_mapping(PEARLConfig, {section: settings})


@pytest.mark.parametrize(
    ("run", "field", "value"),
    [
        *((RL2Config, field, 0) for field in ("memory_width", "epochs", "minibatches", "clip", "max_gradient_norm")),
        *((RL2Config, field, -0.1) for field in ("value_weight", "entropy_weight", "final_learning_rate", "discount")),
        (RL2Config, "gae_lambda", 1.1),
        (RL2Config, "hidden_sizes", []),
        *((TransformerConfig, field, 0) for field in ("width", "layers", "heads", "window")),
        (TransformerConfig, "width", 65),
        *((RecurrentSACConfig, field, 0) for field in ("memory_width", "n_critics", "learning_rate", "reward_scale")),
        *((RecurrentSACConfig, field, -0.1) for field in ("temperature", "final_learning_rate", "discount")),
    ],
)
def test_a_setting_of_a_memory_based_agent_out_of_its_range_is_named(run, field, value):
    with pytest.raises(ConfigError, match=rf"agent\.{field} .*must"):
        from_mapping(run, {"agent": {field: value}})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *((field, 0) for field in ("meta_batch", "replay_capacity", "replay_budget_mb", "total_steps")),
        *((field, -1) for field in ("initial_episodes", "gradient_steps_per_env_step")),
    ],
)
def test_a_setting_of_a_replay_of_trials_out_of_its_range_is_named(field, value):
    with pytest.raises(ConfigError, match=rf"training\.{field} must be at least"):
        from_mapping(RecurrentSACConfig, {"training": {field: value}})


def test_settings_override_a_base_and_leave_the_rest():
    base = from_mapping(PEARLConfig, {"agent": {"learning_rate": 0.5, "discount": 0.5}, "encoder": {"latent_dim": 7}})
    over = from_mapping(PEARLConfig, {"agent": {"discount": 0.25}}, base)
    assert (over.agent.learning_rate, over.agent.discount, over.encoder.latent_dim) == (0.5, 0.25, 7)
    assert over.training == base.training
    assert base.agent.discount == 0.5


def test_an_optional_setting_is_reset_by_none():
    base = from_mapping(PEARLConfig, {"training": {"batch_size": 5}, "agent": {"reward_scale": 0.5}})
    none = {"training": {"batch_size": None}, "agent": {"reward_scale": None}}
    assert from_mapping(PEARLConfig, none, base) == PEARLConfig()


@pytest.mark.parametrize(("n_tasks", "rows"), [(16, 16), (40, 6), (1, 256), (1_000, 1)])
def test_a_step_takes_256_transitions_of_all_its_tasks_together(n_tasks, rows):
    assert TrainingConfig().rows_per_task(n_tasks) == rows
    assert TrainingConfig(batch_size=64).rows_per_task(n_tasks) == 64


def test_a_config_cannot_be_changed_in_place():
    for config in (*(run() for run in RUNS), *(attrgetter(name)(run()) for run, name in SECTIONS.values())):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(config, dataclasses.fields(config)[0].name, 1)
