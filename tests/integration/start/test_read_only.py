"""Every process works where the whole file system is read-only: no folder for temporary files, no shared memory."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
import requests

from bench.harness.ports import free_port
from console.up.up import commands
from tests.integration.start.conftest import wait_until
from tests.integration.start.test_refused_settings import KEY, environment_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[3]
PROCFILE = commands((ROOT / "Procfile").read_text(encoding="utf-8"), demo=False)
#: Makes every mount read-only for the command alone.
READ_ONLY = """
mount --make-rprivate /
awk '{print $2}' /proc/self/mounts | sort -r | while read -r place; do
    [ "$place" = "$WRITABLE" ] || mount -o remount,bind,ro "$place" 2>/dev/null
done
if touch /tmp/mailroom-may-write 2>/dev/null; then echo "the file system is not read-only" >&2; exit 1; fi
exec "$@"
"""
UNSHARE = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--mount"]


def _may_mount() -> bool:
    try:
        subprocess.run([*UNSHARE, "mount", "--make-rprivate", "/"], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


pytestmark = pytest.mark.skipif(not _may_mount(), reason="this system lets us make no mounts of our own")
SECRETS = {"FRONT_SIGNING_KEYS": "k" * 32, "SECRET_KEY": "s" * 32, "TOKEN_KEYS": KEY}


def read_only(command: str) -> list[str]:
    return [*UNSHARE, "/bin/sh", "-c", READ_ONLY, "sh", "/bin/sh", "-c", f"exec {command}"]


class Running:
    """One process on a read-only file system."""

    def __init__(self, command: str, environment: dict[str, str], log: Path) -> None:
        self._log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                read_only(command), cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT
            )

    @property
    def output(self) -> str:
        return self._log.read_text(encoding="utf-8")

    def wait_for(self, fact: Callable[[], bool], what: str) -> None:
        wait_until(lambda: fact() or self.process.poll() is not None, what)
        assert self.process.poll() is None, self.output


@pytest.fixture
def environment(database: str, redis_db: str, tmp_path: Path) -> dict[str, str]:
    """Settings for production, with a storage that needs no folder, and a MAILROOM_DATA that is not there."""
    given = {
        "MAILROOM_ENV": "production",
        "DATABASE_URL": database,
        "REDIS_URL": redis_db,
        "STORAGE_URL": "s3://bucket/prefix?region=eu-west-1&endpoint=http://127.0.0.1:1&allow_http=true",
        "PUBLIC_URL": "https://console.your.host",
        "HOST": "127.0.0.1",
        "PORT": str(free_port()),
        "CONSOLE_PORT": str(free_port()),
        "METRICS_PORT": str(free_port()),
        "REPAIR_MINUTES": "0",
        **SECRETS,
    }
    return environment_of(tmp_path / "nowhere", given)


@pytest.fixture
def start(environment: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., Running]]:
    started: list[Running] = []

    def start(name: str, **settings: str) -> Running:
        log = tmp_path / f"{name}-{len(started)}.log"
        started.append(Running(PROCFILE[name], environment | settings, log))
        return started[-1]

    yield start
    for each in started:
        each.process.kill()
        each.process.wait()


def kinds(database_url: str) -> set[str]:
    with psycopg.connect(database_url) as conn:
        return {kind for (kind,) in conn.execute("SELECT kind FROM processes")}


def get(url: str) -> str:
    """Return the answer's text, or nothing while it is no 200."""
    try:
        answer = requests.get(url, timeout=2)
    except requests.RequestException:
        return ""
    return answer.text if answer.ok else ""


def stop(running: Running) -> str:
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(40) == 0, running.output
    assert "Traceback" not in running.output
    return running.output


@pytest.mark.parametrize("name", ["recorder", "worker", "sweeper", "console"])
def test_a_process_needs_no_writable_folder(
    name: str, start: Callable[..., Running], environment: dict[str, str]
) -> None:
    running = start(name)
    running.wait_for(lambda: name in kinds(environment["DATABASE_URL"]), f"a heartbeat of the {name}")
    if name == "console":
        url = f"http://127.0.0.1:{environment['CONSOLE_PORT']}/livez"
        running.wait_for(lambda: bool(get(url)), "the console answers")
    stop(running)


@pytest.mark.parametrize(("processes", "writable"), [("1", ""), ("3", ""), ("3", "/dev/shm")])
def test_the_door_needs_no_writable_folder(
    processes: str, writable: str, start: Callable[..., Running], environment: dict[str, str]
) -> None:
    running = start("web", WEB_CONCURRENCY=processes, WRITABLE=writable)
    url = f"http://127.0.0.1:{environment['METRICS_PORT']}"
    running.wait_for(lambda: bool(get(f"{url}/readyz")), "the door is ready")
    assert "mailroom_door_seconds" in get(f"{url}/metrics")
    said = stop(running).count("metrics_of_one_process")
    assert said == (processes != "1" and not writable)


def test_a_worker_says_in_one_line_that_it_cannot_make_the_folder_of_files(
    environment: dict[str, str], tmp_path: Path
) -> None:
    own = environment | {"STORAGE_URL": f"file://{tmp_path}/files"}
    command = read_only(PROCFILE["worker"])
    ended = subprocess.run(command, cwd=ROOT, env=own, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 78
    assert "Traceback" not in ended.stderr
    assert f"STORAGE_URL: cannot use {tmp_path}/files (Read-only file system); " in ended.stderr


@pytest.mark.parametrize("command", ["mailroom up", "python -m console.up.data_folder"])
def test_what_keeps_files_says_in_one_line_where(environment: dict[str, str], command: str) -> None:
    own = {name: value for name, value in environment.items() if name not in SECRETS} | {"MAILROOM_ENV": "development"}
    ended = subprocess.run(
        read_only(command), cwd=ROOT, env=own, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 78
    [line] = (ended.stdout + ended.stderr).splitlines()
    assert "MAILROOM_DATA: cannot use " in line
    assert "(Read-only file system)" in line


def test_up_says_in_one_line_that_its_servers_need_a_folder_for_sockets(
    environment: dict[str, str], tmp_path: Path
) -> None:
    kept = {name: value for name, value in environment.items() if name not in {*SECRETS, "DATABASE_URL", "REDIS_URL"}}
    data = tmp_path / "data"
    data.mkdir()
    own = kept | {"MAILROOM_ENV": "development", "MAILROOM_DATA": str(data), "WRITABLE": str(data)}
    line = ["/bin/sh", "-c", f"mount --bind {data} {data} && {READ_ONLY}", "sh", "/bin/sh", "-c", "exec mailroom up"]
    ended = subprocess.run(
        [*UNSHARE, *line], cwd=ROOT, env=own, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 78
    [said] = (ended.stdout + ended.stderr).splitlines()
    assert "(Read-only file system); let user " in said
    assert "DATABASE_URL" in said


@pytest.mark.parametrize("command", ["mailroom migrate", "mailroom status --json", "mailroom keys generate"])
def test_a_command_needs_no_writable_folder(environment: dict[str, str], command: str) -> None:
    ended = subprocess.run(read_only(command), cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
