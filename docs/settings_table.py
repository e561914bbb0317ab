"""Print the table of docs/configuration.md from Settings: `python -m docs.settings_table`.

With the argument `env` print the file `.env.example` instead.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from shared.settings import SECRETS, Settings

BEGIN, END = "<!-- settings -->", "<!-- /settings -->"
INTRODUCTION = """\
# Lists every setting with its default. Set others in the environment; docker compose also reads a copy named .env.
# Each secret may instead come from a file: NAME_FILE holds the file's path.
"""
#: OpenTelemetry reads its own variables.
FOR_TRACES = """
# A collector that takes traces by OTLP over HTTP; OpenTelemetry's other variables count, too
#OTEL_EXPORTER_OTLP_ENDPOINT=
"""
#: What docker-compose.yml asks for beside the settings.
FOR_COMPOSE = """
# For docker compose alone: the password of its PostgreSQL, of letters and digits
#POSTGRES_PASSWORD=

# For docker compose alone: the most memory of its Valkey
#VALKEY_MEMORY=512mb

# For docker compose alone: the port of its Prometheus, on this machine
#PROMETHEUS_PORT=9090
"""


def table() -> str:
    """Return the table of docs/configuration.md, between its two marks."""
    rows = [f"| {_names(name)} | {_code(_default(field))} | {field.description} |" for name, field in _fields()]
    return "\n".join([BEGIN, "| setting | default | meaning |", "| --- | --- | --- |", *rows, END]) + "\n"


def example() -> str:
    """Return the content of `.env.example`: every setting with its default, commented out."""
    return (
        INTRODUCTION
        + "".join(
            f"\n# {field.description}{_file_note(name)}\n#{name}={_default(field)}\n" for name, field in _fields()
        )
        + FOR_TRACES
        + FOR_COMPOSE
    )


def _fields() -> Iterator[tuple[str, FieldInfo]]:
    return ((name.upper(), field) for name, field in Settings.model_fields.items())


def _default(field: FieldInfo) -> str:
    default: Any = field.get_default(call_default_factory=True)
    if default is None:
        return ""
    if isinstance(default, (list, tuple)):
        return ",".join(default)
    return str(default.get_secret_value() if isinstance(default, SecretStr) else default)


def _names(name: str) -> str:
    return f"`{name}`, `{name}_FILE`" if name in SECRETS else f"`{name}`"


def _code(default: str) -> str:
    return f"`{default}`" if default else ""


def _file_note(name: str) -> str:
    return f" (or {name}_FILE)" if name in SECRETS else ""


if __name__ == "__main__":
    sys.stdout.write(example() if sys.argv[1:] == ["env"] else table())
