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


FORMER_DEFAULTS: dict[str, dict[str, Any]] = {
    "encoder": {"context_fields": ["observation", "action", "reward"], "hidden_sizes": [128, 128]},
    "agent": {
        "observations": {"normalise": False},
        "hidden_sizes": [256, 256],
        "critic_layer_norm": False,
        "final_learning_rate": None,
        "discount": 0.99,
        "target_update_rate": 0.005,
        "reward_scale": 1.0,
        "initial_temperature": 0.1,
        "kl_weight": 0.1,
    },
    "training": {
        "n_train_tasks": 80,
        "tasks_per_iteration": None,
        "initial_episodes": 1,
        "gradient_steps_per_env_step": 0.1,
        "batch_size": 64,
        "replay_capacity": 10_000,
        "context": {"max_length": 60, "random_length": False},
    },
}
"""Settings of soft actor-critic from a replay of transitions that had another default, before running units"""


OTHERS: dict[str, dict[str, Any]] = {"agent": {"observations": {"normalise": False}}}
"""The same of other algorithms"""


OF_TRIALS = frozenset({"rl2", "transformer", "recurrent_sac", "maml", "fomaml", "reptile"})
"""Algorithms whose ``agent.reward_scale`` was 1 by default until they learnt in running units too"""


def with_rewards_as_they_are(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a run of ``OF_TRIALS`` with the former default of ``agent.reward_scale``.

    Args:
        settings: nested plain data under today's names.
    """
    return _under(settings, {"agent": {"reward_scale": 1.0}})


def with_learnt_temperature(settings: Mapping[str, Any], largest_entropy: float | None) -> dict[str, Any]:
    """Return a run's settings with the target entropy of a temperature that was learnt for a finite set of actions.

    Args:
        settings: nested plain data under today's names.
        largest_entropy: of random actions, in nats; None for continuous actions, whose temperature is learnt as before.
    """
    filled, agent = dict(settings), settings.get("agent")
    if largest_entropy is None or not isinstance(agent, Mapping) or "target_entropy" not in agent:
        return filled
    if agent.get("temperature") is None and agent["target_entropy"] is None and agent.get("reward_scale") is None:
        filled["agent"] = {**agent, "target_entropy": 0.3 * largest_entropy}
    return filled


def with_kept_z(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's settings with the former defaults of what they leave out: a kept z, and no task inference.

    Args:
        settings: nested plain data under today's names.
    """
    if "encoder" not in settings:
        return dict(settings)
    former = {"auxiliary": {"task_inference_weight": 0.0}, "exploration": {"z_follows_posterior": False}}
    return _under(settings, {"agent": former})


def with_former_defaults(settings: Mapping[str, Any], action_width: int | None) -> dict[str, Any]:
    """Return a run's settings, of any former version, with what they leave out at its former default.

    Args:
        settings: nested plain data under today's names.
        action_width: of continuous actions, which a learned temperature's target entropy was minus; None for others.
    """
    filled = _under(settings, FORMER_DEFAULTS if "encoder" in settings else OTHERS)
    agent = filled.get("agent")
    if isinstance(agent, Mapping) and "temperature" in agent and agent.get("target_entropy") is None:
        filled["agent"] = {**agent, "target_entropy": None if action_width is None else -float(action_width)}
    return filled


def _under(settings: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``settings`` over ``defaults``, section by section."""
    merged = dict(defaults) | dict(settings)
    for name, part in defaults.items():
        if isinstance(part, Mapping) and isinstance(merged[name], Mapping):
            merged[name] = _under(merged[name], part)
    return merged


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
