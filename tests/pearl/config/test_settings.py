"""The Python API reads settings as strictly as YAML does: every value is plain and right from construction on."""

import dataclasses
import json
import re
import typing
from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agents import ObservationsConfig, PEARLAgentConfig, RL2AgentConfig
from encoders import ConfigError, EncoderConfig, Settings
from encoders.abbreviation import abbreviated
from encoders.settings import setting_types
from pearl import EvaluationConfig, PEARLConfig, TrainingConfig, load, load_preset
from pearl.config.reading import from_mapping, to_mapping
from pearl.config.run import MultitaskSACConfig, RL2Config
from tests.support.configs import RUNS, SECTIONS
from tests.support.small import HORIZON, small_config, small_model

FIELDS = [
    (config, name, hint, f"{section}.{name}")
    for config, (_, section) in SECTIONS.items()
    for name, hint in setting_types(config).items()
    if not dataclasses.is_dataclass(hint)
]
IDS = [f"{config.__name__}.{name}" for config, name, _, _ in FIELDS]
UNBOUNDED = {"target_entropy"}
"""Numbers of which every finite one means something"""

anything = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.floats(),
    st.complex_numbers(),
    st.text(max_size=3),
    st.binary(max_size=3),
    st.lists(st.one_of(st.none(), st.booleans(), st.floats(), st.text(max_size=2)), max_size=2),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=2),
    st.sampled_from(
        [object(), int, len, np.array([1.5]), np.array([[1]]), np.bool_(True), np.float64("nan"), np.str_("x"), {1}]
    ),
)


def kinds(hint: Any) -> set[Any]:
    """What an annotation allows: types, None's among them; a Literal and a tuple as they stand."""
    arguments = typing.get_args(hint)
    return set(arguments) if type(None) in arguments else {hint}


def fits(hint: Any, value: Any) -> bool:
    """Whether a plain value is of an annotated type."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return type(value) is str and value in arguments
    if origin is tuple:
        return type(value) is tuple and all(fits(arguments[0], item) for item in value)
    return type(value) is hint


def numpy_of(value: Any) -> Any:
    """A setting's value as NumPy has it."""
    if isinstance(value, tuple):
        return np.array(value) if value else np.array([], np.int64)
    return value if value is None else np.array([value])[0]


@pytest.mark.parametrize(("config", "name", "hint", "dotted"), FIELDS, ids=IDS)
@settings(max_examples=60)
@given(value=anything)
def test_every_setting_is_refused_by_its_name_or_of_its_annotated_type(config, name, hint, dotted, value):
    try:
        kept = getattr(config(**{name: value}), name)
    except ConfigError as error:
        kept = error
    assert name in str(kept) if isinstance(kept, ConfigError) else any(fits(kind, kept) for kind in kinds(hint))


@pytest.mark.parametrize(("config", "name", "hint", "dotted"), FIELDS, ids=IDS)
def test_a_value_of_the_wrong_type_is_refused_at_construction(config, name, hint, dotted):
    wrong = [object(), b"x", {1: 2}, {3}, 1 + 2j, [None], [[1]], float("nan"), np.float32("inf"), "x", int, lambda: 1]
    wrong += [] if type(None) in kinds(hint) else [None]
    wrong += [] if bool in kinds(hint) else [True, np.True_]
    wrong += [] if float in kinds(hint) else [1.5, np.float32(1.5), torch.tensor(1.5)]
    wrong += [] if "tuple" in str(hint) else [[1], np.array([1]), ()]
    for value in wrong:
        with pytest.raises(ConfigError, match=rf"^{re.escape(dotted)}(\[0\])? must be "):
            config(**{name: value})


@pytest.mark.parametrize(("config", "name", "hint", "dotted"), FIELDS, ids=IDS)
def test_a_number_below_its_range_is_refused_at_construction(config, name, hint, dotted):
    if name in UNBOUNDED or not {int, float} & {*kinds(hint), *typing.get_args(hint)}:
        return
    lists = typing.get_origin(hint) is tuple
    for number in (-1, np.int64(-1), np.float32(-1)) if float in kinds(hint) else (-1, np.int64(-1)):
        with pytest.raises(ConfigError, match=rf"^{re.escape(dotted)} must "):
            config(**{name: [number] if lists else number})


@pytest.mark.parametrize(("config", "name", "hint", "dotted"), FIELDS, ids=IDS)
def test_a_value_of_numpys_is_the_same_as_pythons(config, name, hint, dotted):
    default = getattr(config(), name)
    literal = [choice for kind in kinds(hint) for choice in typing.get_args(kind) if type(choice) is str]
    value = (0.5 if float in kinds(hint) else literal[0] if literal else 1) if default is None else default
    made, plain = config(**{name: numpy_of(value)}), config(**{name: value})
    assert made == plain
    assert type(getattr(made, name)) is type(getattr(plain, name))


@pytest.mark.parametrize("run", RUNS)
def test_a_config_of_numpy_values_survives_json(run):
    sections = {
        section.name: type(value)(
            **{field.name: numpy_of(getattr(value, field.name)) for field in dataclasses.fields(value)}
        )
        for section in dataclasses.fields(run)
        for value in (getattr(run(), section.name),)
    }
    config = run(**sections)
    assert from_mapping(run, json.loads(json.dumps(to_mapping(config)))) == config == run()


