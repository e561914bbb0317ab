"""The settings of this process as people may see them: of a secret only whether it is set."""

from __future__ import annotations

import os
from dataclasses import dataclass

from pydantic import SecretStr

from shared.settings import SECRETS, Settings


@dataclass(frozen=True, kw_only=True)
class ShownSetting:
    """A setting, its value, where the value comes from, and what it means."""

    name: str
    value: str
    source: str
    meaning: str


def shown_settings(settings: Settings) -> list[ShownSetting]:
    """Return all settings in the order of the documentation."""
    return [
        ShownSetting(
            name=name.upper(),
            value=_value(getattr(settings, name)),
            source=_source(name.upper(), is_set=name in settings.model_fields_set),
            meaning=field.description or "",
        )
        for name, field in Settings.model_fields.items()
    ]


def _value(value: object) -> str:
    if isinstance(value, SecretStr):
        return "set" if value.get_secret_value() else "not set"
    if isinstance(value, (list, tuple)):
        if any(isinstance(each, SecretStr) for each in value):
            return f"{len(value)} set"
        return ", ".join(map(str, value)) or "not set"
    return "not set" if value is None or value == "" else str(value)


def _source(name: str, *, is_set: bool) -> str:
    if os.environ.get(name):
        return "environment"
    if name in SECRETS and os.environ.get(f"{name}_FILE"):
        return "file"
    return "mailroom up" if is_set else "default"
