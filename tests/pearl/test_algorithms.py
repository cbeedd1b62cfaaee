"""Every algorithm is trained, evaluated, saved, resumed and adapted by the same code, and keeps the same promises."""

import dataclasses

import numpy as np
import pytest

import pearl
from agents import (
    ObservationsConfig,
    RL2AgentConfig,
)
from encoders import EncoderConfig
from pearl import plots
from pearl.algorithms import ALGORITHMS, find_algorithm
from pearl.config.reading import ConfigError, to_mapping
from pearl.config.run import (
    EvaluationConfig,
    FOMAMLConfig,
    MAMLConfig,
    MultitaskSACConfig,
    OracleSACConfig,
    RecurrentSACConfig,
    ReptileConfig,
    RL2Config,
    TransformerConfig,
    load_preset,
    preset,
)
from pearl.config.training import CollectionConfig
from pearl.evaluation.protocol import Evaluation
from pearl.model.meta_learner import MetaLearner, learner_of
from pearl.runs.report import draw_adaptation, draw_evaluation
from pearl.runs.run import Run, RunError, resume, run_name
from tests.support.algorithms import ADAPTING, COLLECTION, CONFIGS, PROTOCOL, made
from tests.support.small import HORIZON, Counting, CountingEnv, differences, everything_learnt, small_config

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(params=CONFIGS)
def config(request):
    return CONFIGS[request.param]


def infers_nothing(model):
    """Whether the model is a reference that has to act alike whatever it saw."""
    return isinstance(model.config, MultitaskSACConfig)


@pytest.fixture
def model(config):
    return made(config)


def test_every_algorithm_is_tested_here():
    assert set(CONFIGS) == set(ALGORITHMS)
    assert all(type(config) is ALGORITHMS[name].config for name, config in CONFIGS.items())


def test_an_algorithm_of_no_such_name_is_answered_with_those_that_there_are():
    with pytest.raises(ConfigError, match=r"There is no algorithm 'rl3'\. Algorithms: pearl, maml, .*, recurrent_sac"):
        find_algorithm("rl3")


def test_n_steps_saved_and_loaded_and_n_more_equal_2n_bit_for_bit(config, tmp_path):
    unbroken, first = made(config).learn(160), made(config).learn(80)
    first.save(tmp_path)
    resumed = pearl.load(tmp_path, distribution=Counting())
    assert type(resumed) is type(first)
    assert resumed.config == config.for_tasks(HORIZON)
    assert differences(everything_learnt(first), everything_learnt(resumed)) == []
    resumed.learn(160 - resumed.num_timesteps)
    assert unbroken.training.gradient_steps > first.training.gradient_steps > 0
    assert differences(everything_learnt(unbroken), everything_learnt(resumed)) == []


def test_the_seed_fixes_everything_and_another_gives_another(config):
    first, again, other = (everything_learnt(made(config, seed).learn(80)) for seed in (0, 0, 1))
    assert differences(first, again) == []
    assert differences(first, other) != []


def test_weights_alone_act_alike_but_cannot_go_on(model, tmp_path):
    run = Run(model.learn(80), tmp_path, wandb="disabled")
    model.save(tmp_path / "checkpoint", training_state=False)
    run.tracker.close()
    loaded = pearl.load(tmp_path, distribution=Counting())
    assert np.array_equal(loaded.evaluate().returns, model.evaluate().returns)
    with pytest.raises(RunError, match="holds only weights"):
        resume(tmp_path, distribution=Counting())


def test_a_run_of_one_algorithm_does_not_go_on_as_another(model, tmp_path):
    model.learn(80).save(tmp_path / "checkpoint")
    other = next(config for config in CONFIGS.values() if type(config) is not type(model.config))
    with pytest.raises(RunError, match=f"trains {model.config.algorithm}, not {other.algorithm}"):
        resume(tmp_path, config=other, distribution=Counting())


def test_more_steps_may_be_asked_of_a_resumed_run_and_nothing_else(model, tmp_path):
    model.learn(80).save(tmp_path / "checkpoint")
    training = dataclasses.replace(model.config.training, total_steps=999)
    config = dataclasses.replace(model.config, training=training)
    assert resume(tmp_path, config=config, distribution=Counting()).config == config


def test_adaptation_returns_a_policy_that_speaks_stable_baselines3(model):
    policy = model.adapt(model.task_distribution.make_env(model.test_tasks[0]), episodes=2, seed=0)
    assert policy.trial.episode_returns(2).shape == (1, 2)
    observation = np.linspace(0.5, 2.0, *model.observation_space.shape, dtype=np.float32)
    action, state = policy.predict(observation, deterministic=True)
    assert model.action_space.contains(action)
    assert state is None
    again, _ = policy.predict(observation, deterministic=True)
    assert np.array_equal(action, again)
    rows, state = policy.predict(np.stack([observation] * 3), None, np.ones(3, bool), deterministic=True)
    assert rows.shape == (3, 2)
    rows, _ = policy.predict(np.stack([observation] * 3), state, np.zeros(3, bool), deterministic=True)
    assert rows.shape == (3, 2)


