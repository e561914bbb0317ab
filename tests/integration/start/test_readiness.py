"""Every process says on METRICS_PORT whether it does its work, and tells systemd that it is ready and alive."""

from __future__ import annotations

import socket
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import requests

from bench.harness.ports import free_port
from console.up.up import commands
from shared.process import probe, service_manager
from tests.integration.start.conftest import wait_until
from tests.integration.start.test_refused_settings import KEY, environment_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from console.up.embedded import Postgres

ROOT = Path(__file__).parents[3]
PROCFILE = commands((ROOT / "Procfile").read_text(encoding="utf-8"), demo=False)
#: Runs a command as systemd's MemoryDenyWriteExecute does (prctl PR_SET_MDWE); 75 where the kernel cannot.
NO_WRITABLE_CODE = """
import ctypes, os, sys
if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0):
    sys.exit(75)
os.execvp(sys.argv[1], sys.argv[1:])
"""
BEHIND_THE_DOOR = ["recorder", "worker", "sweeper", "console"]


class Process:
    """A process of the Procfile with a METRICS_PORT, and what it tells systemd."""

    def __init__(
        self,
        kind: str,
        database: str,
        redis_url: str,
        folder: Path,
        *,
        cwd: Path = ROOT,
        through: Sequence[str] = (),
        **also: str,
    ) -> None:
        self.kind, self.port, self._log = kind, free_port(), folder / f"{kind}.log"
        address = str(folder / f"{kind}.notify")
        self.systemd = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.systemd.bind(address)
        self.systemd.settimeout(60)
        given = {
            "DATABASE_URL": database,
            "REDIS_URL": redis_url,
            "STORAGE_URL": f"file://{folder}/files",
            "FRONT_SIGNING_KEYS": "k" * 32,
            "SECRET_KEY": "s" * 32,
            "TOKEN_KEYS": KEY,
            "HOST": "127.0.0.1",
            "PORT": str(free_port()),
            "CONSOLE_PORT": str(free_port()),
            "METRICS_PORT": str(self.port),
            "NOTIFY_SOCKET": address,
            "WATCHDOG_USEC": "3000000",
            **also,
        }
        self.environment = environment_of(folder / "nowhere", given)
        with self._log.open("wb") as output:
            line = [*through, "/bin/sh", "-c", f"exec {PROCFILE[kind]}"]
            self.process = subprocess.Popen(line, cwd=cwd, env=self.environment, stdout=output, stderr=output)

    def ask(self, path: str) -> tuple[int, Any]:
        """Return status and content; 0 while nobody answers."""
        try:
            answer = requests.get(f"http://127.0.0.1:{self.port}{path}", timeout=10)
        except requests.RequestException:
            return 0, None
        return answer.status_code, answer.json()

    def wait_for(self, status: int, path: str = "/readyz") -> Any:
        """Wait for this status, and return the content."""
        wait_until(lambda: self.ask(path)[0] == status or self.process.poll() is not None, f"{status} of {self.kind}")
        assert self.process.poll() is None, self._log.read_text()
        return self.ask(path)[1]

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self.systemd.close()


@contextmanager
def running(
    kinds: list[str], database: str, redis_url: str, folder: Path, *, through: Sequence[str] = ()
) -> Iterator[list[Process]]:
    with ExitStack() as stack:
        processes = []
        for kind in kinds:
            processes.append(Process(kind, database, redis_url, folder, through=through))
            stack.callback(processes[-1].end)
        yield processes


def test_every_process_is_ready_and_tells_systemd(database: str, redis_db: str, tmp_path: Path) -> None:
    with running([*PROCFILE], database, redis_db, tmp_path) as processes:
        checks = {each.kind: each.wait_for(200)["checks"] for each in processes}
        assert checks == {
            "web": {"intake": "writable"},
            "recorder": {"queue": "consumes", "database": "current"},
            "worker": {"queue": "consumes", "database": "current"},
            "sweeper": {"rounds": "goes round", "database": "current"},
            "console": {"database": "current"},
        }
        for each in processes:
            said = [each.systemd.recv(100) for _ in range(6)]
            assert said[0] == b"READY=1", each.kind
            assert b"WATCHDOG=1" in said, each.kind
            assert each.ask("/livez") == (200, {"alive": True})
            line = [sys.executable, "-m", "shared.process.probe"]
            assert subprocess.run(line, cwd=ROOT, env=each.environment, check=False).returncode == 0


