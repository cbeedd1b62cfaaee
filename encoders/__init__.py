"""Encoders: from context to a belief over the task variable z."""

from encoders.base import ContextEncoder
from encoders.config import EncoderConfig, EncoderFactory, make_encoder, register_encoder
from encoders.kernels.gated_recurrence import GatedRecurrentUnit
from encoders.kernels.static_shapes import static_shapes
from encoders.mlp import mlp
from encoders.objectives import info_nce, kl_to_early, kl_to_unit_gaussian
from encoders.pooled.features import MaxPooledFeatures, MeanAggregator, PooledFeatures
from encoders.pooled.gaussian_product import ProductOfGaussians
from encoders.pooled.linear_gaussian import LinearGaussian
from encoders.sequence.attention import WindowBelief, WindowedAttention, multi_head_attention
from encoders.sequence.recurrent import RecurrentBelief, RecurrentFeatures
from encoders.settings import ConfigError, Settings, UnregisteredError
from encoders.types import (
    CONTEXT_FIELDS,
    Belief,
    BeliefT,
    Context,
    GaussianBelief,
    MaxPooledBelief,
    PooledBelief,
)

__distribution__ = "pearl-metarl"

__all__ = [
    "CONTEXT_FIELDS",
    "Belief",
    "BeliefT",
    "ConfigError",
    "Context",
    "ContextEncoder",
    "EncoderConfig",
    "EncoderFactory",
    "GatedRecurrentUnit",
    "GaussianBelief",
    "LinearGaussian",
    "MaxPooledBelief",
    "MaxPooledFeatures",
    "MeanAggregator",
    "PooledBelief",
    "PooledFeatures",
    "ProductOfGaussians",
    "RecurrentBelief",
    "RecurrentFeatures",
    "Settings",
    "UnregisteredError",
    "WindowBelief",
    "WindowedAttention",
    "info_nce",
    "kl_to_early",
    "kl_to_unit_gaussian",
    "make_encoder",
    "mlp",
    "multi_head_attention",
    "register_encoder",
    "static_shapes",
]
