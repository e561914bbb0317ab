"""A process whose parent was killed stops and frees its port, however it was started."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from cryptography.fernet import Fernet

from bench.harness.ports import free_port
from bench.harness.processes import wait_until

ROOT = Path(__file__).parents[3]
METHODS = ("fork", "spawn", "forkserver")
STARTS_WITHIN, ENDS_WITHIN = 60.0, 20.0
# As `python -m` runs them on a Python whose default is this start method: 3.14 on Linux, any on macOS.
SERVE = "import multiprocessing, sys; multiprocessing.set_start_method({method!r}); from {module} import main; {run}"
WATCHING = """
import multiprocessing, time

def child(path):
    from shared.process.serving import stop_with_parent
    stop_with_parent()
    open(path, "a").write("started\\n")
    time.sleep(600)

if __name__ == "__main__":
    start = multiprocessing.get_context({method!r}).Process
    for _ in range(2):
        start(target=child, args=({path!r},)).start()
    time.sleep(600)
"""
# Without the kernel's death signal, as on macOS.
RUNNER = """
import sys
from pathlib import Path
from console.up import child_processes
child_processes._libc = None
from console.up.runner import Program, Runner
from shared.process import stopping

command = "{python} -c 'import time; time.sleep(600)' & exec {python} -c 'import time; time.sleep(600)'"
program = Program("sleeper", command, environment={{}}, folder=Path("."))
program._command = command
Runner([program], []).run(stopping.on_signals())
"""


def listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def run(*words: str, **environment: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, *words],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), **environment},
        start_new_session=True,
    )


def kill_alone(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """SIGKILL the process and nothing else; return its children, which are left."""
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    return children


def end_all(children: list[psutil.Process]) -> list[psutil.Process]:
    """Wait for the processes; kill and return those that live on."""
    _, alive = psutil.wait_procs(children, ENDS_WITHIN)
    for each in alive:
        each.kill()
    return alive


@pytest.fixture
def settings(database: str, redis_db: str, tmp_path: Path) -> dict[str, str]:
    """The settings of a door or console on a free port of its own."""
    port = str(free_port())
    return {
        "DATABASE_URL": database,
        "REDIS_URL": redis_db,
        "MAILROOM_DATA": str(tmp_path),
        "FRONT_SIGNING_KEYS": "k",
        "TOKEN_KEYS": Fernet.generate_key().decode(),
        "SECRET_KEY": "s",
        "WEB_CONCURRENCY": "2",
        "PORT": port,
        "CONSOLE_PORT": port,
    }


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("module", ["ingest.__main__", "console.web.__main__"])
def test_a_server_whose_main_process_was_killed_frees_its_port(
    settings: dict[str, str], method: str, module: str
) -> None:
    port = int(settings["PORT"])
    server = run("-c", SERVE.format(method=method, module=module, run="sys.exit(main())"), **settings)
    try:
        assert wait_until(lambda: listens(port), STARTS_WITHIN)
    finally:
        children = kill_alone(server)
    assert children
    assert end_all(children) == []
    assert not listens(port)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_each_of_several_children_notices(tmp_path: Path, method: str, number: signal.Signals) -> None:
    started, script = tmp_path / "started", tmp_path / "script.py"
    script.write_text(WATCHING.format(method=method, path=str(started)))
    parent = run(str(script))
    assert wait_until(lambda: started.exists() and started.read_text().count("started") == 2, STARTS_WITHIN)
    children = psutil.Process(parent.pid).children(recursive=True)
    parent.send_signal(number)
    parent.wait()
    assert len(children) >= 2
    assert end_all(children) == []


def test_programs_of_up_end_with_it_without_a_death_signal() -> None:
    up = run("-c", RUNNER.format(python=sys.executable))
    assert wait_until(lambda: len(psutil.Process(up.pid).children(recursive=True)) >= 3, STARTS_WITHIN)
    assert end_all(kill_alone(up)) == []
