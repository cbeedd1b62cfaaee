"""Settings of agents that learn by soft actor-critic, including PEARL."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal, Protocol

from encoders import ConfigError, Settings

Reconstructed = Literal["reward", "next_observation"]


@dataclass(frozen=True, kw_only=True)
class ObservationsConfig(Settings):
    """Settings of how networks read observations.

    Raises:
        ConfigError: a setting has the wrong type or is out of range; so in every section below.
    """

    section: ClassVar[str] = "agent.observations"
    normalise: bool = True
    """Whether vectors are normalised by the running mean and standard deviation of training. Adaptation does not change
    these statistics. Images are read as they are."""
    ignored: tuple[int, ...] = ()
    """Indices, from 0, of entries of the flattened observation that no network reads, such as entries that identify the
    task."""
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
    """Settings shared by all agents."""

    section: ClassVar[str] = "agent"
    observations: ObservationsConfig = field(default_factory=ObservationsConfig)
    """Inputs of the networks: normalisation, ignored entries, images."""


class LearningSettings(Protocol):
    """The agent's settings that meta-training reads, whatever their dataclass."""

    @property
    def learning_rate(self) -> float:
        """The optimizer's step size at the start."""

    @property
    def final_learning_rate(self) -> float | None:
        """Step size at the end of training; None keeps it constant."""

    @property
    def reward_scale(self) -> float | None:
        """Factor on rewards; None for running units."""


