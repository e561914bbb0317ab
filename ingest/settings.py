"""The settings without which there is no door."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.settings import current

if TYPE_CHECKING:
    from shared.settings import Settings


def door_settings() -> Settings:
    """The settings of this process. Raises ConfigurationError."""
    return current().require("front_signing_keys", "database_url", "redis_url")
