"""Run Valkey, a fork of Redis that speaks the same protocol, on a free port of this machine."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
from pathlib import Path

import redis

from console.up.child_processes import spawn
from console.up.embedded.server import Server, end_leftover, memory_bytes, valkey_server

MEMORY_SHARE = 0.6  # of this machine's memory
# Each acknowledged write is in the append-only file, and a full server refuses writes instead of evicting keys.
# Without `durable` the kernel decides when the file is written: that survives SIGKILL, but no power cut.
CONFIGURATION = """\
bind 127.0.0.1
port {port}
requirepass {password}
dir {folder}
pidfile {pid_file}
set-proc-title no
databases 256
save ""
maxmemory {maxmemory}
maxmemory-policy noeviction
appendonly yes
appendfsync {fsync}
"""


class Valkey(Server):
    """A Valkey with its data below `folder`.

    `program`, if given, is started in place of the server; it must become the server by exec.
    """

    name = "Valkey"
    setting = "REDIS_URL"
    stop_signal = signal.SIGTERM

    def __init__(self, folder: Path, *, durable: bool = True, program: Path | None = None) -> None:
        self.folder = folder.resolve() / "valkey"
        self.durable = durable
        self._program = program
        self._password = secrets.token_urlsafe(18)
        self._port = _free_port()
        self._has_answered = False

    @property
    def url(self) -> str:
        """Return the URL of database 0."""
        return f"redis://:{self._password}@127.0.0.1:{self._port}/0"

    @property
    def log(self) -> Path:
        """Return the path of the server's own log."""
        return self.folder / "valkey.log"

    def spawn(self) -> None:
        """Start the process without waiting until it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)  # holds the password
        end_leftover(self._pid_file, str(self._configuration))
        if self.process is not None and not self._has_answered:
            self._port = _free_port()  # another program took it between choosing and binding
        self._configuration.write_text(self._configuration_text())
        with self.log.open("ab") as log:
            self.process = spawn(
                [self._program or valkey_server(), self._configuration],
                environment=os.environ,
                output=log,
                on_our_death=signal.SIGTERM,
                folder=self.folder,
            )

    def answers(self) -> bool:
        """Whether it answers a PING now."""
        with contextlib.closing(redis.Redis.from_url(self.url)) as client:
            try:
                self._has_answered = bool(client.ping())
            except (redis.ConnectionError, redis.ResponseError):
                return False
            return True

    @property
    def _configuration(self) -> Path:
        return self.folder / "valkey.conf"

    @property
    def _pid_file(self) -> Path:
        return self.folder / "valkey.pid"

    def _configuration_text(self) -> str:
        return CONFIGURATION.format(
            port=self._port,
            password=self._password,
            folder=_quoted(self.folder),
            pid_file=_quoted(self._pid_file),
            maxmemory=int(memory_bytes() * MEMORY_SHARE),
            fsync="always" if self.durable else "no",
        )


def _quoted(path: Path) -> str:
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
