"""The processes as they are shipped: what the Procfile says."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]


def shipped(*, pool: str = "threads") -> dict[str, list[str]]:
    """Each process' command by its name; `pool` is how Celery runs tasks."""
    lines = (ROOT / "Procfile").read_text(encoding="utf-8").splitlines()
    named = [(name, text.strip()) for name, _, text in (line.partition(":") for line in lines) if name]
    return {name: ["/bin/sh", "-c", f"exec {text.replace('-P threads', f'-P {pool}')}"] for name, text in named}
