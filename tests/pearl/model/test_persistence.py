"""What is saved comes back as it was, and what does not fit is refused with the reason."""

import json
import platform
import shutil
from importlib import metadata

import numpy as np
import pytest
import torch

import pearl
from agents import RL2AgentConfig
from pearl import PEARL, CheckpointError, MetaLearner, Task
from pearl.checkpoint.store import read_checkpoint
from pearl.config.reading import ConfigError, to_mapping
from pearl.model.loading import find_checkpoint
from pearl.model.saving import describe
from tests.support.checkpoint.forgeries import rewrite
from tests.support.small import (
    INITIAL,
    ITERATION,
    Counting,
    differences,
    everything_learnt,
    load,
    small_config,
    small_model,
)


@pytest.fixture(scope="module")
def model():
    """A counting model that has learnt for two iterations."""
    return small_model(agent={"final_learning_rate": 1e-4}).learn(INITIAL + ITERATION)


@pytest.fixture
def saved(model, tmp_path):
    model.save(tmp_path / "saved")
    return tmp_path / "saved"


def test_everything_that_was_learnt_comes_back(model, saved):
    loaded = load(saved)
    assert differences(everything_learnt(model), everything_learnt(loaded)) == []
    assert loaded.config == model.config
    assert (loaded.train_tasks, loaded.test_tasks) == (model.train_tasks, model.test_tasks)
    assert (loaded.seed, loaded.family, loaded.horizon) == (model.seed, model.family, model.horizon)
    assert (loaded.num_timesteps, loaded.next_evaluation, loaded.wall_s) == (
        model.num_timesteps,
        model.next_evaluation,
        model.wall_s,
    )


def test_predictions_are_equal_after_loading(model, saved):
    loaded = load(saved)
    observations = np.random.default_rng(0).normal(size=(5, 3))
    env = model.task_distribution.make_env(model.test_tasks[0])
    policies = [each.adapt(env, episodes=2, seed=4) for each in (model, loaded)]
    for deterministic in (True, False):
        one, other = (policy.predict(observations, deterministic=deterministic)[0] for policy in policies)
        assert np.array_equal(one, other)
    assert torch.equal(policies[0].posterior.mean, policies[1].posterior.mean)


@pytest.mark.parametrize("follows", [None, False, True])
def test_z_follows_the_posterior_in_a_loaded_model_where_that_is_asked_for(model, saved, follows):
    loaded = pearl.load(saved, distribution=Counting(), z_follows_posterior=follows)
    assert isinstance(loaded, PEARL)
    assert loaded.agent.config.exploration.z_follows_posterior == (follows is not False)
    assert loaded.config.agent == loaded.agent.config
    assert differences(everything_learnt(model), everything_learnt(loaded)) == []


def test_where_there_is_no_z_nothing_can_follow_a_posterior(tmp_path):
    config = pearl.RL2Config(agent=RL2AgentConfig(memory_width=4, hidden_sizes=(4,)))
    MetaLearner(Counting(), config).save(tmp_path)
    with pytest.raises(ConfigError, match="rl2 infers no z"):
        pearl.load(tmp_path, distribution=Counting(), z_follows_posterior=True)


def test_draws_without_a_seed_go_on_where_they_were_saved(tmp_path):
    model = small_model()
    model.session()
    model.save(tmp_path)
    loaded = load(tmp_path)
    for _ in range(2):
        assert torch.equal(model.session().memory.z, loaded.session().memory.z)


def test_saving_changes_nothing(model, tmp_path):
    before = everything_learnt(model)
    model.save(tmp_path)
    assert differences(before, everything_learnt(model)) == []


@pytest.mark.parametrize("as_text", [True, False])
def test_a_checkpoint_folder_and_a_run_folder_both_load(model, tmp_path, as_text):
    model.save(tmp_path / "run" / "checkpoint")
    for folder in (tmp_path / "run", tmp_path / "run" / "checkpoint"):
        assert find_checkpoint(folder) == tmp_path / "run" / "checkpoint"
        assert load(str(folder) if as_text else folder).num_timesteps == model.num_timesteps


def test_a_registered_family_loads_by_its_name(tmp_path):
    small_model("point-robot").save(tmp_path)
    assert pearl.load(tmp_path).family == "point-robot"


def test_an_unregistered_family_asks_for_its_distribution(saved):
    with pytest.raises(CheckpointError, match=r"family 'Counting', which is not registered.*distribution="):
        pearl.load(saved)


def test_tasks_of_ones_own_choice_come_back(tmp_path):
    tasks = [[Task({"number": float(k)}) for k in numbers] for numbers in (range(4), range(4, 7))]
    PEARL(Counting(), small_config(), tasks=(tasks[0], tasks[1])).save(tmp_path)
    loaded = load(tmp_path)
    assert [loaded.train_tasks, loaded.test_tasks] == tasks


