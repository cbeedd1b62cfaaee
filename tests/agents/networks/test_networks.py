import math
from decimal import Decimal, localcontext

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.distributions import Independent, Normal, TanhTransform, TransformedDistribution
from torch.nn import functional

from agents.losses import critic_loss
from agents.networks.actor_critic import Actor, CategoricalActor, CriticEnsemble
from agents.networks.policies import LOG_STDDEV_RANGE, SquashedGaussian


def exact_log_prob(unsquashed: float, mean: float, log_stddev: float) -> float:
    """log N(u; mean, stddev) - log(1 - tanh(u)^2) in 60 digits, straight from the definition."""
    with localcontext() as context:
        context.prec = 60
        u, centre, stddev = Decimal(unsquashed), Decimal(mean), Decimal(log_stddev).exp()
        pi = Decimal("3.14159265358979323846264338327950288419716939937510582097494")
        gaussian = -(((u - centre) / stddev) ** 2) / 2 - stddev.ln() - (2 * pi).ln() / 2
        tanh = (u.exp() - (-u).exp()) / (u.exp() + (-u).exp())
        return float(gaussian - (1 - tanh**2).ln())


def squashed(mean: float, log_stddev: float, width: int = 1) -> SquashedGaussian:
    return SquashedGaussian(torch.full((width,), mean), torch.full((width,), log_stddev))