def test_a_process_is_alive_and_not_ready_without_postgresql_or_its_schema(
    own_postgres: Postgres, redis_db: str, tmp_path: Path
) -> None:
    with running(BEHIND_THE_DOOR, own_postgres.url, redis_db, tmp_path) as processes:
        for each in processes:
            each.wait_for(503)
            assert each.ask("/livez") == (200, {"alive": True})
            line = [sys.executable, "-m", "shared.process.probe"]
            assert subprocess.run(line, cwd=ROOT, env=each.environment, check=False).returncode == 1
        subprocess.run([sys.executable, "-m", "console", "migrate"], cwd=ROOT, env=processes[0].environment, check=True)
        for each in processes:
            each.wait_for(200)
        own_postgres.kill()
        for each in processes:
            assert "PostgreSQL" in each.wait_for(503)["checks"]["database"]
            assert each.ask("/livez") == (200, {"alive": True})


def test_every_process_works_where_no_code_is_writable(database: str, redis_db: str, tmp_path: Path) -> None:
    through = [sys.executable, "-c", NO_WRITABLE_CODE]
    if subprocess.run([*through, "true"], check=False).returncode == 75:
        pytest.skip("this kernel has no PR_SET_MDWE")
    with running([*PROCFILE], database, redis_db, tmp_path, through=through) as processes:
        for each in processes:
            each.wait_for(200)


def test_a_migration_that_this_release_does_not_know_makes_a_process_unready(
    database: str, redis_db: str, tmp_path: Path
) -> None:
    with running(["sweeper"], database, redis_db, tmp_path) as [sweeper]:
        sweeper.wait_for(200)
        with psycopg.connect(database) as conn:
            conn.execute("INSERT INTO schema_migrations (name, checksum) VALUES ('9999_newer_after_9998', '')")
        assert "9999_newer_after_9998" in sweeper.wait_for(503)["checks"]["database"]


def test_the_door_refuses_a_port_on_which_another_process_answers(database: str, redis_db: str, tmp_path: Path) -> None:
    with running(["worker"], database, redis_db, tmp_path) as [worker]:
        worker.wait_for(200)
        line = ["/bin/sh", "-c", f"exec {PROCFILE['web']}"]
        ended = subprocess.run(
            line, cwd=ROOT, env=worker.environment, capture_output=True, text=True, timeout=60, check=False
        )
    assert ended.returncode == 78
    assert f"METRICS_PORT: cannot listen on port {worker.port} " in ended.stderr


def test_a_probe_says_why_it_got_no_answer(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("METRICS_PORT", raising=False)
    assert probe.main() == 1
    monkeypatch.setenv("METRICS_PORT", str(free_port()))
    assert probe.main() == 1
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("METRICS_PORT (not set) does not answer: ")
    assert "refused" in second


def test_a_probe_loads_neither_settings_nor_a_library() -> None:
    script = "import sys; before = set(sys.modules); import shared.process.probe; print(*set(sys.modules) - before)"
    loaded = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert not {"flask", "psycopg", "pydantic", "shared.settings", "structlog", "http.client"} & set(loaded.split())


def test_a_socket_without_a_file_is_told_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.settimeout(10)
        systemd.bind(f"\0mailroom-test-{free_port()}")
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + systemd.getsockname()[1:].decode())
        service_manager.notify(service_manager.READY)
        assert systemd.recv(100) == b"READY=1"


def test_nothing_is_told_where_nobody_listens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nowhere"))
    service_manager.notify(service_manager.ALIVE)
    monkeypatch.delenv("NOTIFY_SOCKET")
    service_manager.notify(service_manager.ALIVE)
