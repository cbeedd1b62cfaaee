"""Documents of older checkpoints, brought to the present version."""

from collections.abc import Mapping
from typing import Any

from pearl.checkpoint.fields import whole_number
from pearl.config.migration import migrated_settings

VERSION = 2
"""Of the documents that are written"""


def migrated(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a model's document in the present version.

    Version 1 names no version, and its field ``system`` is now ``algorithm``; PEARL's first documents lack even that.
    Its settings had no nested sections (``pearl.config.migration``).

    Args:
        document: of any version, as it was written.

    Raises:
        ValueError: its version is none that this library knows.
    """
    version = whole_number(document, "version", least=1) if "version" in document else 1
    if version > VERSION:
        raise ValueError(f"version is {version}, newer than {VERSION}, the newest that this library reads")
    migrated = dict(document)
    if version == 1:
        migrated["algorithm"] = migrated.pop("system", "pearl")
        if isinstance(migrated.get("config"), Mapping):
            migrated["config"] = migrated_settings(migrated["config"])
    return migrated
