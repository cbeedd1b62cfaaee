"""Encoders of a user's own: what registration accepts, and what a factory has to return."""

import pytest
from torch import nn

from encoders import EncoderConfig, ProductOfGaussians, UnregisteredError, make_encoder, register_encoder
from encoders.config import ENCODERS


@pytest.fixture(autouse=True)
def own_registry(monkeypatch):
    """Let what a test registers be forgotten after it."""
    for name in list(ENCODERS):
        monkeypatch.setitem(ENCODERS, name, ENCODERS[name])
    yield
    for name in set(ENCODERS) & {"mine", "mine-2"}:
        del ENCODERS[name]


def product(config, observation_dim, action_dim):
    return ProductOfGaussians(observation_dim, action_dim, config.latent_dim, config.context_fields)


def test_a_registered_encoder_is_built_from_the_settings_and_the_widths():
    register_encoder("mine", product)
    encoder = make_encoder(EncoderConfig(kind="mine", latent_dim=7, context_fields=("reward",)), 11, 6)
    assert isinstance(encoder, ProductOfGaussians)
    assert (encoder.observation_dim, encoder.action_dim, encoder.latent_dim) == (11, 6, 7)
    assert encoder.context_fields == ("reward",)


def test_a_name_is_registered_once():
    register_encoder("mine", product)
    for name in ("mine", "gru"):
        with pytest.raises(ValueError, match=f"An encoder named '{name}' is registered already; choose another name"):
            register_encoder(name, product)


@pytest.mark.parametrize("name", ["", "two words", "a/b", "..", None, 3])
def test_a_name_that_no_command_or_file_can_hold_is_refused(name):
    with pytest.raises(ValueError, match="must be a word of letters, digits, _ and -, got "):
        register_encoder(name, product)
    assert name not in ENCODERS


@pytest.mark.parametrize("factory", [None, "ProductOfGaussians", lambda: None, lambda config: None])
def test_a_factory_that_takes_other_arguments_is_refused_at_registration(factory):
    with pytest.raises(TypeError, match=r"callable as factory\(config, observation_dim, action_dim\), got "):
        register_encoder("mine", factory)
    assert "mine" not in ENCODERS


def test_a_factory_that_returns_no_encoder_is_named():
    register_encoder("mine", lambda config, observation_dim, action_dim: nn.Linear(3, 2))
    with pytest.raises(TypeError, match=r"factory of the encoder 'mine' must return an encoders\.ContextEncoder, got"):
        make_encoder(EncoderConfig(kind="mine"), 3, 2)


def test_a_factory_that_mistakes_the_widths_is_named():
    register_encoder("mine", lambda config, observation_dim, action_dim: product(config, action_dim, observation_dim))
    with pytest.raises(ValueError, match=r"'mine' must return one with the widths .*'observation_dim': 3.*, got .*: 2"):
        make_encoder(EncoderConfig(kind="mine"), 3, 2)


def test_a_name_that_is_not_registered_says_what_to_import():
    with pytest.raises(
        UnregisteredError, match=r"encoder\.kind must be one of 'linear_gaussian', .*import that module"
    ):
        EncoderConfig(kind="mine")
    register_encoder("mine", product)
    assert EncoderConfig(kind="mine").kind == "mine"
