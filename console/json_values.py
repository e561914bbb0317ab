"""The JSON form of the values that people's rows hold: the same in the REST API and in `--json` documents. Pure."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID


def as_json(value: object) -> Any:
    """Return a value that JSON knows: times in UTC, lengths of time in seconds, rows as objects. Raises TypeError."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, UUID):
        return value.hex
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")
