"""Values as distributions over bins."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from agents.networks.actor_critic import CategoricalCritics
from agents.networks.value_bins import N_BINS, REACH, ValueBins
from tests.support.agent_tester import generator


@given(st.floats(-10, 10, width=32))
def test_the_mean_of_a_targets_distribution_is_the_target(value):
    bins = ValueBins()
    target = torch.tensor(value)
    decoded = bins.decode(bins.probabilities(target).log())
    torch.testing.assert_close(decoded, target, rtol=2e-3, atol=1e-4)


def test_probabilities_sum_to_one_and_are_largest_in_the_targets_bin():
    bins = ValueBins()
    probabilities = bins.probabilities(torch.tensor([[0.0, 5.0], [-5.0, 1e9]]))
    torch.testing.assert_close(probabilities.sum(-1), torch.ones(2, 2))
    expected = [[N_BINS // 2, int((math.asinh(5) + REACH) / (2 * REACH) * N_BINS)]]
    assert probabilities.argmax(-1)[0].tolist() == expected[0]
    assert int(probabilities[1, 1].argmax()) == N_BINS - 1


@pytest.mark.parametrize("value", [1e30, -1e30, math.inf, -math.inf])
def test_a_target_beyond_the_edges_counts_as_at_the_edge(value):
    bins = ValueBins()
    edge = bins.probabilities(torch.tensor(math.copysign(2 * math.sinh(REACH), value)))
    torch.testing.assert_close(bins.probabilities(torch.tensor(value)), edge, rtol=0, atol=0)


def test_new_critics_value_everything_at_zero():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        critics = CategoricalCritics(2, 5, (8, 8), 3, layer_norm=True)
    values = critics(torch.randn(4, 6, 5, generator=generator(0)))
    assert values.shape == (2, 4, 6, 3)
    torch.testing.assert_close(values, torch.zeros_like(values), rtol=0, atol=1e-5)


@pytest.mark.parametrize("layer_norm", [True, False])
def test_a_hidden_units_weights_have_the_norm_1_behind_layer_norm_alone(layer_norm: bool) -> None:
    critics = CategoricalCritics(2, 5, (8, 8), 3, layer_norm=layer_norm)
    for weight in critics.weights:
        weight.data += 0.5
    *hidden, last = (weight.detach().clone() for weight in critics.weights)
    critics.normalise_weights()
    for weight, before in zip(critics.weights, hidden, strict=False):
        norm = before.norm(dim=1, keepdim=True)
        assert (norm - 1.0).abs().max() > 0.1
        torch.testing.assert_close(weight.detach(), before / norm if layer_norm else before)
    torch.testing.assert_close(critics.weights[-1].detach(), last, rtol=0, atol=0)
