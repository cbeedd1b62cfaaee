"""Units of the critics."""

import pytest
import torch

from agents import Transitions, Trials
from agents.learning.ppo import generalised_advantages
from agents.learning.value_scale import REACH, FixedScale, RunningScale, TargetScale, expected_returns
from tests.support.trials import one_trial


def test_the_returns_of_a_terminated_episode_are_its_discounted_rewards():
    trial = one_trial([1.0, 0.0, 4.0], ended=[False, False, True], terminated=[False, False, True])
    assert expected_returns(trial, 0.5).tolist() == [1.0 + 0.25 * 4.0, 0.5 * 4.0, 4.0]


def test_the_mean_reward_continues_an_episode_that_a_time_limit_cuts():
    trial = one_trial([1.0] * 6, ended=[False] * 5 + [True])
    # A reward of one for ever is worth 1 / (1 - 0.5); the last step has fewer than two rewards to judge by.
    assert expected_returns(trial, 0.5).tolist() == pytest.approx([2.0] * 5)


def test_an_episode_shorter_than_the_discounts_reach_counts_once():
    trial = one_trial([1.0, 1.0, 1.0, 1.0], ended=[False, True, False, True])
    assert expected_returns(trial, 0.9).tolist() == pytest.approx([10.0, 10.0])


def test_episodes_do_not_mix():
    trial = one_trial([1.0, 8.0, 2.0], ended=[True, False, True], terminated=[True, False, True])
    assert expected_returns(trial, 0.5).tolist() == [1.0, 9.0, 2.0]


def test_values_are_less_the_mean_return_over_the_standard_deviation():
    scale = RunningScale()
    scale.see(one_trial([1.0, 3.0], ended=[True, True], terminated=[True, True]), 0.9)
    assert scale.rewards(torch.tensor(5.0)).item() == 5.0  # the standard deviation of 1 and 3 is 1
    assert scale.mean.item() == 2.0


def test_equal_returns_are_scaled_by_their_size_and_none_by_nothing():
    scale = RunningScale()
    scale.see(one_trial([4.0, 4.0], ended=[True, True], terminated=[True, True]), 0.9)
    assert (scale.rewards(torch.tensor(4.0)).item(), scale.mean.item()) == (1.0, 4.0)
    zeros = RunningScale()
    zeros.see(one_trial([0.0, 0.0], ended=[True, True], terminated=[True, True]), 0.9)
    assert (zeros.rewards(torch.tensor(3.0)).item(), zeros.mean.item()) == (3.0, 0.0)


def test_the_scale_follows_recent_returns():
    scale = RunningScale()
    poor = one_trial([-100.0, -50.0], ended=[True, True], terminated=[True, True])
    good = one_trial([1.0, 3.0], ended=[True, True], terminated=[True, True])
    scale.see(poor, 0.9)
    for _ in range(200):
        scale.see(good, 0.9)
    assert scale.rewards(torch.tensor(1.0)).item() == pytest.approx(1.0, rel=1e-3)
    assert scale.mean.item() == pytest.approx(2.0, rel=1e-3)


@pytest.mark.parametrize("factor", [2.0**-20, 2.0**20])
def test_a_power_of_two_times_the_rewards_changes_no_digit(factor):
    rewards = [0.3, -1.7, 2.2, 0.1]
    ends = [False, False, True, True]
    ours, theirs = RunningScale(), RunningScale()
    for shift in (0.0, 0.7):
        shifted = [reward + shift for reward in rewards]
        ours.see(one_trial(shifted, ended=ends), 0.9)
        theirs.see(one_trial([factor * reward for reward in shifted], ended=ends), 0.9)
    reward = torch.tensor(0.37)
    assert theirs.rewards(factor * reward).equal(ours.rewards(reward))
    assert theirs.mean.equal(factor * ours.mean)


def test_a_large_constant_reward_costs_the_target_no_digits():
    plain, shifted = RunningScale(), RunningScale()
    rewards, ends = [0.25, -1.75, 2.25, 0.125], [False, False, True, True]
    plain.see(one_trial(rewards, ended=ends), 0.9)
    shifted.see(one_trial([reward + 2**16 for reward in rewards], ended=ends), 0.9)
    reward, terminated, value = torch.tensor([0.25, -1.5]), torch.zeros(2), torch.tensor([0.5, -0.5])
    found = shifted.bellman_target(reward + 2**16, terminated, value, 0.9)
    torch.testing.assert_close(found, plain.bellman_target(reward, terminated, value, 0.9), rtol=0, atol=1e-4)


