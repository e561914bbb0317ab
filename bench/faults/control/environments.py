"""Virtual environments with other versions of Celery, from the package index that pip is configured for."""

from __future__ import annotations

import subprocess
import sys
import venv
from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

PACKAGES = ("celery", "kombu", "redis")
PINNED = tuple(f"{package}=={version(package)}" for package in PACKAGES)
NEWEST = ("celery[redis]", "kombu", "redis")


class NotInstalled(Exception):
    """The package index did not give what was asked for."""


def environment(folder: Path, requirements: tuple[str, ...]) -> str:
    """The interpreter of a new environment with these packages and what they need."""
    venv.create(folder, symlinks=True)
    python = str(folder / "bin" / "python")
    install = ("install", "--quiet", "--disable-pip-version-check", "--no-input", *requirements)
    done = subprocess.run([sys.executable, "-m", "pip", "--python", python, *install], capture_output=True, check=False)
    if done.returncode:
        raise NotInstalled(f"pip could not install {', '.join(requirements)}: {done.stderr.decode()[-300:].strip()}")
    return python


def versions(python: str) -> dict[str, str]:
    """Which versions an interpreter has."""
    asked = f"from importlib.metadata import version; print(*map(version, {PACKAGES}))"
    shown = subprocess.run([python, "-c", asked], capture_output=True, text=True, check=True)
    return dict(zip(PACKAGES, shown.stdout.split(), strict=True))
