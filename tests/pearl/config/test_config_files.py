"""Settings come from presets and YAML files and go back to plain data, and nothing is lost on the way."""

import dataclasses
from importlib import resources
from typing import Any

import pytest
import yaml

from pearl import ConfigError, PEARLConfig, families, load_preset
from pearl.config.reading import from_mapping, load_yaml, to_mapping
from pearl.config.run import preset
from tests.support.configs import RUNS


def presets():
    """(config class, family) of every preset."""
    folder = resources.files("pearl").joinpath("presets")
    return [
        (run, path.name.removesuffix(".yaml"))
        for run in RUNS
        for own in (folder if run is PEARLConfig else folder.joinpath(run.algorithm),)
        if own.is_dir()
        for path in own.iterdir()
        if path.name.endswith(".yaml")
    ]


@pytest.mark.parametrize(("run", "name"), presets())
def test_a_preset_parses_and_is_a_registered_familys(run, name):
    assert name in families()
    assert preset(run, name) != run()


def test_a_family_without_a_preset_has_the_defaults():
    assert load_preset("no-such-family") == PEARLConfig()


def all_changed(run=PEARLConfig):
    """A config of which hardly a number, flag or list has its default."""

    def changed(config):
        values: dict[str, Any] = {}
        for field in dataclasses.fields(config):
            value = getattr(config, field.name)
            if type(value) is bool:
                values[field.name] = not value
            elif type(value) is int:
                values[field.name] = 2 * value
            elif type(value) is float:
                values[field.name] = value / 2
            elif value is None:
                values[field.name] = {"initial_policy": "steady"}.get(
                    field.name, 0.5 if "float" in str(field.type) else 1
                )
            elif isinstance(value, tuple):
                values[field.name] = value[:1]
            elif dataclasses.is_dataclass(value):
                values[field.name] = changed(value)
        values.pop("heads", None)  # divides the width
        return dataclasses.replace(config, **values)

    return run(**{field.name: changed(getattr(run(), field.name)) for field in dataclasses.fields(run)})


@pytest.mark.parametrize(
    "config", [*map(all_changed, RUNS), *(run() for run in RUNS), *(preset(run, name) for run, name in presets())]
)
def test_a_config_survives_plain_data_and_yaml(config):
    run, plain = type(config), to_mapping(config)
    assert from_mapping(run, plain) == config
    assert from_mapping(run, plain, all_changed(run)) == config
    assert from_mapping(run, yaml.safe_load(yaml.safe_dump(plain))) == config


def test_a_yaml_file_is_read_over_a_base(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("agent:\n  learning_rate: 1e-4\n")
    base = from_mapping(PEARLConfig, {"encoder": {"latent_dim": 7}})
    config = load_yaml(path, base)
    assert (config.agent.learning_rate, config.encoder.latent_dim) == (1e-4, 7)


def test_an_empty_file_changes_nothing(tmp_path):
    path = tmp_path / "empty.yaml"
    path.write_text("# nothing\n")
    assert load_yaml(path, PEARLConfig()) == PEARLConfig()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"agent: [unclosed", "not valid YAML"),
        (b"agent:\n\tdiscount: 0.5", "not valid YAML"),
        (b"- 1\n- 2\n", "must be a mapping"),
        (b"[]", "must be a mapping"),
        (b"false", "must be a mapping"),
        (b"just words", "must be a mapping"),
        (b"agent: 3", "agent must be a mapping"),
        (b"agent:\n", "agent must be a mapping"),
        (b"agent: {discunt: 0.5}", "'discount'"),
        (b"agent: {discount: 2}", r"agent\.discount must lie in"),
        (b"\xff\xfe\x00", "not valid YAML|Cannot read"),
    ],
)
def test_a_mistake_in_a_file_is_reported_with_the_files_name(tmp_path, content, message):
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message) as error:
        load_yaml(path, PEARLConfig())
    assert str(path) in str(error.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"Cannot read the config file .*none\.yaml: No such file"):
        load_yaml(tmp_path / "none.yaml", PEARLConfig())
