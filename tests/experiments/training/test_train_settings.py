"""Where the settings of the training script come from: presets, YAML, flags, and the run that is resumed."""

from typing import Any

import pytest
import train
import yaml

import pearl
from pearl.config.documentation import ESSENTIAL, documented
from pearl.config.reading import ConfigError, to_mapping
from pearl.config.run import PEARLConfig, load_preset
from tests.support.runs.script_runs import printed_by


def test_settings_come_from_the_preset_then_yaml_then_flags(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("agent: {learning_rate: 1e-2, discount: 0.7}\ntraining: {meta_batch: 7}\n")
    _, _, config = train.parse(["point-robot", "--config", str(path), "--agent.discount", "0.6"])
    preset = load_preset("point-robot")
    assert isinstance(config, PEARLConfig)
    assert (config.agent.learning_rate, config.agent.discount, config.training.meta_batch) == (1e-2, 0.6, 7)
    assert config.encoder == preset.encoder
    assert config.agent.temperature == preset.agent.temperature


def test_every_setting_of_a_config_can_be_given_in_yaml(tmp_path, finished):
    config = pearl.load(finished.folder).config
    (tmp_path / "all.yaml").write_text(yaml.safe_dump(to_mapping(config)))
    assert train.parse(["sparse-point-robot", "--config", str(tmp_path / "all.yaml")])[2] == config


def test_total_steps_is_short_for_the_training_setting():
    assert train.parse(["point-robot", "--total-steps", "123"])[2].training.total_steps == 123
    assert train.parse(["point-robot", "--training.total-steps", "123"])[2].training.total_steps == 123


def test_the_objective_is_short_for_what_teaches_the_encoder():
    def teachers(*flags):
        agent: Any = train.parse(["point-robot", *flags])[2].agent
        auxiliary = agent.auxiliary
        named = "--objective" in flags
        assert auxiliary.task_inference_weight == (0.0 if named else None)
        return auxiliary.critics_teach_encoder, auxiliary.reconstruction_weight, auxiliary.reconstructed

    both = ("reward", "next_observation")
    assert teachers() == teachers("--objective", "critics") == (True, 0.0, ("reward",))
    assert teachers("--objective", "both") == (True, 1.0, both)
    assert teachers("--objective", "both", "--agent.auxiliary.reconstruction-weight", "0.3") == (True, 0.3, both)
    assert teachers("--objective", "reconstruction") == (False, 1.0, both)
    with pytest.raises(ConfigError, match="--objective is for PEARL's encoder; rl2 has none"):
        teachers("--algorithm", "rl2", "--objective", "both")


def test_the_run_folder_is_named_after_family_algorithm_and_seed():
    for flags, folder in (
        (["--seed", "7"], "runs/sparse-point-robot-seed7"),
        (["--algorithm", "pearl"], "runs/sparse-point-robot-seed0"),
        (["--algorithm", "rl2"], "runs/sparse-point-robot-rl2-seed0"),
        (["--run-dir", "mine", "--algorithm", "rl2"], "mine"),
    ):
        distribution, arguments, config = train.parse(["sparse-point-robot", *flags])
        assert str(train.folder_of(distribution, arguments, config.algorithm)) == folder


def test_a_run_of_one_algorithm_is_not_resumed_as_another(finished):
    with pytest.raises(ConfigError, match=r"trains pearl, not rl2\. Leave --algorithm out"):
        train.parse(["point-robot", "--algorithm", "rl2", "--resume", "--run-dir", str(finished.folder)])


def test_an_agent_of_no_such_name_is_answered_with_those_that_there_are():
    with pytest.raises(ConfigError, match="There is no algorithm 'maml2'"):
        train.parse(["point-robot", "--algorithm", "maml2"])


def test_a_run_resumes_with_its_own_settings_where_none_are_given(finished):
    argv = ["point-robot", "--run-dir", str(finished.folder), "--resume"]
    assert train.parse(argv)[2] == pearl.load(finished.folder).config
    assert train.parse([*argv, "--total-steps", "4000"])[2].training.total_steps == 4000


FLAGS = ("--seed", "--total-steps", "--resume", "--encoder.kind", "--agent.discount", "--agent.kl-weight")


@pytest.mark.parametrize("argv", [["--help"], ["-h"], ["point-robot", "--help"], ["point-robot", "-h"]])
def test_help_shows_the_settings_to_know_first_with_their_preset(capsys, argv):
    code, printed = printed_by(capsys, *argv)
    assert code == 0
    for flag in (*FLAGS, *(f"--{name.replace('_', '-')}" for name in ESSENTIAL), "--help-all"):
        assert flag in printed
    for flag in ("--evaluation.interval", "--agent.exploration.sweep"):
        assert flag not in printed
    assert ("(default: 0.9)" in printed) == ("point-robot" in argv)


@pytest.mark.parametrize("argv", [["--help-all"], ["point-robot", "--help-all"]])
def test_the_whole_help_shows_every_setting_with_its_preset(capsys, argv):
    code, printed = printed_by(capsys, *argv)
    assert code == 0
    for flag in (*FLAGS, *(f"--{setting.name.replace('_', '-')}" for setting in documented(PEARLConfig()))):
        assert flag in printed.replace("no-", "")
    assert ("(default: 0.9)" in printed) == ("point-robot" in argv)


def test_help_of_an_algorithm_shows_its_own_settings(capsys):
    _, printed = printed_by(capsys, "point-robot", "--algorithm", "rl2", "--help")
    assert "--agent.learning-rate" in printed
    assert "--encoder" not in printed


@pytest.mark.parametrize(
    "argv",
    [
        ["sparse-point-robot"],
        ["ml1-reach-v3", "--agent.kl-weight", "3e-5", "--training.context.recent-transitions", "50"],
        ["cheetah-vel", "--algorithm", "maml"],
        ["varying-cartpole", "--algorithm", "recurrent_sac", "--agent.observations.ignored", "0", "2"],
    ],
)
def test_a_printed_config_is_read_back_to_the_same_settings_and_nothing_is_trained(capsys, own_working_directory, argv):
    assert train.main([*argv, "--print-config"]) == 0
    printed = capsys.readouterr().out
    assert list(own_working_directory.iterdir()) == []
    (own_working_directory / "printed.yaml").write_text(printed)
    algorithm = argv[1:3] if "--algorithm" in argv else []
    read = train.parse(["point-robot", *algorithm, "--config", "printed.yaml"])[2]
    assert read == train.parse(argv)[2]


def test_a_tilde_in_a_path_is_the_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.yaml").write_text("agent: {discount: 0.5}\n")
    distribution, arguments, config = train.parse(["point-robot", "--run-dir=~/runs/x", "--config", "~/mine.yaml"])
    assert train.folder_of(distribution, arguments, config.algorithm) == tmp_path / "runs" / "x"
    assert isinstance(config, PEARLConfig)
    assert config.agent.discount == 0.5
