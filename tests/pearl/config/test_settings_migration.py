"""Settings that moved into nested sections: old documents load, old names in files are answered with the new ones."""

import dataclasses
import json
import math
from copy import deepcopy

import pytest

import pearl
from encoders.settings import setting_types
from pearl.config.migration import MOVED, migrated_settings
from pearl.config.reading import ConfigError, from_mapping, non_default_settings, read_yaml, to_mapping
from pearl.config.run import MAMLConfig, PEARLConfig, RecurrentSACConfig, RL2Config, load_preset
from pearl.model.document import VERSION, migrated
from tests.support.processes import ROOT

PUBLISHED = sorted((ROOT / "pretrained").iterdir())
ACTION_WIDTHS = {
    "ant-forward-backward": 8,
    "cheetah-dir": 6,
    "cheetah-vel": 6,
    "image-point-robot": 2,
    "point-robot": 2,
    "sparse-point-robot": 2,
    "varying-pendulum": 1,
}
"""Width of the action of published agents whose target entropy was the default; varying-cartpole's is discrete"""


def flat(settings):
    """Settings as version 1 of documents had them; those that came later stay where they are."""
    parts = deepcopy(settings)
    for former, present in MOVED.items():
        section, old = former.split(".")
        _, nested, new = present.split(".")
        parts[section][old] = parts[section][nested].pop(new)
    for section, nested in {tuple(present.split(".")[:2]) for present in MOVED.values()}:
        if not parts[section][nested]:
            del parts[section][nested]
    return parts


def test_every_moved_setting_has_a_place_where_it_is_now_and_none_where_it_was():
    for former, present in MOVED.items():
        kind = PEARLConfig
        *sections, last = present.split(".")
        for section in sections:
            kind = setting_types(kind)[section]
        assert last in setting_types(kind)
        section, old = former.split(".")
        assert old not in setting_types(setting_types(PEARLConfig)[section])


@pytest.mark.parametrize("folder", PUBLISHED, ids=lambda folder: folder.name)
def test_a_published_agents_document_is_of_version_1_and_keeps_every_setting(folder):
    (path,) = folder.glob("state-*.json")
    document = json.loads(path.read_text())
    assert "version" not in document
    read = migrated(document)
    now = flat(to_mapping(from_mapping(PEARLConfig, read["config"])))
    kept = document["config"]
    if kept["agent"]["target_entropy"] is None and folder.name in ACTION_WIDTHS:
        # None stood for this number until version 2.
        kept["agent"]["target_entropy"] = -ACTION_WIDTHS[folder.name]
    for section, settings in kept.items():  # It lacks settings that are younger than the agent.
        assert {name: now[section][name] for name in settings} == settings


def test_a_published_agent_loads_with_its_settings_in_their_sections():
    config = pearl.load(PUBLISHED[0].parent / "sparse-point-robot").config
    assert config.agent.exploration.sweep == 0.05
    assert config.training.relabelling.candidates == 512
    assert config.training.context.max_length == 120


def test_a_published_agent_keeps_its_scale_of_rewards_and_its_target_entropy():
    model = pearl.load(PUBLISHED[0].parent / "varying-pendulum")
    assert (model.config.agent.reward_scale, model.config.agent.target_entropy) == (0.1, -1.0)
    assert model.agent.target_entropy == -1.0
    assert model.agent.units is None


def test_a_document_of_this_version_is_not_migrated():
    document = {"version": VERSION, "config": {"agent": {"sweep": 0.1}}}
    assert migrated(document)["config"] == {"agent": {"sweep": 0.1}}


BOX = {"observation": "Box(-inf, inf, (2,), float32)", "action": "Box(-2.0, 2.0, (3,), float32)"}
DISCRETE = {"observation": "Box(-inf, inf, (2,), float32)", "action": "Discrete(4)"}


def read_version_2(spaces, agent=()):
    document = {
        "version": 2,
        "algorithm": "pearl",
        "spaces": spaces,
        "config": {"encoder": {}, "agent": {"temperature": None, **dict(agent)}, "training": {}},
    }
    return from_mapping(PEARLConfig, migrated(document)["config"])


