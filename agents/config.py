"""Settings of agents that learn by soft actor-critic, PEARL's among them."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal, Protocol

from encoders import ConfigError, Settings

Reconstructed = Literal["reward", "next_observation"]


@dataclass(frozen=True, kw_only=True)
class ObservationsConfig(Settings):
    """Settings of how networks read observations.

    Raises:
        ConfigError: a setting of the wrong type or out of its range, here and in every section below.
    """

    section: ClassVar[str] = "agent.observations"
    normalise: bool = False
    """Whether observations are normalised by their running mean and deviation in training, which adaptation keeps."""
    ignored: tuple[int, ...] = ()
    """Entries of the flattened observation, from 0, that no network reads: such as name a task, not its state."""
    image_channels: tuple[int, ...] = (16, 32, 32)
    """Channels of the convolutions that read image observations; the first has stride 4, the others stride 2."""
    image_features: int = 64
    """Width of an image's features, which the networks read instead of the image."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if any(entry < 0 for entry in self.ignored) or len(set(self.ignored)) != len(self.ignored):
            raise ConfigError(f"{self.section}.ignored must be different numbers from 0, got {self.ignored}.")
        if not self.image_channels or any(channels < 1 for channels in self.image_channels):
            raise ConfigError(
                f"{self.section}.image_channels must be one or more positive numbers, got {self.image_channels}."
            )
        if self.image_features < 1:
            raise ConfigError(f"{self.section}.image_features must be at least 1, got {self.image_features}.")


@dataclass(frozen=True, kw_only=True)
class FeaturesConfig(Settings):
    """Settings that every agent has."""

    section: ClassVar[str] = "agent"
    observations: ObservationsConfig = field(default_factory=ObservationsConfig)
    """Inputs of the networks: normalisation, ignored entries, images."""


class LearningSettings(Protocol):
    """Settings of an agent that meta-training uses, in whatever dataclass they are."""

    @property
    def learning_rate(self) -> float:
        """The optimizer's step size at the start."""

    @property
    def final_learning_rate(self) -> float | None:
        """Step size at the end of training; None keeps it constant."""

    @property
    def reward_scale(self) -> float:
        """Factor on rewards."""


@dataclass(frozen=True, kw_only=True)
class SACConfig(FeaturesConfig):
    """Settings of soft actor-critic."""

    hidden_sizes: tuple[int, ...] = (256, 256)
    """Widths of the actor's and the critics' hidden layers; PEARL's decoder has them too."""
    critic_layer_norm: bool = False
    """Whether the critics normalise each hidden layer."""
    n_critics: int = 2
    """Independent critics; the smallest value counts."""
    learning_rate: float = 1e-3
    """Adam's step size for every network and the temperature, at the start."""
    final_learning_rate: float | None = None
    """Step size at the end of training, reached linearly over its second half; None keeps it constant."""
    discount: float = 0.99
    """Discount per environment step."""
    target_update_rate: float = 0.005
    """Share of the critics that moves into the target critics at each gradient step."""
    reward_scale: float = 1.0
    """Factor on rewards before they reach the critics."""
    temperature: float | None = None
    """Fixed entropy temperature; learned where None."""
    initial_temperature: float = 0.1
    """Initial value of a learned temperature."""
    target_entropy: float | None = None
    """Entropy that a learned temperature aims at, in nats; where None minus the action width, or for a finite set of
    actions 0.3 of the largest entropy."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_critics < 1:
            raise ConfigError(f"agent.n_critics must be at least 1, got {self.n_critics}.")
        if not self.hidden_sizes or any(width < 1 for width in self.hidden_sizes):
            raise ConfigError(f"agent.hidden_sizes must be one or more positive widths, got {self.hidden_sizes}.")
        for name in ("learning_rate", "reward_scale", "initial_temperature"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"agent.{name} must be positive, got {getattr(self, name)}.")
        if self.final_learning_rate is not None and self.final_learning_rate < 0:
            raise ConfigError(f"agent.final_learning_rate must not be negative, got {self.final_learning_rate}.")
        if not 0 <= self.discount < 1:
            raise ConfigError(f"agent.discount must lie in [0, 1), got {self.discount}.")
        if not 0 < self.target_update_rate <= 1:
            raise ConfigError(f"agent.target_update_rate must lie in (0, 1], got {self.target_update_rate}.")
        if self.temperature is not None and self.temperature < 0:
            raise ConfigError(f"agent.temperature must not be negative, got {self.temperature}.")


@dataclass(frozen=True, kw_only=True)
class ExplorationConfig(Settings):
    """Settings of how z moves within an episode. By default z stays for the episode, as in PEARL."""

    section: ClassVar[str] = "agent.exploration"
    sweep: float = 0.0
    """Share of the way to the next episode's draw that z moves in each step, read from the current posterior; 0 keeps
    the draw for the episode."""
    z_follows_posterior: bool = False
    """Whether the posterior is read again after each step and the episode's draw follows it, so that the agent uses
    evidence in the episode that shows it. False keeps z for the episode."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.sweep <= 1:
            raise ConfigError(f"{self.section}.sweep must lie in [0, 1], got {self.sweep}.")