def test_weights_alone_load_predict_equally_and_can_go_on_learning(model, tmp_path):
    model.save(tmp_path / "weights", training_state=False)
    model.save(tmp_path / "all")
    loaded = load(tmp_path / "weights")
    observation = np.ones(3)
    one, other = (each.session(seed=3).act(observation) for each in (model, loaded))
    assert np.array_equal(one, other)
    assert loaded.num_timesteps == model.num_timesteps
    assert isinstance(loaded, PEARL)
    assert loaded.training.replay.size().tolist() == [0] * 4
    before = loaded.training.gradient_steps
    loaded.learn(INITIAL + ITERATION)
    assert loaded.num_timesteps == 2 * (INITIAL + ITERATION)
    assert loaded.training.gradient_steps > before
    assert set(read_checkpoint(tmp_path / "weights").groups) == {"weights"}
    assert set(read_checkpoint(tmp_path / "all").groups) == {"weights", "optimizers", "replay"}


def test_a_model_that_never_learnt_is_saved_and_learns_alike_after_loading(tmp_path):
    model = small_model()
    model.save(tmp_path)
    loaded = load(tmp_path)
    assert differences(everything_learnt(model.learn(ITERATION)), everything_learnt(loaded.learn(ITERATION))) == []


def test_a_later_save_replaces_an_earlier_one(tmp_path):
    model = small_model()
    model.save(tmp_path)
    model.learn(INITIAL).save(tmp_path)
    assert load(tmp_path).num_timesteps == INITIAL


def test_a_moved_checkpoint_loads(saved, tmp_path):
    shutil.move(saved, tmp_path / "elsewhere")
    assert load(tmp_path / "elsewhere").num_timesteps == INITIAL + ITERATION


@pytest.mark.parametrize(
    "setting", [("agent", "hidden_sizes", [9]), ("encoder", "latent_dim", 3), ("encoder", "kind", "mean")]
)
def test_weights_that_do_not_fit_the_config_are_refused(saved, setting):
    section, field, value = setting
    rewrite(saved, lambda groups, document: document["config"][section].update({field: value}))
    with pytest.raises(CheckpointError, match="does not match its config"):
        load(saved)


def test_weights_that_are_missing_or_too_many_are_refused(saved):
    def one_fewer(groups, document):
        del groups["weights"]["actor.network.0.weight"]

    rewrite(saved, one_fewer)
    with pytest.raises(CheckpointError, match=r"(?s)does not match .*actor\.network\.0\.weight"):
        load(saved)


def test_an_optimizer_or_a_replay_that_does_not_fit_is_refused(model, tmp_path):
    def other_replay(groups, document):
        groups["replay"]["store"] = groups["replay"]["store"][:2]

    def no_replay(groups, document):
        del groups["replay"]

    def other_optimizer(groups, document):
        groups["optimizers"]["0.exp_avg"] = torch.zeros(1)

    for name, change in (("a", other_replay), ("b", no_replay), ("c", other_optimizer)):
        model.save(tmp_path / name)
        rewrite(tmp_path / name, change)
        with pytest.raises(CheckpointError, match="does not match its config"):
            load(tmp_path / name)


def test_settings_that_this_version_does_not_know_are_refused_by_name(saved):
    rewrite(saved, lambda groups, document: document["config"]["agent"].update(tempo=3))
    with pytest.raises(CheckpointError, match=r"settings that this version does not know: .*agent\.tempo"):
        load(saved)


def test_a_family_whose_spaces_have_changed_is_refused(saved):
    with pytest.raises(CheckpointError, match=r"trained on the spaces .*\(3,\).*now has .*\(2,\)") as error:
        pearl.load(saved, distribution=OtherSpaces())
    assert str(saved) in str(error.value)


class OtherSpaces(Counting):
    """The counting family's tasks, played by point robots."""

    name = "Counting"

    def make_env(self, task, *, render_mode=None):
        return pearl.tasks.make("point-robot").make_env(Task({"goal": [0.0, 1.0]}))


def test_a_truncated_file_is_named(saved):
    (path,) = saved.glob("weights-*.safetensors")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=path.name):
        load(saved)


def test_an_altered_file_is_named(saved):
    (path,) = saved.glob("replay-*.safetensors")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=path.name):
        load(saved)


def test_a_folder_without_a_checkpoint_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=str(tmp_path)):
        load(tmp_path)
    with pytest.raises(CheckpointError, match="nowhere"):
        load(tmp_path / "nowhere")


def test_the_versions_that_a_result_depends_on_are_recorded(model, saved):
    versions = read_checkpoint(saved).document["versions"]
    assert versions["pearl-metarl"] == pearl.__version__
    assert versions["torch"] == str(torch.__version__)  # with the build, which the metadata may lack
    assert versions["gymnasium"] == metadata.version("gymnasium")
    assert versions["python"] == platform.python_version()
    assert describe(model)["versions"] == versions


def test_a_runs_description_is_its_settings(model):
    described = json.loads(json.dumps(describe(model)))
    assert (described["family"], described["seed"]) == ("Counting", 0)
    assert {name: described[name] for name in to_mapping(model.config)} == json.loads(
        json.dumps(to_mapping(model.config))
    )


def test_no_file_of_a_checkpoint_is_a_pickle(saved):
    assert {path.suffix for path in saved.iterdir()} == {".safetensors", ".json"}
