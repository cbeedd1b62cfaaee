"""Conversion of older checkpoints' documents to the current version."""

from collections.abc import Mapping
from typing import Any

from pearl.checkpoint.fields import whole_number
from pearl.config.migration import migrated_settings

VERSION = 2
"""Version of the documents that this library writes"""


def migrated(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a model's document in the current version.

    Version 1 has no field ``version``. Its field ``system`` is now ``algorithm``; PEARL's first documents lack it. Its
    settings have no nested sections (``pearl.config.migration``).

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
    return migrated