def test_what_was_observed_changes_how_a_session_acts_unless_the_algorithm_infers_nothing(model):
    model.learn(160)
    actions = []
    for reward in (-50.0, 50.0):
        session = model.session(seed=0)
        observation = np.linspace(0.1, 1.0, *model.observation_space.shape, dtype=np.float32)
        for step in range(5):  # From steps that are all alike a policy's gradient learns nothing.
            session.observe(observation, np.full(2, 0.02 * step), reward, observation, False, step == 4)
        actions.append(session.act(observation, deterministic=True))
    assert np.array_equal(*actions) == infers_nothing(model)


def test_only_pearl_has_a_posterior(model):
    session = model.session(seed=0)
    if model.config.algorithm == "pearl":
        assert session.posterior.mean.shape == (2,)
    else:
        with pytest.raises(TypeError, match="Only PEARL has a posterior"):
            _ = session.posterior


def test_a_run_leaves_the_same_files_whatever_the_algorithm(model, tmp_path):
    run = Run(model, tmp_path, wandb="disabled")
    assert isinstance(run.train(), Evaluation)
    for name in ("config.json", "tasks.json", "progress.csv", "result.json", "checkpoint/manifest.json"):
        assert (tmp_path / name).is_file()
    drawn = {path.stem for path in (tmp_path / "plots").iterdir()}
    assert {"learning_curve", "return_by_episode"} <= drawn
    assert ("posterior_means" in drawn) == (model.config.algorithm == "pearl")


def test_only_pearl_logs_what_its_posterior_does(model):
    logged = []
    model.learn(40, on_evaluation=lambda evaluation, metrics: logged.append(set(metrics)))
    assert ("test/posterior_stddev" in logged[-1]) == (model.config.algorithm == "pearl")


def test_pictures_say_that_no_gradient_is_taken_where_none_is(model, tmp_path, monkeypatch):
    said = []
    for name, text in (("return_by_episode", "by_gradient"), ("adaptation_story", "subtitle")):
        monkeypatch.setattr(plots, name, lambda *_, text=text, **given: said.append(given[text]))
    draw_evaluation(model.agent, model.task_distribution, model.test_tasks, model.evaluate(), tmp_path)
    task = model.test_tasks[0]
    policy = model.adapt(model.task_distribution.make_env(task), episodes=2, seed=0)
    draw_adaptation(model.agent, model.task_distribution, task, policy.trial, {}, tmp_path / "a.png")
    by_gradient = model.config.algorithm in ("maml", "fomaml", "reptile")
    assert said[0] == by_gradient
    assert said[1].startswith("no gradient step") != by_gradient


def test_a_preset_of_another_algorithm_is_that_algorithms():
    assert isinstance(preset(RL2Config, "point-robot"), RL2Config)
    assert preset(RL2Config, "no-such-family").agent == RL2AgentConfig()


def test_the_class_of_a_model_follows_from_its_settings():
    assert learner_of(CONFIGS["pearl"]) is pearl.PEARL
    assert learner_of(CONFIGS["rl2"]) is MetaLearner
    assert learner_of(CONFIGS["multitask_sac"]) is MetaLearner


@pytest.mark.parametrize("kind", [RL2Config, TransformerConfig, RecurrentSACConfig])
@pytest.mark.parametrize("family", ["sparse-point-robot", "cheetah-dir", "ml1-reach-v3", "no-such-family"])
def test_other_algorithms_are_trained_on_pearls_tasks_and_judged_by_its_protocol(kind, family):
    other, usual = preset(kind, family), load_preset(family)
    assert other.evaluation == usual.evaluation
    assert other.training.n_train_tasks == usual.training.n_train_tasks
    assert other.training.episodes_per_trial == usual.evaluation.episodes


def test_what_is_learnt_from_was_acted_on_with_the_same_statistics():
    """Before the first gradient step moves a weight, the probabilities of what was sampled are those noted."""
    agent = RL2AgentConfig(
        memory_width=6, hidden_sizes=(8,), observations=ObservationsConfig(normalise=True), epochs=1, minibatches=1
    )
    model = made(RL2Config(agent=agent, training=COLLECTION, evaluation=PROTOCOL))
    assert model.training.iterate() == {}  # A random policy plays the first iteration, for the units alone.
    assert model.training.gradient_steps == 0
    for _ in range(2):
        assert model.training.iterate()["ratio_change"] < 1e-5
    assert model.agent.features.count == model.num_timesteps