@settings(max_examples=100, derandomize=True, database=None)
@given(
    unsquashed=st.floats(-30, 30, width=32), mean=st.floats(-5, 5, width=32), log_stddev=st.floats(-0.5, 2.0, width=32)
)
def test_the_log_probability_is_exact_at_saturated_actions_too(
    unsquashed: float, mean: float, log_stddev: float
) -> None:
    found = squashed(mean, log_stddev).log_prob(torch.tensor([unsquashed])).item()
    assert found == pytest.approx(exact_log_prob(unsquashed, mean, log_stddev), rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("unsquashed", [-30.0, -15.0, 0.0, 9.5, 20.0, 30.0])
def test_the_log_probabilitys_gradient_is_exact_at_saturated_actions_too(unsquashed: float) -> None:
    u = torch.tensor([unsquashed], requires_grad=True)
    squashed(0.5, 0.1).log_prob(u).backward()
    expected = -(unsquashed - 0.5) * math.exp(-0.2) + 2.0 * math.tanh(unsquashed)
    assert u.grad is not None
    assert u.grad.item() == pytest.approx(expected, rel=1e-5)


def test_the_log_probability_matches_torchs_transformed_distribution_at_moderate_values() -> None:
    rng = torch.Generator().manual_seed(0)
    mean, log_stddev = torch.randn(4, 5, 3, generator=rng), 0.5 * torch.randn(4, 5, 3, generator=rng)
    policy = SquashedGaussian(mean, log_stddev)
    action, log_prob = policy.sample(rng)
    inside = action.clamp(-0.99, 0.99)
    reference = Independent(TransformedDistribution(Normal(mean, log_stddev.exp()), TanhTransform()), 1)
    assert log_prob.shape == (4, 5)
    torch.testing.assert_close(policy.log_prob(inside.atanh()), reference.log_prob(inside), rtol=1e-4, atol=1e-4)


def test_a_samples_log_probability_is_that_of_the_action_drawn() -> None:
    policy = SquashedGaussian(torch.randn(6, 2), torch.full((6, 2), -1.0))
    action, log_prob = policy.sample(torch.Generator().manual_seed(0))
    torch.testing.assert_close(policy.log_prob(action.atanh()), log_prob, rtol=1e-3, atol=1e-3)


def test_the_density_over_actions_integrates_to_one() -> None:
    action = torch.linspace(-1.0, 1.0, 20_001, dtype=torch.float64)[1:-1].unsqueeze(1)
    policy = SquashedGaussian(torch.tensor([0.3], dtype=torch.float64), torch.tensor([-0.7], dtype=torch.float64))
    density = policy.log_prob(action.atanh()).exp()
    assert torch.trapezoid(density, action.squeeze(1)).item() == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize(("mean", "log_stddev"), [(0.0, 0.0), (40.0, 2.0), (-40.0, -20.0), (0.0, 2.0)])
def test_samples_lie_within_the_unit_box_and_have_finite_log_probabilities(mean: float, log_stddev: float) -> None:
    policy = SquashedGaussian(torch.full((1000, 2), mean), torch.full((1000, 2), log_stddev))
    action, log_prob = policy.sample(torch.Generator().manual_seed(0))
    assert (action.abs() <= 1.0).all()
    assert log_prob.isfinite().all()


def test_samples_come_from_the_generator_given_and_from_nothing_else() -> None:
    policy, before = squashed(0.0, 0.0, width=5), torch.get_rng_state()
    samples = [policy.sample(torch.Generator().manual_seed(seed))[0] for seed in (0, 0, 1)]
    assert torch.equal(samples[0], samples[1])
    assert not torch.isclose(samples[0], samples[2]).any()
    assert torch.equal(torch.get_rng_state(), before)


def test_samples_spread_as_the_gaussian_says_and_centre_on_the_mode() -> None:
    policy = SquashedGaussian(torch.full((20_000, 1), 0.4), torch.full((20_000, 1), math.log(0.5)))
    unsquashed = policy.sample(torch.Generator().manual_seed(0))[0].atanh()
    assert unsquashed.mean().item() == pytest.approx(0.4, abs=0.02)
    assert unsquashed.std().item() == pytest.approx(0.5, abs=0.02)
    torch.testing.assert_close(policy.mode, torch.full((20_000, 1), math.tanh(0.4)))


def test_samples_are_reparameterised() -> None:
    mean, log_stddev = torch.zeros(1, 1, requires_grad=True), torch.full((1, 1), -0.5, requires_grad=True)
    action, _ = SquashedGaussian(mean, log_stddev).sample(torch.Generator().manual_seed(0))
    slopes = torch.autograd.grad(action.sum(), [mean, log_stddev])
    torch.testing.assert_close(slopes[0], 1 - action.detach() ** 2)
    torch.testing.assert_close(slopes[1], (1 - action.detach() ** 2) * action.detach().atanh())


def test_the_actors_stddev_stays_within_its_range_whatever_it_reads() -> None:
    torch.manual_seed(0)
    policy = Actor(3, 2, 4, (16,))(1e6 * torch.randn(50, 3), torch.randn(50, 4))
    assert policy.mean.shape == policy.log_stddev.shape == (50, 2)
    assert policy.log_stddev.min() == LOG_STDDEV_RANGE[0]
    assert policy.log_stddev.max() == LOG_STDDEV_RANGE[1]


def test_the_actor_reads_every_part_of_the_observation_and_of_z() -> None:
    torch.manual_seed(0)
    observation, z = torch.randn(1, 3, requires_grad=True), torch.randn(1, 4, requires_grad=True)
    slopes = torch.autograd.grad(Actor(3, 2, 4, (32,))(observation, z).mean.sum(), [observation, z])
    assert all((slope != 0).all() for slope in slopes)


def test_a_categorical_actors_probabilities_sum_to_one_and_read_every_part_of_the_observation_and_of_z() -> None:
    observation, z = torch.randn(1, 3, requires_grad=True), torch.randn(1, 4, requires_grad=True)
    log_probs = CategoricalActor(3, 5, 4, (32,))(observation, z).log_probs
    assert log_probs.shape == (1, 5)
    assert log_probs.exp().sum().item() == pytest.approx(1.0)
    assert all((slope != 0).all() for slope in torch.autograd.grad(log_probs[0, 0], [observation, z]))


def critics(n_critics: int = 2, hidden_sizes: tuple[int, ...] = (16, 8)) -> CriticEnsemble:
    torch.manual_seed(0)
    return CriticEnsemble(n_critics, 3 + 2 + 4, hidden_sizes)


def inputs(tasks: int = 5, steps: int = 7) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(1)
    observation, action, z = (torch.randn(tasks, steps, width, generator=rng) for width in (3, 2, 4))
    return observation, action, z


def as_perceptron(ensemble: CriticEnsemble, critic: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for weight, bias in zip(ensemble.weights, ensemble.biases, strict=True):
        linear = nn.Linear(*weight.shape[1:])
        linear.weight.data, linear.bias.data = weight[critic].T, bias[critic, 0]
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


@pytest.mark.parametrize("n_critics", [1, 2, 5])
@pytest.mark.parametrize("hidden_sizes", [(16,), (16, 8, 4)])
@pytest.mark.parametrize("steps", [7, 70])
def test_the_batched_ensemble_equals_running_each_critic_alone(
    n_critics: int, hidden_sizes: tuple[int, ...], steps: int
) -> None:
    # 350 rows are enough for hidden layers to be padded, 35 are not.
    ensemble = critics(n_critics, hidden_sizes)
    q = ensemble(*inputs(steps=steps))
    assert q.shape == (n_critics, 5, steps, 1)
    for critic in range(n_critics):
        alone = as_perceptron(ensemble, critic)(torch.cat(inputs(steps=steps), dim=-1))
        torch.testing.assert_close(q[critic], alone)


@pytest.mark.parametrize("n_critics", [1, 3])
def test_the_discrete_ensemble_gives_each_critics_value_of_every_action(n_critics: int) -> None:
    ensemble = CriticEnsemble(n_critics, 3 + 4, (16, 8), 6)
    observation, _, z = inputs()
    q = ensemble(observation, z)
    assert q.shape == (n_critics, 5, 7, 6)
    for critic in range(n_critics):
        alone = as_perceptron(ensemble, critic)(torch.cat([observation, z], dim=-1))
        torch.testing.assert_close(q[critic], alone)


def test_layer_norm_gives_each_hidden_layer_mean_0_and_variance_1_before_its_activation() -> None:
    # Critic 1's hidden layer reads (1, 3, 5) from the input 1: less its mean 3, over sqrt(8 / 3), as max(0, .) then
    # (0, 0, sqrt(3 / 2)); the last layer, weights (1, 1, 2) and bias 10, is not normalised. Critic 2 reads (4, 0, -4).
    ensemble = CriticEnsemble(2, 1, (3,), layer_norm=True)
    with torch.no_grad():
        ensemble.weights[0].copy_(torch.tensor([[[1.0, 3.0, 5.0]], [[4.0, 0.0, -4.0]]]))
        ensemble.biases[0].zero_()
        ensemble.weights[1].copy_(torch.tensor([[[1.0], [1.0], [2.0]], [[1.0], [1.0], [2.0]]]))
        ensemble.biases[1].fill_(10.0)
    q = ensemble(torch.ones(1, 1, 1))
    expected = torch.tensor([10.0 + 2 * math.sqrt(1.5), 10.0 + math.sqrt(1.5)]).view(2, 1, 1, 1)
    torch.testing.assert_close(q, expected, rtol=1e-4, atol=1e-4)


def test_without_layer_norm_the_same_layers_are_not_normalised() -> None:
    plain, normalised = critics(), critics()
    normalised.layer_norm = True
    assert not plain.layer_norm
    assert not torch.allclose(plain(*inputs()), normalised(*inputs()), atol=1e-3)


def test_the_critics_differ_at_construction_and_after_updates() -> None:
    ensemble, goal = critics(), torch.randn(5, 7)
    optimizer = torch.optim.Adam(ensemble.parameters(), lr=1e-3)
    for _ in range(5):
        q = ensemble(*inputs())
        assert not torch.allclose(q[0], q[1], atol=1e-3)
        assert all(not torch.allclose(weight[0], weight[1]) for weight in ensemble.weights)
        optimizer.zero_grad()
        critic_loss(q.squeeze(-1), goal).backward()
        optimizer.step()


def test_one_critics_loss_does_not_reach_another() -> None:
    ensemble = critics()
    functional.mse_loss(ensemble(*inputs())[0], torch.randn(5, 7, 1)).backward()
    for parameter in ensemble.parameters():
        assert parameter.grad is not None
        assert parameter.grad[0].abs().max() > 0
        assert torch.equal(parameter.grad[1], torch.zeros_like(parameter.grad[1]))


def test_a_critics_initial_weights_are_those_of_a_linear_layer() -> None:
    ensemble = critics(hidden_sizes=(400,))
    for weight, bias in zip(ensemble.weights, ensemble.biases, strict=True):
        bound = 1 / math.sqrt(weight.shape[1])
        assert bound * 0.95 < weight.abs().max() <= bound
        assert bias.abs().max() <= bound
