from typing import Any

import pytest
import torch
from torch import nn

from encoders import ContextEncoder, EncoderConfig, make_encoder, mlp
from encoders.mlp import HiddenLinear, OutputLinear
from tests.support.encoder_tester import KINDS, KINDS_OVER_TIME


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("kind", ["product_of_gaussian", "", None], r"encoder\.kind must be one of .*linear_gaussian.*, got "),
        ("latent_dim", [0, -1], r"encoder\.latent_dim must be at least 1, got "),
        ("feature_dim", [0, -8], r"encoder\.feature_dim must be at least 1, got "),
        ("window", [0, -3], r"encoder\.window must be at least 1, got "),
        ("hidden_sizes", [(0,), (16, -1)], r"encoder\.hidden_sizes must be positive widths, got "),
        ("head_sizes", [(0,), (-4, 8)], r"encoder\.head_sizes must be positive widths, got "),
        ("min_stddev", [0.0, -1e-3, 1.0], r"encoder\.min_stddev must lie between 0 and 1, got "),
    ],
)
def test_an_impossible_setting_is_refused_by_name(name: str, values: list[Any], message: str) -> None:
    for value in values:
        with pytest.raises(ValueError, match=message):
            EncoderConfig(**{name: value})


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_makes_an_encoder_of_the_widths_given(kind: Any) -> None:
    encoder = make_encoder(EncoderConfig(kind=kind, latent_dim=7, context_fields=("action", "reward")), 11, 6)
    assert isinstance(encoder, ContextEncoder)
    assert (encoder.observation_dim, encoder.action_dim, encoder.latent_dim) == (11, 6, 7)
    assert encoder.context_fields == ("action", "reward")
    assert encoder.posterior(encoder.prior(2)).mean.shape == (2, 7)


def test_the_kinds_make_different_encoders() -> None:
    assert len({type(make_encoder(EncoderConfig(kind=kind), 3, 2)) for kind in KINDS}) == len(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_the_hidden_sizes_are_the_networks_widths(kind: Any) -> None:
    encoder = make_encoder(EncoderConfig(kind=kind, hidden_sizes=(19, 23)), 3, 2)
    widths = {layer.out_features for layer in encoder.modules() if isinstance(layer, nn.Linear)}
    assert {19, 23} <= widths


@pytest.mark.parametrize("kind", KINDS_OVER_TIME)
def test_what_kinds_over_time_keep_of_a_trial_is_as_wide_and_as_long_as_the_settings_say(kind: Any) -> None:
    encoder = make_encoder(EncoderConfig(kind=kind, feature_dim=12, window=9, head_sizes=(21,)), 3, 2)
    expected = {"gru": [(2, 12), (2,)], "attention": [(2, 9, 12), (2,)]}
    assert [values.shape for values in encoder.prior(2)] == expected[kind]
    assert 21 in {layer.out_features for layer in encoder.modules() if isinstance(layer, nn.Linear)}


def test_a_perceptron_has_an_activation_after_each_hidden_layer_and_none_after_the_last() -> None:
    network = mlp(3, (5, 4), 2)
    assert [type(layer) for layer in network] == [HiddenLinear, nn.ReLU, HiddenLinear, nn.ReLU, OutputLinear]
    assert network(torch.zeros(6, 7, 3)).shape == (6, 7, 2)
    assert [type(layer) for layer in mlp(3, (), 2)] == [OutputLinear]
    assert isinstance(mlp(3, (5,), 2, activation=nn.SiLU)[1], nn.SiLU)
