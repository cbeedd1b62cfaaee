"""An encoder's settings, and the encoder they describe."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from encoders.base import ContextEncoder
from encoders.blind import Blind
from encoders.pooled.features import MaxPooledFeatures, MeanAggregator, PooledFeatures
from encoders.pooled.gaussian_product import ProductOfGaussians
from encoders.pooled.linear_gaussian import LinearGaussian
from encoders.sequence.attention import WindowedAttention
from encoders.sequence.recurrent import RecurrentFeatures
from encoders.settings import ConfigError, Settings

EncoderKind = Literal[
    "linear_gaussian",
    "product_of_gaussians",
    "pooled_features",
    "max_pooled_features",
    "mean",
    "gru",
    "attention",
    "blind",
]
ContextField = Literal["observation", "action", "reward", "next_observation"]


@dataclass(frozen=True, kw_only=True)
class EncoderConfig(Settings):
    """Settings of q(z | c).

    Raises:
        ConfigError: a setting of the wrong type or out of its range.
    """

    section: ClassVar[str] = "encoder"
    kind: EncoderKind = "linear_gaussian"
    """How transitions are aggregated into a belief: gru and attention heed their order in time, the others do not;
    blind ignores them, as a reference."""
    latent_dim: int = 5
    """Width of the task variable z."""
    context_fields: tuple[ContextField, ...] = ("observation", "action", "reward")
    """Parts of a transition the encoder reads."""
    hidden_sizes: tuple[int, ...] = (128, 128)
    """Widths of the hidden layers that read one transition."""
    feature_dim: int = 128
    """Width of a transition's features and of what is made of all of them (pooled encoders, gru, attention)."""
    head_sizes: tuple[int, ...] = (128,)
    """Widths of the hidden layers that read what is made of the features (pooled encoders, gru, attention)."""
    window: int = 128
    """Newest transitions that attention reads, of a whole trial; older ones are forgotten (attention only)."""
    min_stddev: float = 1e-3
    """Floor of the posterior's standard deviation."""

    def __post_init__(self) -> None:
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


def make_encoder(config: EncoderConfig, observation_dim: int, action_dim: int) -> ContextEncoder[Any]:
    """Build the encoder that ``config`` describes for the given widths."""
    widths = (observation_dim, action_dim, config.latent_dim, config.context_fields)
    match config.kind:
        case "pooled_features":
            return PooledFeatures(*widths, **_feature_settings(config))
        case "max_pooled_features":
            return MaxPooledFeatures(*widths, **_feature_settings(config))
        case "gru":
            return RecurrentFeatures(*widths, **_feature_settings(config))
        case "attention":
            return WindowedAttention(*widths, **_feature_settings(config), window=config.window)
        case "linear_gaussian":
            return LinearGaussian(*widths, hidden_sizes=config.hidden_sizes, min_stddev=config.min_stddev)
        case "product_of_gaussians":
            return ProductOfGaussians(*widths, hidden_sizes=config.hidden_sizes, min_stddev=config.min_stddev)
        case "mean":
            return MeanAggregator(*widths, hidden_sizes=config.hidden_sizes)
        case "blind":
            return Blind(*widths)


def _feature_settings(config: EncoderConfig) -> dict[str, Any]:
    """What every encoder takes that reads transitions into features."""
    return {
        "hidden_sizes": config.hidden_sizes,
        "feature_dim": config.feature_dim,
        "head_sizes": config.head_sizes,
        "min_stddev": config.min_stddev,
    }
