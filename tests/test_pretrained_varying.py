"""What the pretrained CartPole and Pendulum agents can do, straight from a clone."""

import numpy as np
import pytest
from stable_baselines3.common.evaluation import evaluate_policy

import pearl
from pearl.studies.probes import OtherZ
from tests.support.processes import ROOT

PRETRAINED = ROOT / "pretrained"
# Mean return of the last episode that the agents keep to with room to spare, and of what a policy without z gets.
ADAPTED = {"varying-cartpole": 480.0, "varying-pendulum": -250.0}
UNADAPTED = {"varying-cartpole": 250.0, "varying-pendulum": -700.0}


@pytest.fixture(scope="module", params=sorted(ADAPTED))
def model(request):
    return pearl.load(PRETRAINED / request.param)


def test_it_adapts_to_held_out_tasks_of_both_signs(model):
    evaluation = model.evaluate()
    assert set(model.test_tasks).isdisjoint(model.train_tasks)
    signs = np.array([task.params["action_sign"] for task in model.test_tasks])
    assert evaluation.returns[:, 0].mean() < UNADAPTED[model.family]
    for sign in (1, -1):
        assert evaluation.returns[signs == sign, -1].mean() > ADAPTED[model.family]


def test_without_its_z_it_fails(model):
    for change in (lambda z: z * 0, lambda z: z.roll(1, 0)):
        evaluation = model.evaluate(agent=OtherZ(model.agent, change))
        assert evaluation.returns[:, -1].mean() < UNADAPTED[model.family]


def test_an_adapted_policy_goes_through_stable_baselines3s_evaluation(model):
    env = model.task_distribution.make_env(model.test_tasks[0])
    policy = model.adapt(env, episodes=2, seed=0)
    mean, _ = evaluate_policy(policy, env, n_eval_episodes=5, deterministic=True, warn=False)
    assert mean > ADAPTED[model.family]
    assert all(parameter.grad is None for parameter in model.agent.parameters())


def test_a_few_transitions_tell_the_sign(model):
    """Two tasks that differ in the sign alone are told apart before the first episode is over."""
    params = model.test_tasks[0].to_json()
    means = []
    for sign in (1, -1):
        env = model.task_distribution.make_env(pearl.Task({**params, "action_sign": sign}))
        session = model.session(seed=0)
        observation, _ = env.reset(seed=0)
        env.action_space.seed(0)
        for _ in range(8):
            action = env.action_space.sample()
            following, reward, terminated, truncated, _ = env.step(action)
            session.observe(observation, action, float(reward), following, terminated, truncated)
            observation = following
            if terminated:
                observation, _ = env.reset()
        means.append(session.posterior.mean)
    apart = (means[0] - means[1]).abs().max()
    assert apart > 3 * session.posterior.stddev.max()
