"""Settings that moved into a nested section, with their former and current names."""

from collections.abc import Mapping
from typing import Any

MOVED = {
    "agent.normalise_observations": "agent.observations.normalise",
    "agent.ignored_observations": "agent.observations.ignored",
    "agent.image_channels": "agent.observations.image_channels",
    "agent.image_features": "agent.observations.image_features",
    "agent.sweep": "agent.exploration.sweep",
    "agent.z_follows_posterior": "agent.exploration.z_follows_posterior",
    "agent.critics_teach_encoder": "agent.auxiliary.critics_teach_encoder",
    "agent.reconstruction_weight": "agent.auxiliary.reconstruction_weight",
    "agent.reconstructed": "agent.auxiliary.reconstructed",
    "agent.contrastive_weight": "agent.auxiliary.contrastive_weight",
    "agent.early_kl_weight": "agent.auxiliary.early_kl_weight",
    "training.max_context": "training.context.max_length",
    "training.random_context_length": "training.context.random_length",
    "training.recent_context": "training.context.recent_transitions",
    "training.relabel_candidates": "training.relabelling.candidates",
    "training.rewarded_context": "training.relabelling.rewarded_context",
}
"""The current dotted name of each moved setting, by its former name"""


def migrated_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's settings with every moved setting under its current name.

    If a setting appears under both names, both stay, so that ``from_mapping`` refuses the former one.

    Args:
        settings: nested plain data, as any version of ``to_mapping`` or ``non_default_settings`` wrote them.
    """
    migrated = {name: dict(part) if isinstance(part, Mapping) else part for name, part in settings.items()}
    for former, present in MOVED.items():
        section, old = former.split(".")
        _, nested, new = present.split(".")
        part = migrated.get(section)
        if not isinstance(part, dict) or old not in part:
            continue
        inner = part.get(nested, {})
        if isinstance(inner, Mapping) and new not in inner:
            part[nested] = {**inner, new: part.pop(old)}
    return migrated
