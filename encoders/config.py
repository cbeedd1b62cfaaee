"""An encoder's settings, and the encoder they describe."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

from encoders.base import ContextEncoder
from encoders.blind import Blind
from encoders.gaussian_product import ProductOfGaussians
from encoders.linear_gaussian import LinearGaussian
from encoders.pooled import MaxPooledFeatures, MeanAggregator, PooledFeatures

EncoderKind = Literal[
    "linear_gaussian", "product_of_gaussians", "pooled_features", "max_pooled_features", "mean", "blind"
]
ContextField = Literal["observation", "action", "reward", "next_observation"]


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """Settings of q(z | c)."""

    kind: EncoderKind = "linear_gaussian"
    """How transitions are aggregated into a belief; blind ignores them, as a reference."""
    latent_dim: int = 5
    """Width of the task variable z."""
    context_fields: tuple[ContextField, ...] = ("observation", "action", "reward")
    """Parts of a transition the encoder reads."""
    hidden_sizes: tuple[int, ...] = (128, 128)
    """Widths of the hidden layers that read one transition."""
    feature_dim: int = 128
    """Width of the pooled features (pooled encoders only)."""
    head_sizes: tuple[int, ...] = (128,)
    """Widths of the hidden layers that read the pooled features (pooled encoders only)."""
    min_stddev: float = 1e-3
    """Floor of the posterior's standard deviation."""

    def __post_init__(self) -> None:
        if self.kind not in get_args(EncoderKind):
            raise ValueError(f"encoder.kind must be one of {get_args(EncoderKind)}, got {self.kind!r}.")
        for name in ("latent_dim", "feature_dim"):
            if getattr(self, name) < 1:
                raise ValueError(f"encoder.{name} must be at least 1, got {getattr(self, name)}.")
        for name in ("hidden_sizes", "head_sizes"):
            if any(width < 1 for width in getattr(self, name)):
                raise ValueError(f"encoder.{name} must be positive widths, got {getattr(self, name)}.")
        if not 0 < self.min_stddev < 1:
            raise ValueError(f"encoder.min_stddev must lie between 0 and 1, got {self.min_stddev}.")


def make_encoder(config: EncoderConfig, observation_dim: int, action_dim: int) -> ContextEncoder[Any]:
    """Build the encoder that ``config`` describes for the given widths."""
    widths = (observation_dim, action_dim, config.latent_dim, config.context_fields)
    match config.kind:
        case "pooled_features" | "max_pooled_features":
            pooling = PooledFeatures if config.kind == "pooled_features" else MaxPooledFeatures
            return pooling(
                *widths,
                hidden_sizes=config.hidden_sizes,
                feature_dim=config.feature_dim,
                head_sizes=config.head_sizes,
                min_stddev=config.min_stddev,
            )
        case "linear_gaussian":
            return LinearGaussian(*widths, hidden_sizes=config.hidden_sizes, min_stddev=config.min_stddev)
        case "product_of_gaussians":
            return ProductOfGaussians(*widths, hidden_sizes=config.hidden_sizes, min_stddev=config.min_stddev)
        case "mean":
            return MeanAggregator(*widths, hidden_sizes=config.hidden_sizes)
        case "blind":
            return Blind(*widths)
