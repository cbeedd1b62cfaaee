"""However large what is observed, and whatever the weights: what is known and what is done is finite, or it is said."""

import contextlib

import numpy as np
import pytest
import torch

from agents import Transitions
from agents.memories import leaves
from pearl import NonFiniteError, Task
from pearl.config.reading import from_mapping
from pearl.config.run import TransformerConfig
from pearl.evaluation.protocol import evaluate
from pearl.model.meta_learner import learner_of
from pearl.studies.metaworld import MetaworldAgent
from tests.support.agent_tester import KINDS
from tests.support.algorithms import CONFIGS
from tests.support.small import Counting, CountingEnv, small_config, small_model
from tests.support.tasks.metaworld_steps import timesteps
from tests.support.tasks.sampled_spaces import model_of

ZEROS = {"observation": np.zeros(3), "action": np.zeros(2), "next_observation": np.zeros(3)}
SETTINGS = {
    **{name: config for name, config in CONFIGS.items() if name != "oracle_sac"},
    **{f"pearl-{kind}": small_config(encoder={"kind": kind}) for kind in KINDS},
    **{
        f"pearl-{kind}-scalar": small_config(encoder={"kind": kind}, agent={"reward_scale": 1.0})
        for kind in ("linear_gaussian", "product_of_gaussians", "attention")
    },
    "transformer-scaled": from_mapping(TransformerConfig, {"agent": {"reward_scale": 1.0}}, CONFIGS["transformer"]),
    "pearl-following": small_config(agent={"exploration": {"z_follows_posterior": True}}),
}


def make(name):
    return learner_of(SETTINGS[name])(Counting(), SETTINGS[name], seed=0)


def broken(model, part=""):
    """The model with weights of NaN, in all of the agent or in a part of it."""
    with torch.no_grad():
        for name, parameter in model.agent.named_parameters():
            if name.startswith(part):
                parameter.fill_(float("nan"))
    return model


def step(session, *, large=0.0, of="reward", ends=False):
    values = {"reward": 1.0, **ZEROS}
    values |= {of: values[of] + large}
    session.observe(**values, terminated=False, truncated=ends)


def is_finite(memory):
    return all(bool(tensor.isfinite().all()) for tensor in leaves(memory))


@pytest.mark.parametrize("of", ["reward", "observation", "next_observation"])
@pytest.mark.parametrize("name", SETTINGS)
def test_a_memory_stays_finite_or_stays_as_it_was_whatever_is_observed(name, of):
    model = make(name)
    for large in (1e9, 1e20, 1e30, 1e35, 1e38, 3e38):
        session = model.session(seed=0)
        for number in range(8):
            before, draws = session.memory, session._rng.get_state()
            with contextlib.suppress(NonFiniteError):
                step(session, large=large, of=of, ends=number % 4 == 3)
                before = session.memory
            assert session.memory is before
            assert torch.equal(session._rng.get_state(), draws)
            assert is_finite(session.memory)
            assert np.isfinite(session.act(np.zeros(3))).all()


@pytest.mark.parametrize("name", ["pearl-product_of_gaussians-scalar", "pearl-attention-scalar", "transformer-scaled"])
def test_what_cannot_be_taken_in_is_refused_at_once_and_a_session_goes_on_after_it(name):
    session = make(name).session(seed=0)
    step(session)
    with pytest.raises(NonFiniteError, match="of task 0 would be NaN or infinite"):
        step(session, large=3e38)
    for number in range(4):
        step(session, ends=number == 3)
    assert is_finite(session.memory)


@pytest.mark.parametrize("name", ["pearl", "pearl-product_of_gaussians", "pearl-attention"])
def test_in_running_units_the_largest_reward_counts_as_ten_standard_deviations(name):
    session, clipped = (make(name).session(seed=0) for _ in range(2))
    for each, large in ((session, 3e38), (clipped, 9.0)):  # Before training the unit is one, and a step pays one.
        step(each)
        step(each, large=large, ends=True)
    assert is_finite(session.memory)
    torch.testing.assert_close(session.posterior.mean, clipped.posterior.mean)