@pytest.mark.parametrize(
    "sizes",
    [[16, 8], (16, 8), np.array([16, 8]), np.array([16, 8], np.uint8), torch.tensor([16, 8]), [np.int32(16), 8]],
)
def test_widths_may_be_any_sequence_of_whole_numbers(sizes):
    for config in (EncoderConfig, PEARLAgentConfig, RL2AgentConfig):
        assert config(hidden_sizes=sizes).hidden_sizes == (16, 8)


def test_replacing_a_setting_converts_and_checks_it_too():
    config = dataclasses.replace(TrainingConfig(), batch_size=np.random.default_rng(0).choice([32, 64]))
    assert type(config.batch_size) is int
    with pytest.raises(ConfigError, match=r"training\.initial_policy must be one of 'random', 'steady', got 'x'"):
        dataclasses.replace(config, initial_policy="x")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EncoderConfig(latent_dim=1.5), r"encoder\.latent_dim must be a whole number, got 1\.5 \(float\)"),
        (lambda: TrainingConfig(total_steps=True), r"training\.total_steps must be a whole number, got True \(bool\)"),
        (lambda: TrainingConfig(initial_policy="stedy"), r"training\.initial_policy must .*Did you mean 'steady'\?"),
        (lambda: EvaluationConfig(episodes="3"), r"evaluation\.episodes must be a whole number, got '3'"),
        (lambda: PEARLConfig(agent=RL2AgentConfig()), r"^agent must be a PEARLAgentConfig, got RL2AgentConfig\("),
        (
            lambda: PEARLConfig(training={"meta_batch": 3}),
            r"^training must be a TrainingConfig, got \{'meta_batch': 3\}",
        ),
        (lambda: PEARLConfig(encoder=EncoderConfig), r"^encoder must be a EncoderConfig, got <class"),
        (lambda: RL2Config(training=TrainingConfig()), r"^training must be a CollectionConfig, got TrainingConfig\("),
        (lambda: MultitaskSACConfig(encoder=None), r"^encoder must be a EncoderConfig, got None"),
        (lambda: EncoderConfig(context_fields=()), r"encoder\.context_fields must be one or more parts"),
        (
            lambda: EncoderConfig(context_fields=["reward"] * 2),
            r"encoder\.context_fields must be one or more parts",
        ),
        (
            lambda: PEARLAgentConfig(observations=ObservationsConfig(ignored=[1, 1])),
            r"agent\.observations\.ignored must be different",
        ),
        (
            lambda: PEARLAgentConfig(learning_rate=10**400),
            r"agent\.learning_rate must be a finite number, got <a whole number of",
        ),
    ],
)
def test_a_mistake_in_python_is_answered_as_one_in_yaml(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_every_config_class_reads_its_settings_this_way():
    found, waiting = set(), [Settings]
    while waiting:
        kind = waiting.pop()
        found.add(kind)
        waiting += kind.__subclasses__()
    assert {*RUNS, *SECTIONS} <= found


def test_an_error_shows_a_long_or_deep_value_in_short():
    deep: list[Any] = []
    for _ in range(10_000):
        deep = [deep, deep]
    for value in (deep, "x" * 10**6, list(range(10**5)), 10**5000, np.zeros((500, 500)), {1: deep}, b"\n" * 500):
        with pytest.raises(ConfigError) as error:
            TrainingConfig(meta_batch=value)
        assert len(str(error.value)) < 300
    assert abbreviated("a") == "'a'"


def test_what_a_preset_says_is_found_by_its_name_alone():
    for name in ("a" * 300, "../presets/point-robot", "a\0b", "", "."):
        assert load_preset(name) == PEARLConfig()


def test_a_model_of_numpy_settings_saves_and_loads(tmp_path):
    model = small_model(
        seed=np.int64(3),
        training={"batch_size": np.int64(8)},
        agent={"hidden_sizes": np.array([8]), "learning_rate": np.float32(0.5), "critic_layer_norm": np.True_},
    )
    model.save(tmp_path / "saved")
    loaded = load(tmp_path / "saved", distribution=model.task_distribution)
    assert loaded.config == model.config
    assert (loaded.seed, type(model.seed)) == (3, int)
    assert loaded.config.agent.learning_rate == 0.5
    agent = PEARLAgentConfig(hidden_sizes=(8,), learning_rate=0.5, critic_layer_norm=True)
    assert loaded.config == dataclasses.replace(small_config(), agent=agent).for_tasks(HORIZON)


@pytest.mark.parametrize(
    ("section", "name"),
    [
        (TrainingConfig, "episodes_per_trial"),
        (TrainingConfig, "initial_episodes"),
        (TrainingConfig, "gradient_steps_per_env_step"),
        (EvaluationConfig, "episodes"),
    ],
)
def test_a_number_that_no_run_comes_to_the_end_of_is_refused(section, name):
    with pytest.raises(ConfigError, match=rf"{section.section}\.{name} must be at most [\d,]+, got 1000000000"):
        section(**{name: 10**9})


def test_part_of_a_section_leaves_the_rest_at_the_runs_own_default():
    config = from_mapping(MultitaskSACConfig, {"encoder": {"hidden_sizes": [8]}})
    assert (config.encoder.kind, config.encoder.latent_dim, config.encoder.hidden_sizes) == ("blind", 1, (8,))
