"""Programs that the tests need beside Python's packages: Debian's package is installed when one is missing."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import pytest

LOCK = Path(tempfile.gettempdir()) / "mailroom-tests-apt.lock"
INSTALLED_WITHIN = 600.0
#: Each program with its package.
PROGRAMS = {
    "chromium": "chromium",
    "curl": "curl",
    "ip": "iproute2",
    "pgbouncer": "pgbouncer",
    "promtool": "prometheus",
    "systemd-analyze": "systemd",
}


@cache
def find_program(name: str, *, package: str) -> str:
    """Return the path of a program. Installs its package if we are root on Debian; else fails with a sentence."""
    if not (found := shutil.which(name)) and os.geteuid() == 0 and shutil.which("apt-get"):
        _install(name, package)
        found = shutil.which(name)
    if not found:
        pytest.fail(f"{name} is missing; install it with: apt-get install -y --no-install-recommends {package}")
    return found


def install_all() -> None:
    """Install every program that is missing, where we may: before the tests, whose time is limited."""
    if os.geteuid() == 0 and shutil.which("apt-get"):
        for name, package in PROGRAMS.items():
            if not shutil.which(name):
                _install(name, package)


def _install(name: str, package: str) -> None:
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}  # RUNLEVEL: start no service
    install = ["apt-get", "install", "-y", "--no-install-recommends", package]
    with LOCK.open("w") as lock:  # several processes share the test files, and apt-get takes one at a time
        fcntl.flock(lock, fcntl.LOCK_EX)
        for command in (install, ["apt-get", "update"], install):
            if shutil.which(name):
                return
            subprocess.run(command, env=quiet, capture_output=True, check=False, timeout=INSTALLED_WITHIN)


if __name__ == "__main__":
    install_all()
