"""Conversion of older checkpoints' documents to the current version."""

import math
import re
from collections.abc import Mapping
from typing import Any

from pearl.checkpoint.fields import whole_number
from pearl.config.migration import OF_TRIALS, migrated_settings, with_former_defaults, with_rewards_as_they_are

VERSION = 4
"""Version of the documents that this library writes"""


def migrated(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a model's document in the current version.

    Up to version 3, algorithms that learn from whole trials scaled rewards by 1. Up to version 2, settings had other
    defaults, and a learned temperature aimed at minus the action width. Version 1 has no field ``version``. Its field
    ``system`` is now ``algorithm``; PEARL's first documents lack it. Its settings have no nested sections
    (``pearl.config.migration``).

    Args:
        document: a document of any version.

    Raises:
        ValueError: this library does not know the document's version.
    """
    version = whole_number(document, "version", least=1) if "version" in document else 1
    if version > VERSION:
        raise ValueError(f"version is {version}, newer than {VERSION}, the newest that this library reads")
    migrated = dict(document)
    if version == 1:
        migrated["algorithm"] = migrated.pop("system", "pearl")
        if isinstance(migrated.get("config"), Mapping):
            migrated["config"] = migrated_settings(migrated["config"])
    if version <= 2 and isinstance(migrated.get("config"), Mapping):
        migrated["config"] = with_former_defaults(migrated["config"], _action_width(document))
    if version <= 3 and migrated.get("algorithm") in OF_TRIALS and isinstance(migrated.get("config"), Mapping):
        migrated["config"] = with_rewards_as_they_are(migrated["config"])
    return migrated


def _action_width(document: Mapping[str, Any]) -> int | None:
    """Return how many numbers a continuous action has; None for a finite set of actions, or where it cannot be read."""
    spaces = document.get("spaces")
    space = spaces.get("action") if isinstance(spaces, Mapping) else None
    shape = (
        re.search(r"^Box\(.*\((\d+(?:, \d+)*),?\), float\d+\)$", space, re.DOTALL) if isinstance(space, str) else None
    )
    return math.prod(int(side) for side in shape[1].split(", ")) if shape else None
