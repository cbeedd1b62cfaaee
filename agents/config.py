"""Settings of agents that learn by soft actor-critic, PEARL's among them."""

from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

from encoders import ConfigError, Settings

Reconstructed = Literal["reward", "next_observation"]


@dataclass(frozen=True, kw_only=True)
class FeaturesConfig(Settings):
    """Settings of what an agent's networks read of an observation.

    Raises:
        ConfigError: a setting of the wrong type or out of its range, here and in every subclass.
    """

    section: ClassVar[str] = "agent"
    normalise_observations: bool = False
    """Whether observations are normalised by their running mean and deviation in training, which adaptation keeps."""
    ignored_observations: tuple[int, ...] = ()
    """Entries of the flattened observation, from 0, that no network reads: such as name a task, not its state."""
    image_channels: tuple[int, ...] = (16, 32, 32)
    """Channels of the convolutions, of stride 4 and then 2, that read observations which are images."""
    image_features: int = 64
    """Width of the features that the networks read in place of an image."""

    def __post_init__(self) -> None:
        super().__post_init__()
        ignored = self.ignored_observations
        if any(entry < 0 for entry in ignored) or len(set(ignored)) != len(ignored):
            raise ConfigError(f"agent.ignored_observations must be different numbers from 0, got {ignored}.")
        if not self.image_channels or any(channels < 1 for channels in self.image_channels):
            raise ConfigError(f"agent.image_channels must be one or more positive numbers, got {self.image_channels}.")
        if self.image_features < 1:
            raise ConfigError(f"agent.image_features must be at least 1, got {self.image_features}.")


class LearningSettings(Protocol):
    """What meta-training reads of an agent's settings, in whatever dataclass they are."""

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
    """Where a learned temperature starts."""
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
class PEARLAgentConfig(SACConfig):
    """Settings of the z-conditioned soft actor-critic and of how it trains the encoder."""

    precision: Literal["float32", "bfloat16"] = "float32"
    """Number format of the products in hidden layers during gradient steps; bfloat16 pays on processors that have it.
    Weights, outputs, losses and acting stay in float32."""
    z_follows_posterior: bool = False
    """Whether an episode's draw is read anew from the posterior after each step, so that an episode already uses what
    it shows; where not, z stays for the episode, as in PEARL."""
    sweep: float = 0.0
    """Share of the way to the next episode's draw that z moves in each step, read from the posterior as it stands; 0
    keeps the draw for the episode."""
    kl_weight: float = 0.1
    """Weight of KL(q(z|c) || N(0, I)), a mean over tasks, beside the critics' loss."""
    early_kl_weight: float = 0.0
    """Weight of the KL from the posterior to the one that an earlier context gives; 0 leaves it out."""
    critics_teach_encoder: bool = True
    """Whether the critics' loss reaches the encoder, as in PEARL; where not, only the decoder's and the contrastive
    loss do, as in VariBAD (Zintgraf et al. 2020)."""
    contrastive_weight: float = 0.0
    """Weight of the contrastive loss, which asks the encoder to tell tasks apart by two halves of their contexts; 0
    leaves it out."""
    reconstruction_weight: float = 0.0
    """Weight of a decoder's squared error, which teaches the encoder beside the critics; 0 leaves the decoder out."""
    reconstructed: tuple[Reconstructed, ...] = ("reward",)
    """What the decoder predicts of a transition: its reward, scaled as for the critics, what it leads to, or both; read
    only where agent.reconstruction_weight is positive."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.sweep <= 1:
            raise ConfigError(f"agent.sweep must lie in [0, 1], got {self.sweep}.")
        if not self.reconstructed or len(set(self.reconstructed)) != len(self.reconstructed):
            raise ConfigError(
                f"agent.reconstructed must be reward, next_observation or both, got {self.reconstructed!r}. "
                "To reconstruct nothing, leave agent.reconstruction_weight at 0."
            )
        for name in ("kl_weight", "early_kl_weight", "contrastive_weight", "reconstruction_weight"):
            if getattr(self, name) < 0:
                raise ConfigError(f"agent.{name} must not be negative, got {getattr(self, name)}.")