@dataclass(frozen=True, kw_only=True)
class AuxiliaryConfig(Settings):
    """Settings of the encoder's losses beyond PEARL's own, which are the critics' loss and agent.kl_weight's KL."""

    section: ClassVar[str] = "agent.auxiliary"
    critics_teach_encoder: bool = True
    """Whether the critics' loss reaches the encoder, as in PEARL. False leaves the encoder to the decoder's and the
    contrastive loss, as in VariBAD (Zintgraf et al. 2020)."""
    reconstruction_weight: float = 0.0
    """Weight of a decoder's squared error, which also trains the encoder; 0 leaves the decoder out."""
    reconstructed: tuple[Reconstructed, ...] = ("reward",)
    """Parts of a transition that the decoder predicts: the reward, scaled as for the critics, the next observation, or
    both. Used only where agent.auxiliary.reconstruction_weight is positive."""
    contrastive_weight: float = 0.0
    """Weight of the contrastive loss, which asks the encoder to tell tasks apart by two halves of their contexts (Fu et
    al. 2021); 0 leaves it out. It slowed learning in every study here (docs/what-helps.md)."""
    early_kl_weight: float = 0.0
    """Weight of the KL from the posterior to the posterior of an earlier context; 0 leaves it out."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.reconstructed or len(set(self.reconstructed)) != len(self.reconstructed):
            raise ConfigError(
                f"{self.section}.reconstructed must be reward, next_observation or both, got {self.reconstructed!r}. "
                f"To reconstruct nothing, leave {self.section}.reconstruction_weight at 0."
            )
        for name in ("reconstruction_weight", "contrastive_weight", "early_kl_weight"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{self.section}.{name} must not be negative, got {getattr(self, name)}.")


@dataclass(frozen=True, kw_only=True)
class PEARLAgentConfig(SACConfig):
    """Settings of the z-conditioned soft actor-critic and of how it trains the encoder."""

    precision: Literal["float32", "bfloat16"] = "float32"
    """Number format of the products in hidden layers during gradient steps; bfloat16 pays on processors that have it.
    Weights, outputs, losses and acting stay in float32."""
    kl_weight: float = 0.1
    """Weight of KL(q(z|c) || N(0, I)), a mean over tasks, beside the critics' loss."""
    exploration: ExplorationConfig = field(default_factory=ExplorationConfig)
    """Movement of z within an episode."""
    auxiliary: AuxiliaryConfig = field(default_factory=AuxiliaryConfig)
    """Further losses of the encoder."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kl_weight < 0:
            raise ConfigError(f"agent.kl_weight must not be negative, got {self.kl_weight}.")
