"""Critics fit the rewards of one batch in their own unit, whatever the encoder, the actions and the critics' kind."""

import pytest
import torch
from torch import Tensor

from agents import PEARLAgent
from agents.networks.actor_critic import CategoricalCritics
from tests.support.agent_tester import LEARNERS, MakeAgent, generator, random_batch


@pytest.fixture(params=list(LEARNERS.values()), ids=list(LEARNERS))
def make(request: pytest.FixtureRequest) -> MakeAgent:
    return request.param  # type: ignore[no-any-return]


def least_critic_loss(agent: PEARLAgent, reward: Tensor) -> float:
    """The loss of critics that know rewards, (task, step), after which every episode terminates."""
    if not isinstance(agent.critics, CategoricalCritics):
        return 0.0
    target = agent.bellman_target(reward, torch.ones_like(reward), torch.zeros_like(reward))
    entropy = torch.distributions.Categorical(agent.critics.bins.probabilities(target)).entropy()
    return agent.config.n_critics * float(entropy.mean())


def test_learning_on_one_batch_again_and_again_fits_its_rewards(make: MakeAgent) -> None:
    agent = make(0)
    batch = random_batch(action_space=agent.action_space)
    batch = batch._replace(transitions=batch.transitions._replace(terminated=torch.ones(3, 8)))
    agent.set_learning_rate(1e-2)
    least = least_critic_loss(agent, batch.transitions.reward)
    losses = [float(agent.update(batch, generator(0))["critic_loss"]) - least for _ in range(60)]
    assert 0.0 <= losses[-1] < 0.3 * losses[0]


def test_critics_that_fit_the_rewards_value_them_in_their_unit(make: MakeAgent) -> None:
    agent = make(0)
    batch = random_batch(action_space=agent.action_space)
    rewards = batch.transitions.reward
    batch = batch._replace(transitions=batch.transitions._replace(terminated=torch.ones(3, 8)))
    agent.set_learning_rate(1e-2)
    for _ in range(300):
        report = agent.update(batch, generator(0))
    ended = torch.ones(3, 8)
    expected = agent.bellman_target(rewards, ended, torch.zeros(3, 8)).mean()
    spread = agent.value_scale.rewards(rewards).std()
    assert (report["q_mean"] - expected).abs() < 0.1 * spread