@pytest.mark.parametrize("name", ["rl2", "recurrent_sac"])
def test_algorithms_that_learn_on_the_cpu_alone_refuse_another_device(name, tmp_path):
    model = made(CONFIGS[name])
    model.save(tmp_path)
    assert pearl.load(tmp_path, distribution=Counting(), device="cpu").config == model.config
    with pytest.raises(ConfigError, match=f"{name} learns on the CPU only"):
        pearl.load(tmp_path, distribution=Counting(), device="cuda")


@pytest.mark.parametrize("name", ["rl2", "recurrent_sac", "multitask_sac"])
def test_pearl_takes_no_other_algorithms_settings(name):
    kind = type(CONFIGS[name]).__name__
    with pytest.raises(TypeError, match=rf"got a {kind}\. Use pearl\.MetaLearner"):
        pearl.PEARL(Counting(), CONFIGS[name])


@pytest.mark.parametrize("kind", [MAMLConfig, FOMAMLConfig, ReptileConfig])
def test_a_trial_too_short_to_adapt_in_is_refused_with_the_setting_to_change(kind):
    agent = type(kind().agent)(**ADAPTING | {"adaptations": 2})
    longer = CollectionConfig(total_steps=160, n_train_tasks=4, episodes_per_trial=3)
    with pytest.raises(
        ConfigError, match=r"adapts 2 times, after 1 episodes .*\.episodes_per_trial must be at least 3"
    ):
        made(kind(agent=agent, training=COLLECTION, evaluation=PROTOCOL))
    short = EvaluationConfig(exploration_episodes=1, episodes=2, n_test_tasks=2)
    with pytest.raises(ConfigError, match=r"evaluation\.exploration_episodes must be at least 2"):
        made(kind(agent=agent, training=longer, evaluation=short))


def test_a_run_is_named_after_its_algorithm():
    assert run_name("point-robot", "pearl", 3) == "point-robot-seed3"
    assert run_name("point-robot", "rl2", 3) == "point-robot-rl2-seed3"


@pytest.mark.parametrize("kind", [MultitaskSACConfig, OracleSACConfig])
@pytest.mark.parametrize("family", ["sparse-point-robot", "cheetah-dir", "no-such-family"])
def test_a_reference_that_infers_nothing_has_pearls_settings_apart_from_inference(kind, family):
    reference, usual = preset(kind, family), load_preset(family)
    assert reference.evaluation == usual.evaluation
    assert reference.encoder.kind == "blind"
    assert (reference.agent.kl_weight, reference.agent.exploration.sweep) == (0, None)
    filled = reference.for_tasks(20, rare_rewards=lambda: pytest.fail("nothing depends on it"))
    assert (filled.agent.exploration.sweep, filled.training.relabelling.candidates) == (0, 0)
    for section, inference in (
        ("agent", {"kl_weight", "exploration", "auxiliary"}),
        ("training", {"context", "relabelling"}),
    ):
        found, expected = (to_mapping(getattr(config, section)) for config in (reference, usual))
        assert {name for name in found if found[name] != expected[name]} <= inference


@pytest.mark.parametrize("kind", [MultitaskSACConfig, OracleSACConfig])
def test_a_reference_with_an_encoder_that_infers_is_refused(kind):
    with pytest.raises(
        ConfigError, match=rf"{kind.algorithm} does not infer .*must be blind, got 'gru'.*--algorithm pearl"
    ):
        kind(encoder=EncoderConfig(kind="gru"))


def test_references_meet_the_same_tasks_as_pearl():
    models = [made(CONFIGS[name]) for name in ("pearl", "multitask_sac", "oracle_sac")]
    assert len({(*model.train_tasks, *model.test_tasks) for model in models}) == 1
    assert {model.family for model in models} == {"Counting"}


def test_the_oracle_is_told_the_task_and_says_so_of_an_environment_that_does_not_tell_it():
    model = made(CONFIGS["oracle_sac"])
    task = model.test_tasks[0]
    observation, _ = model.task_distribution.make_env(task).reset(seed=0)
    assert observation[-1] == pytest.approx(task.params["number"], abs=0.01)
    with pytest.raises(ValueError, match=r"observation space is Box\(.*\(3,\).*trained on Box\(.*\(4,\)"):
        model.adapt(CountingEnv(0.5))


def test_the_oracle_loads_by_its_familys_name(tmp_path):
    config = OracleSACConfig.matching(small_config())
    model = MetaLearner("point-robot", config).learn(80)
    model.save(tmp_path)
    loaded = pearl.load(tmp_path)
    assert loaded.family == "point-robot"
    assert np.array_equal(loaded.evaluate().returns, model.evaluate().returns)