def test_what_a_document_of_version_2_leaves_out_has_its_former_default():
    config = read_version_2(BOX)
    encoder, agent, training = config.encoder, config.agent, config.training
    assert encoder.context_fields == ("observation", "action", "reward")
    assert encoder.hidden_sizes == (128, 128)
    assert not agent.observations.normalise
    assert not agent.critic_layer_norm
    assert agent.hidden_sizes == (256, 256)
    assert (agent.reward_scale, agent.discount, agent.target_update_rate) == (1.0, 0.99, 0.005)
    assert (agent.final_learning_rate, agent.initial_temperature, agent.kl_weight) == (None, 0.1, 0.1)
    assert (training.n_train_tasks, training.tasks_per_iteration, training.initial_episodes) == (80, None, 1)
    assert (training.gradient_steps_per_env_step, training.batch_size) == (0.1, 64)
    assert (training.context.max_length, training.context.random_length) == (60, False)


@pytest.mark.parametrize("run", [RL2Config, MAMLConfig, RecurrentSACConfig])
@pytest.mark.parametrize("version", [1, 2, 3])
def test_an_older_document_of_another_algorithm_keeps_its_scale_of_rewards(run, version):
    def read(agent):
        name = "system" if version == 1 else "algorithm"
        document = {"version": version, name: run.algorithm, "config": {"agent": agent}}
        return from_mapping(run, migrated(document)["config"]).agent

    assert read({}).reward_scale == 1.0
    assert read({"reward_scale": 0.1}).reward_scale == 0.1
    assert run().agent.reward_scale is None


def test_what_a_document_of_version_2_sets_stays():
    config = read_version_2(BOX, {"discount": 0.5, "observations": {"normalise": True, "ignored": [1]}})
    assert config.agent.discount == 0.5
    assert config.agent.observations.normalise
    assert config.agent.observations.ignored == (1,)


@pytest.mark.parametrize(("spaces", "target"), [(BOX, -3.0), (DISCRETE, None)])
def test_a_document_of_version_2_keeps_the_target_entropy_of_its_actions(spaces, target):
    assert read_version_2(spaces).agent.target_entropy == target
    assert read_version_2(spaces, {"target_entropy": -0.25}).agent.target_entropy == -0.25


@pytest.mark.parametrize("actions", ["Box(-1.0, 1.0, (2, 3), float32)", "Box([-1. -2. -1.\n -1.], 1.0, (6,), float64)"])
def test_the_action_width_of_an_array_is_the_product_of_its_sides(actions):
    assert read_version_2(BOX | {"action": actions}).agent.target_entropy == -6.0


def test_a_document_of_version_2_without_its_actions_has_no_target_entropy_of_its_own():
    assert read_version_2({}).agent.target_entropy is None
    assert read_version_2(None).agent.target_entropy is None


@pytest.mark.parametrize(
    ("actions", "n"),
    [
        ("Discrete(5)", 5),
        ("Discrete(5, start=-2)", 5),
        ("MultiDiscrete([3 4])", 12),
        ("MultiDiscrete([[3 4]\n [2 2]])", 48),
        ("MultiBinary(3)", 8),
        ("MultiBinary((2, 3))", 64),
    ],
)
def test_a_temperature_that_was_learnt_for_a_finite_set_of_actions_is_learnt_on(actions, n):
    def target(version, spaces, **agent):
        settings = {"temperature": None, "target_entropy": None, "reward_scale": None, **agent}
        document = {"version": version, "spaces": spaces, "config": {"agent": settings}}
        return migrated(document)["config"]["agent"]["target_entropy"]

    spaces = BOX | {"action": actions}
    assert target(4, spaces) == pytest.approx(0.3 * math.log(n))
    assert target(4, spaces, target_entropy=0.1) == 0.1
    assert target(4, spaces, temperature=0.2) is target(4, spaces, reward_scale=1.0) is None
    assert target(5, spaces) is target(4, BOX) is target(4, {}) is None


