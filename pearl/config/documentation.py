"""Documentation of settings from the config classes' docstrings, and the list of essential settings."""

import ast
import dataclasses
import inspect
import textwrap
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from encoders import Settings
from pearl.config.run import Config

ESSENTIAL = (
    "training.total_steps",
    "training.n_train_tasks",
    "training.gradient_steps_per_env_step",
    "training.context.max_length",
    "encoder.kind",
    "encoder.latent_dim",
    "agent.hidden_sizes",
    "agent.learning_rate",
    "agent.discount",
    "agent.reward_scale",
    "agent.kl_weight",
    "agent.observations.normalise",
)
"""The settings that matter most; an algorithm may lack some of them"""


class Documented(NamedTuple):
    """A setting with its documentation."""

    name: str
    """Dotted path in the run's settings"""
    value: object
    documentation: str


def documented(config: Config) -> list[Documented]:
    """Return every setting of a run with its value and its documentation, section by section.

    A nested section comes after its parent's own settings.
    """
    return list(_of_section("", config))


def _of_section(prefix: str, section: Settings) -> Iterator[Documented]:
    nested = []
    for field in dataclasses.fields(section):
        value = getattr(section, field.name)
        if isinstance(value, Settings):
            nested.append((f"{prefix}{field.name}.", value))
        else:
            yield Documented(f"{prefix}{field.name}", value, documentation(type(section), field.name))
    for name, part in nested:
        yield from _of_section(name, part)


def documentation(kind: type[Settings], name: str) -> str:
    """Return the text under a field of a config class, on one line; empty if there is none."""
    owner = next(parent for parent in kind.__mro__ if name in vars(parent).get("__annotations__", {}))
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(owner))).body
    assert isinstance(definition, ast.ClassDef)
    body = definition.body
    for node, following in pairwise(body):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == name:
            text = following.value if isinstance(following, ast.Expr) else None
            return " ".join(str(text.value).split()) if isinstance(text, ast.Constant) else ""
    return ""