def test_large_values_that_networks_take_are_read_at_once_and_as_others_are():
    session, together = (make("pearl").session(seed=0) for _ in range(2))
    agent, memory = together.agent, together.memory
    for number in range(3):
        step(session, large=1e12 * number)
    for number in range(3):
        values = {"reward": 1.0 + 1e12 * number, **ZEROS}
        rows, _ = together._rows(*(values[of] for of in ("observation", "action", "reward", "next_observation")))
        transition = Transitions(*(*map(torch.from_numpy, rows), torch.zeros(1)))
        memory = agent.observe(memory, transition, torch.ones(1, dtype=torch.bool))
    torch.testing.assert_close(session.posterior.mean, agent.posterior(memory).mean[0])


def test_the_largest_numbers_that_a_belief_was_to_take_in_are_named():
    session = make("pearl-product_of_gaussians-scalar").session(seed=0)
    with pytest.raises(NonFiniteError, match=r"The posterior of task 0 .* values up to .*, reward 3e\+38, next_obs"):
        step(session, large=3e38)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "blind"])
def test_an_encoder_without_finite_weights_gives_no_belief(kind):
    model = broken(make(f"pearl-{kind}"), "encoder")
    follows = model.session(seed=0)
    first = follows.memory
    with pytest.raises(NonFiniteError, match=r"The posterior of task 0 .* after values up to"):
        step(follows)
    assert follows.memory is first
    session = model.session(seed=0, follow=False)
    step(session)
    before = session.memory
    with pytest.raises(NonFiniteError, match=r"belief|posterior"):
        step(session, ends=True)
    assert session.memory is before
    for asked in (lambda: session.posterior, session.policy):
        with pytest.raises(NonFiniteError):
            assert asked().posterior is None


@pytest.mark.parametrize("name", SETTINGS)
def test_an_agent_without_finite_weights_does_not_act(name):
    model = broken(make(name))
    with pytest.raises(NonFiniteError, match="action is"):
        model.session(seed=0).act(np.zeros(3))
    with pytest.raises(NonFiniteError, match="action is"):
        model.predict(np.zeros((2, 3)), deterministic=True)
    with pytest.raises(NonFiniteError, match=r"chose the action \[nan nan\] for task 0 at step 1"):
        model.adapt(CountingEnv(0.5), episodes=1)
    with pytest.raises(NonFiniteError, match=r"for task 0 \(number=.*\) at step 1 of the trial"):
        model.evaluate()


@pytest.mark.parametrize("actions", ["discrete", "multi-discrete", "multi-binary"])
@pytest.mark.parametrize("deterministic", [True, False])
def test_no_action_of_a_finite_set_comes_from_weights_that_are_not_finite(actions, deterministic):
    model = broken(model_of("vector", actions))
    with pytest.raises(NonFiniteError, match="for the actions to choose from"):
        model.session(seed=0).act(np.zeros(3), deterministic)


def test_a_rollout_names_the_task_whose_belief_would_not_be_finite():
    model = make("pearl-product_of_gaussians-scalar")
    tasks = [Task({"number": number}) for number in (0.5, 3e38, 0.25)]
    with pytest.raises(NonFiniteError, match=r"At step \d+ of the trial of task 1 \(number=3e\+38\): The belief"):
        evaluate(model.agent.keeping(), Counting(), tasks, episodes=1, exploration_episodes=0, seed=0)


def test_metaworlds_agent_keeps_its_beliefs_where_a_step_cannot_be_taken_in():
    agent = MetaworldAgent(
        small_model(
            encoder={"kind": "product_of_gaussians", "context_fields": ("observation", "action", "reward")},
            agent={"reward_scale": 1.0},
        )
    )
    ordinary, large = timesteps(2, ends=(0, 1))[:2]
    agent.step(ordinary)
    before = agent.memory
    large.reward[:] = 3e38
    with pytest.raises(NonFiniteError):
        agent.step(large)
    assert agent.memory is before
