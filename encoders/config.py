"""Settings of encoders, and the registry of encoders."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from encoders.abbreviation import abbreviated
from encoders.base import ContextEncoder
from encoders.blind import Blind
from encoders.pooled.features import MaxPooledFeatures, MeanAggregator, PooledFeatures
from encoders.pooled.gaussian_product import ProductOfGaussians
from encoders.pooled.linear_gaussian import LinearGaussian
from encoders.registration import check_new_name, check_signature
from encoders.sequence.attention import WindowedAttention
from encoders.sequence.recurrent import RecurrentFeatures
from encoders.settings import ConfigError, Settings, UnregisteredError, chosen

ContextField = Literal["observation", "action", "reward", "next_observation"]


@dataclass(frozen=True, kw_only=True)
class EncoderConfig(Settings):
    """Settings of q(z | c).

    Raises:
        UnregisteredError: no encoder is registered under ``kind``.
        ConfigError: a setting has the wrong type or is out of range.
    """

    section: ClassVar[str] = "encoder"
    kind: str = "linear_gaussian"
    """Aggregation of transitions into a belief: linear_gaussian, product_of_gaussians, pooled_features,
    max_pooled_features or mean (all permutation-invariant); gru or attention (both depend on the order in time); blind
    (a reference without inference); or a name that you registered (pearl.register_encoder)."""
    latent_dim: int = 5
    """Width of the task variable z."""
    context_fields: tuple[ContextField, ...] = ("observation", "action", "reward", "next_observation")
    """Parts of a transition that the encoder reads."""
    hidden_sizes: tuple[int, ...] = (64, 64)
    """Widths of the hidden layers of the network that reads one transition."""
    feature_dim: int = 128
    """Width of a transition's features and of their summary (pooled encoders, gru, attention)."""
    head_sizes: tuple[int, ...] = (128,)
    """Widths of the hidden layers of the head, which reads the summary of the features (pooled encoders, gru,
    attention)."""
    window: int = 128
    """Number of newest transitions of a trial that attention reads; older ones are forgotten (attention only)."""
    min_stddev: float = 1e-3
    """Floor of the posterior's standard deviation."""

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "kind", chosen(tuple(ENCODERS), self.kind, "encoder.kind"))
        except ConfigError as error:
            raise UnregisteredError(str(error)) from None
        super().__post_init__()
        for name in ("latent_dim", "feature_dim", "window"):
            if getattr(self, name) < 1:
                raise ConfigError(f"encoder.{name} must be at least 1, got {getattr(self, name)}.")
        for name in ("hidden_sizes", "head_sizes"):
            if any(width < 1 for width in getattr(self, name)):
                raise ConfigError(f"encoder.{name} must be positive widths, got {getattr(self, name)}.")
        if not self.context_fields or len(set(self.context_fields)) != len(self.context_fields):
            raise ConfigError(
                "encoder.context_fields must be one or more parts of a transition, each once, "
                f"got {self.context_fields}."
            )
        if not 0 < self.min_stddev < 1:
            raise ConfigError(f"encoder.min_stddev must lie between 0 and 1, got {self.min_stddev}.")


EncoderFactory = Callable[[EncoderConfig, int, int], ContextEncoder[Any]]
"""Builds an encoder from its settings, the width of its observations and the width of its actions"""


Arguments = Callable[[EncoderConfig], dict[str, Any]]
"""Maps settings to keyword arguments of an encoder's constructor"""


def _networks(config: EncoderConfig) -> dict[str, Any]:
    return {"hidden_sizes": config.hidden_sizes}


def _gaussian(config: EncoderConfig) -> dict[str, Any]:
    return _networks(config) | {"min_stddev": config.min_stddev}


def _features(config: EncoderConfig) -> dict[str, Any]:
    return _gaussian(config) | {"feature_dim": config.feature_dim, "head_sizes": config.head_sizes}


def _window(config: EncoderConfig) -> dict[str, Any]:
    return _features(config) | {"window": config.window}


def _nothing(config: EncoderConfig) -> dict[str, Any]:
    return {}


def _factory(kind: Callable[..., ContextEncoder[Any]], arguments: Arguments) -> EncoderFactory:
    def make(config: EncoderConfig, observation_dim: int, action_dim: int) -> ContextEncoder[Any]:
        return kind(observation_dim, action_dim, config.latent_dim, config.context_fields, **arguments(config))

    return make


ENCODERS: dict[str, EncoderFactory] = {
    "linear_gaussian": _factory(LinearGaussian, _gaussian),
    "product_of_gaussians": _factory(ProductOfGaussians, _gaussian),
    "pooled_features": _factory(PooledFeatures, _features),
    "max_pooled_features": _factory(MaxPooledFeatures, _features),
    "mean": _factory(MeanAggregator, _networks),
    "gru": _factory(RecurrentFeatures, _features),
    "attention": _factory(WindowedAttention, _window),
    "blind": _factory(Blind, _nothing),
}
"""Factories of the encoders, by ``EncoderConfig.kind``"""


def register_encoder(name: str, factory: EncoderFactory) -> None:
    """Make an encoder available as ``encoder.kind``.

    Args:
        name: a word of letters, digits, ``_`` and ``-``, for the command line and checkpoints.
        factory: builds the encoder from the settings and the widths of an observation and of an action.

    Raises:
        ValueError: the name is taken, or is not such a word.
        TypeError: the factory cannot be called with three arguments.
    """
    check_new_name(name, ENCODERS, "encoder")
    check_signature(factory, ("config", "observation_dim", "action_dim"), f"The factory of the encoder {name!r}")
    ENCODERS[name] = factory


def make_encoder(config: EncoderConfig, observation_dim: int, action_dim: int) -> ContextEncoder[Any]:
    """Build the encoder that ``config`` describes for the given widths.

    Args:
        config: the encoder's settings.
        observation_dim: width of an observation, or of its features.
        action_dim: width of an action as networks read it.

    Raises:
        TypeError: the registered factory does not return a ``ContextEncoder``.
        ValueError: the returned encoder has other widths.
    """
    encoder: object = ENCODERS[config.kind](config, observation_dim, action_dim)
    whose = f"The factory of the encoder {config.kind!r}"
    if not isinstance(encoder, ContextEncoder):
        raise TypeError(f"{whose} must return an encoders.ContextEncoder, got {abbreviated(encoder)}.")
    wanted = {"observation_dim": observation_dim, "action_dim": action_dim, "latent_dim": config.latent_dim}
    found = {width: getattr(encoder, width) for width in wanted}
    if found != wanted:
        raise ValueError(f"{whose} must return one with the widths {wanted}, got {found}.")
    return encoder