def test_the_target_is_less_the_mean_of_what_follows():
    scale = RunningScale()
    scale.see(one_trial([1.0, 3.0], ended=[True, True], terminated=[True, True]), 0.5)  # mean 2, deviation 1
    found = scale.bellman_target(torch.tensor([5.0, 5.0]), torch.tensor([0.0, 1.0]), torch.tensor([4.0, 4.0]), 0.5)
    assert found.tolist() == [5.0 + 0.5 * (4.0 + 2.0) - 2.0, 5.0 - 2.0]


def test_a_checkpoint_brings_the_scale():
    scale, loaded = RunningScale(), RunningScale()
    scale.see(one_trial([1.0, 5.0], ended=[True, True], terminated=[True, True]), 0.9)
    loaded.load_state_dict(scale.state_dict())
    assert loaded.rewards(torch.tensor(1.0)).equal(scale.rewards(torch.tensor(1.0)))
    assert loaded.mean.equal(scale.mean)


def test_a_fixed_scale_is_a_factor_on_rewards():
    scale = FixedScale(0.5)
    scale.see(one_trial([100.0], ended=[True]), 0.9)
    assert scale.rewards(torch.tensor(3.0)).item() == 1.5
    found = scale.bellman_target(torch.tensor(3.0), torch.tensor(0.0), torch.tensor(2.0), 0.9)
    assert found.item() == pytest.approx(1.5 + 0.9 * 2.0)


def test_the_unit_of_short_trials_is_the_deviation_of_the_part_of_returns_that_they_show():
    low, high = (one_trial([reward] * 2, ended=[False, True]) for reward in (1.0, 3.0))
    both = Trials(*(_joined(one, other) for one, other in zip(low[:-1], high[:-1], strict=True)), extras={})
    whole, seen = RunningScale(), TargetScale()
    for scale in (whole, seen):
        scale.see(both, 0.9)
        assert scale.mean.item() == pytest.approx(2.0 / (1.0 - 0.9))
    # Returns for ever are 10 and 30; two steps show 1 + 0.9 of the 10 steps that count.
    assert whole.variance.sqrt().item() == pytest.approx(10.0)
    assert seen.variance.sqrt().item() == pytest.approx(1.9)
    terminated = one_trial([3.0, 7.0], ended=[True, True], terminated=[True, True])
    known = TargetScale()
    known.see(terminated, 0.9)
    assert known.variance.item() == pytest.approx(4.0)


def test_a_rare_failure_after_many_flawless_trials_is_a_target_within_reach():
    scale = TargetScale()
    scale.see(one_trial([1.0] * 4, ended=[False] * 3 + [True], terminated=[False] * 3 + [True]), 0.9)
    flawless = one_trial([1.0] * 40, ended=[False] * 39 + [True])
    # Every return is 10, so the deviation shrinks by a twentieth each time. The last step of a failure is worth 1.
    for _ in range(300):
        scale.see(flawless, 0.9)
        failed = scale.centred(torch.tensor(1.0), torch.tensor(1.0), 0.9)
        assert -REACH <= failed.item() < 0.0


def test_advantages_in_running_units_are_those_of_raw_values_over_the_deviation():
    torch.manual_seed(0)
    scale = TargetScale()
    scale.see(one_trial([3.0, 7.0], ended=[True, True], terminated=[True, True]), 0.9)
    mean, deviation = 5.0, 2.0
    reward, value, after = torch.randn(3, 1, 8).unbind(0)
    ended = torch.tensor([[False, True, False, False, True, False, False, True]])
    terminated = torch.tensor([[False, True, False, False, False, False, False, True]])
    given = {"discount": 0.9, "gae_lambda": 0.7, "ended": ended}
    mask = torch.ones_like(ended)
    centred = scale.centred(reward, terminated, 0.9)
    found, targets = generalised_advantages(centred, value, mask, value_after=after * ~terminated, **given)
    # Raw values are mean + deviation v; after a termination, and only there, the raw value is 0.
    raw, raw_after = mean + deviation * value, (mean + deviation * after) * ~terminated
    advantages, returns = generalised_advantages(reward, raw, mask, value_after=raw_after, **given)
    torch.testing.assert_close(found, advantages / deviation)
    torch.testing.assert_close(targets, (returns - mean) / deviation)


def _joined(one, other):
    if isinstance(one, torch.Tensor):
        return torch.cat([one, other])
    return Transitions(*map(_joined, one, other))