HUGE = "9" * 400


@pytest.mark.parametrize("version", [2, 4])
@pytest.mark.parametrize(
    "actions",
    [
        f"MultiBinary({HUGE})",
        f"Discrete({HUGE})",
        "Discrete(0)",
        f"MultiDiscrete([{HUGE}])",
        f"Box(-1.0, 1.0, ({HUGE},), float32)",
    ],
)
def test_spaces_of_sizes_that_no_agent_has_give_no_target_entropy(version, actions):
    settings = {"temperature": None, "target_entropy": None, "reward_scale": None}
    document = {"version": version, "spaces": BOX | {"action": actions}, "config": {"agent": settings}}
    assert migrated(document)["config"]["agent"]["target_entropy"] is None


@pytest.mark.parametrize("family", ["sparse-point-robot", "ml1-reach-v3", "varying-pendulum"])
def test_settings_of_any_time_migrate_to_the_same_and_once_is_enough(family):
    settings = to_mapping(load_preset(family))
    assert migrated_settings(flat(settings)) == migrated_settings(settings) == settings


@pytest.mark.parametrize("settings", [{}, {"agent": 3}, {"agent": {"sweep": 0.1, "exploration": 3}}, {"x": {"y": 1}}])
def test_settings_of_another_form_pass_as_they_are(settings):
    assert migrated_settings(settings) == settings


def test_settings_that_are_migrated_stay_as_they_were():
    settings = {"agent": {"sweep": 0.1, "exploration": {}}}
    migrated_settings(settings)
    assert settings == {"agent": {"sweep": 0.1, "exploration": {}}}


def test_a_setting_under_both_names_is_refused():
    both = migrated_settings({"agent": {"sweep": 0.1, "exploration": {"sweep": 0.2}}})
    with pytest.raises(ConfigError, match=r"agent\.sweep is now agent\.exploration\.sweep"):
        from_mapping(PEARLConfig, both)


@pytest.mark.parametrize(("former", "present"), MOVED.items())
def test_a_former_name_in_a_file_is_answered_with_the_present_one(former, present):
    section, name = former.split(".")
    with pytest.raises(ConfigError, match=rf"In mine\.yaml: .*{former} is now {present}\."):
        read_yaml(f"{section}: {{{name}: 0}}", "mine.yaml", PEARLConfig())


def test_an_algorithm_without_the_section_answers_as_for_any_unknown_setting():
    assert not hasattr(RL2Config().agent, "exploration")
    with pytest.raises(ConfigError, match=r"Unknown setting 'agent\.sweep'\. .*Settings here: "):
        from_mapping(RL2Config, {"agent": {"sweep": 0.1}})


@pytest.mark.parametrize("run", [PEARLConfig, RL2Config, MAMLConfig])
def test_what_differs_from_the_defaults_is_named_down_to_the_setting(run):
    config = from_mapping(run, {"agent": {"observations": {"normalise": False}, "discount": 0.5}})
    assert non_default_settings(config) == {"agent": {"observations": {"normalise": False}, "discount": 0.5}}
    assert non_default_settings(run()) == {}
    assert dataclasses.replace(from_mapping(run, non_default_settings(config))) == config


@pytest.mark.parametrize("version", range(1, VERSION + 1))
def test_a_document_from_before_z_followed_keeps_z_and_infers_no_tasks(version):
    def read(auxiliary, exploration):
        settings = {"auxiliary": auxiliary, "exploration": exploration}
        config = {"encoder": {}, "agent": settings, "training": {}}
        document = {"version": version, "algorithm": "pearl", "spaces": BOX, "config": config}
        agent = from_mapping(PEARLConfig, migrated(document)["config"]).agent
        return agent.auxiliary.task_inference_weight, agent.exploration.z_follows_posterior

    assert read({}, {}) == ((0.0, False) if version < 6 else (None, True))
    assert read({"task_inference_weight": 0.5}, {"z_follows_posterior": True}) == (0.5, True)
    assert read({"task_inference_weight": 0.5}, {"z_follows_posterior": False}) == (0.5, False)
