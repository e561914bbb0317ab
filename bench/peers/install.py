"""Installs a peer's packages from its lock into its own folder when it is first measured."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

HERE = Path(__file__).parent
INSTALLED = HERE.parents[1] / ".bench"
NODE_AT_LEAST = 20


class NotInstalled(Exception):
    """A peer cannot be measured here; the message says why."""


def python_of(peer: str) -> Path:
    """Return an interpreter with the packages of requirements.lock. Raises NotInstalled."""
    folder, lock = INSTALLED / peer, HERE / peer / "requirements.lock"
    python = folder / "bin" / "python"
    if _made_from(folder) != lock.read_bytes():
        shutil.rmtree(folder, ignore_errors=True)
        venv.create(folder, symlinks=True)
        _install_python(python, lock)
        (folder / "made-from").write_bytes(lock.read_bytes())
    return python


def node_folder_of(peer: str) -> Path:
    """Return a folder with the programs and the packages of package-lock.json. Raises NotInstalled."""
    folder, lock = INSTALLED / peer, HERE / peer / "package-lock.json"
    _check_node()
    if _made_from(folder) != lock.read_bytes():
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(HERE / peer, folder)
        _run("npm", "ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund", folder=folder)
        (folder / "made-from").write_bytes(lock.read_bytes())
    for program in (HERE / peer).glob("*.js"):
        shutil.copy(program, folder)
    return folder


def node_version() -> str | None:
    """Return the version of Node.js, or None without one."""
    if shutil.which("node") is None:
        return None
    return subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()


def locked_versions() -> dict[str, str]:
    """Return the locked versions of the packages that matter."""
    python = re.findall(
        r"^(fastapi|uvicorn|uvloop|arq|redis|hiredis|asyncpg|httpx)==(\S+)",
        _lock("fastapi_arq/requirements.lock"),
        re.M,
    )
    node = json.loads(_lock("express_bullmq/package-lock.json"))["packages"]
    return dict(python) | {
        name: node[f"node_modules/{name}"]["version"] for name in ("express", "bullmq", "ioredis", "pg")
    }


def _lock(path: str) -> str:
    return (HERE / path).read_text(encoding="utf-8")


def _made_from(folder: Path) -> bytes | None:
    made_from = folder / "made-from"
    return made_from.read_bytes() if made_from.exists() else None


def _install_python(python: Path, lock: Path) -> None:
    options = ("--quiet", "--require-hashes", "-r", str(lock))
    uv = Path(sys.executable).with_name("uv")
    try:
        _run(str(uv), "pip", "install", "--system-certs", "--python", str(python), *options)
    except NotInstalled:  # pip may know a mirror from its configuration
        _run(sys.executable, "-m", "pip", "--python", str(python), "install", "--no-input", *options)


def _check_node() -> None:
    version = node_version()
    if version is None or shutil.which("npm") is None:
        raise NotInstalled("no Node.js with npm here")
    if int(version.lstrip("v").split(".")[0]) < NODE_AT_LEAST:
        raise NotInstalled(f"Node.js is {version}, {NODE_AT_LEAST} or newer is needed")


def _run(*command: str, folder: Path | None = None) -> None:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, check=False)
    except OSError as error:
        raise NotInstalled(f"{command[0]} cannot be run: {error}") from error
    if done.returncode:
        raise NotInstalled(f"{' '.join(_short(command))}: {done.stderr.decode()[-300:].strip()}")


def _short(command: Sequence[str]) -> Sequence[str]:
    return [Path(command[0]).name, *command[1:3]]
