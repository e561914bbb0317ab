"""A real PgBouncer before the PostgreSQL of the tests; Debian's package is installed when it is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest

from bench.harness.ports import free_port
from bench.harness.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

INSTALL = "apt-get install -y --no-install-recommends pgbouncer"
ANSWERS_WITHIN = 20.0
CONFIGURATION = """\
[databases]
* = host={host} port={server_port} user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
default_pool_size = {size}
max_client_conn = 500
"""


@contextmanager
def running_pgbouncer(database_url: str, *, mode: str = "transaction", size: int = 6) -> Iterator[str]:
    """Start one before the server of `database_url`, and give the URL of that database through it."""
    program = find_program()
    parts = urlsplit(database_url)
    server = {name: values[0] for name, values in parse_qs(parts.query).items()}
    port = free_port()
    owner = Path(server["host"]).stat()  # PostgreSQL's account, which alone may enter the folder of its socket
    with tempfile.TemporaryDirectory() as folder:
        configuration = Path(folder) / "pgbouncer.ini"
        configuration.write_text(
            CONFIGURATION.format(host=server["host"], server_port=server["port"], port=port, mode=mode, size=size)
        )
        for path in (Path(folder), configuration):
            os.chown(path, owner.st_uid, owner.st_gid)
        account = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []} if os.geteuid() == 0 else {}
        process = subprocess.Popen([program, "-q", configuration], **account)  # type: ignore[call-overload]
        url = f"postgresql://postgres@127.0.0.1:{port}{parts.path}"
        try:
            assert wait_until(lambda: answers(url), ANSWERS_WITHIN)
            yield url
        finally:
            process.kill()
            process.wait()


def answers(url: str) -> bool:
    try:
        psycopg.connect(url, autocommit=True, connect_timeout=5).close()
    except psycopg.OperationalError:
        return False
    return True


def find_program() -> str:
    """Return the program's path; install it if we are root on Debian, and fail with a sentence otherwise."""
    if not (program := _program()) and os.geteuid() == 0 and shutil.which("apt-get"):
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}  # RUNLEVEL: start no service
        for command in ("apt-get update", INSTALL):
            subprocess.run(command.split(), env=quiet, capture_output=True, check=False, timeout=300)
        program = _program()
    if not program:
        pytest.fail(f"PgBouncer is missing: run `{INSTALL}` as root", pytrace=False)
    return program


def _program() -> str | None:
    return shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