@dataclass(frozen=True, kw_only=True)
class SACConfig(FeaturesConfig):
    """Settings of soft actor-critic."""

    hidden_sizes: tuple[int, ...] = (128, 128)
    """Widths of the hidden layers of the actor, the critics and PEARL's decoder."""
    critic_layer_norm: bool = True
    """Whether the critics normalise each hidden layer."""
    n_critics: int = 2
    """Number of independent critics; the smallest of their values is used."""
    learning_rate: float = 1e-3
    """Adam's step size for every network and the temperature, at the start."""
    final_learning_rate: float | None = 1e-4
    """Step size at the end of training, reached linearly over its second half; None keeps it constant."""
    discount: float | None = None
    """Discount per environment step. None stands for 0.99; in PEARL for 1 - 5 / T in episodes of T steps, from 0.9 to
    0.99."""
    target_update_rate: float = 0.02
    """Share of the critics that moves into the target critics at each gradient step."""
    reward_scale: float | None = None
    """Factor on rewards before they reach critics with scalar values. None learns in running units instead: values less
    the mean of recent returns, over their standard deviation, by categorical critics; the encoder then reads
    standardised rewards, and changes of observations in the place of next observations."""
    temperature: float | None = None
    """Fixed entropy temperature. None learns it, except for a finite set of actions in running units without a target
    entropy: then it is 0.03."""
    initial_temperature: float = 0.01
    """Initial value of a learned temperature."""
    target_entropy: float | None = None
    """Target entropy of a learned temperature, in nats. None stands for minus half the action width, or, with
    agent.reward_scale, for 0.3 of the largest entropy of a finite set of actions."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_critics < 1:
            raise ConfigError(f"agent.n_critics must be at least 1, got {self.n_critics}.")
        if not self.hidden_sizes or any(width < 1 for width in self.hidden_sizes):
            raise ConfigError(f"agent.hidden_sizes must be one or more positive widths, got {self.hidden_sizes}.")
        for name in ("learning_rate", "reward_scale", "initial_temperature"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ConfigError(f"agent.{name} must be positive, got {value}.")
        if self.final_learning_rate is not None and self.final_learning_rate < 0:
            raise ConfigError(f"agent.final_learning_rate must not be negative, got {self.final_learning_rate}.")
        if self.discount is not None and not 0 <= self.discount < 1:
            raise ConfigError(f"agent.discount must lie in [0, 1), got {self.discount}.")
        if not 0 < self.target_update_rate <= 1:
            raise ConfigError(f"agent.target_update_rate must lie in (0, 1], got {self.target_update_rate}.")
        if self.temperature is not None and self.temperature < 0:
            raise ConfigError(f"agent.temperature must not be negative, got {self.temperature}.")


@dataclass(frozen=True, kw_only=True)
class ExplorationConfig(Settings):
    """Settings of how z changes within an episode. The paper's PEARL keeps z constant within an episode."""

    section: ClassVar[str] = "agent.exploration"
    sweep: float | None = None
    """Fraction of the way to the next episode's draw that z moves in each step, under the current posterior; 0 keeps
    one draw for the episode. Above 0, z follows the posterior too, in all of training. None stands for 1 / steps of an
    episode where rewards are rare (training.relabelling.candidates), else for 0."""
    z_follows_posterior: bool = True
    """Whether z follows the posterior after each step, so that evidence takes effect in the same episode: the episode's
    noise stays, mean and spread follow. In training it does in half of the iterations, and is kept in the others. False
    keeps z constant within an episode."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sweep is not None and not 0 <= self.sweep <= 1:
            raise ConfigError(f"{self.section}.sweep must lie in [0, 1], got {self.sweep}.")


@dataclass(frozen=True, kw_only=True)
class AuxiliaryConfig(Settings):
    """Settings of the encoder's further losses. PEARL's own are the critics' loss and the KL of agent.kl_weight."""

    section: ClassVar[str] = "agent.auxiliary"
    critics_teach_encoder: bool = True
    """Whether the critics' loss trains the encoder, as in PEARL. With False only the decoders' losses and the
    contrastive loss train it, as in VariBAD (Zintgraf et al. 2020)."""
    reconstruction_weight: float = 0.0
    """Weight of the decoder's squared error, which also trains the encoder; 0 builds no decoder."""
    reconstructed: tuple[Reconstructed, ...] = ("reward",)
    """Parts of a transition that the decoder predicts: the reward, scaled as for the critics, the next observation, or
    both. Used only if agent.auxiliary.reconstruction_weight is positive."""
    contrastive_weight: float = 0.0
    """Weight of the contrastive loss: the encoder must match the two halves of each task's context (Fu et al. 2021);
    0 omits it. It slowed learning in every study here (docs/what-helps.md)."""
    early_kl_weight: float | None = None
    """Weight of the KL from the posterior to the posterior of an earlier context; 0 omits it. None stands for 0.003
    where rewards are rare (training.relabelling.candidates), else for 0."""
    task_inference_weight: float | None = None
    """Weight of the error with which a decoder of z predicts the parameters of the training task (Humplik et al. 2019).
    It trains the encoder too. 0 builds no decoder. None stands for 1 in a run without agent.reward_scale and without
    relabelling whose tasks do not change within an episode, else for 0. Acting and adapting read no parameters."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.reconstructed or len(set(self.reconstructed)) != len(self.reconstructed):
            raise ConfigError(
                f"{self.section}.reconstructed must be reward, next_observation or both, got {self.reconstructed!r}. "
                f"To reconstruct nothing, leave {self.section}.reconstruction_weight at 0."
            )
        for name in ("reconstruction_weight", "contrastive_weight", "early_kl_weight", "task_inference_weight"):
            weight = getattr(self, name)
            if weight is not None and weight < 0:
                raise ConfigError(f"{self.section}.{name} must not be negative, got {weight}.")

    @property
    def task_inference(self) -> float:
        """The weight of task inference; 0 where it is not set."""
        return self.task_inference_weight or 0.0


@dataclass(frozen=True, kw_only=True)
class PEARLAgentConfig(SACConfig):
    """Settings of PEARL's z-conditioned soft actor-critic and of the encoder's training."""

    precision: Literal["float32", "bfloat16"] = "float32"
    """Number format of matrix products in hidden layers during gradient steps; bfloat16 is faster on processors that
    support it. Weights, outputs, losses and acting stay in float32."""
    kl_weight: float = 0.003
    """Weight of KL(q(z|c) || N(0, I)), a mean over tasks; the critics' loss has weight 1."""
    exploration: ExplorationConfig = field(default_factory=ExplorationConfig)
    """Changes of z within an episode."""
    auxiliary: AuxiliaryConfig = field(default_factory=AuxiliaryConfig)
    """Further losses of the encoder."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kl_weight < 0:
            raise ConfigError(f"agent.kl_weight must not be negative, got {self.kl_weight}.")
