"""The PEARL agent's settings."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class PEARLAgentConfig:
    """Settings of the z-conditioned soft actor-critic and of how it trains the encoder."""

    hidden_sizes: tuple[int, ...] = (256, 256)
    """Widths of the actor's and the critics' hidden layers."""
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
    """Entropy that a learned temperature aims at, in nats; minus the action width where None."""
    redraw_interval: int | None = None
    """Steps within an episode after which z is drawn anew, beside the draw at its start; never where None."""
    kl_weight: float = 0.1
    """Weight of KL(q(z|c) || N(0, I)), a mean over tasks, beside the critics' loss."""

    prefix_kl_weight: float = 0.0
    """Weight of KL(q(z|c) || q(z|c')) for a prefix c' of each context, a mean over tasks; 0 leaves it out."""

    def __post_init__(self) -> None:
        if self.n_critics < 1:
            raise ValueError(f"agent.n_critics must be at least 1, got {self.n_critics}.")
        if not self.hidden_sizes or any(width < 1 for width in self.hidden_sizes):
            raise ValueError(f"agent.hidden_sizes must be one or more positive widths, got {self.hidden_sizes}.")
        for name in ("learning_rate", "reward_scale", "initial_temperature"):
            if getattr(self, name) <= 0:
                raise ValueError(f"agent.{name} must be positive, got {getattr(self, name)}.")
        if self.final_learning_rate is not None and self.final_learning_rate < 0:
            raise ValueError(f"agent.final_learning_rate must not be negative, got {self.final_learning_rate}.")
        if not 0 <= self.discount < 1:
            raise ValueError(f"agent.discount must lie in [0, 1), got {self.discount}.")
        if not 0 < self.target_update_rate <= 1:
            raise ValueError(f"agent.target_update_rate must lie in (0, 1], got {self.target_update_rate}.")
        if self.temperature is not None and self.temperature < 0:
            raise ValueError(f"agent.temperature must not be negative, got {self.temperature}.")
        if self.redraw_interval is not None and self.redraw_interval < 1:
            raise ValueError(f"agent.redraw_interval must be at least 1, got {self.redraw_interval}.")
        for name in ("kl_weight", "prefix_kl_weight"):
            if getattr(self, name) < 0:
                raise ValueError(f"agent.{name} must not be negative, got {getattr(self, name)}.")
