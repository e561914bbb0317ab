"""Mailroom with each process on a host of its own, and its stores on hosts of theirs.

PostgreSQL has one host. Redis has two, a primary and a replica. Three Sentinels watch them, and run a script that leads
the one address of Redis to the primary, as it would move a floating address elsewhere.
"""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import redis

from bench.harness.mailroom import Mailroom
from bench.harness.network import FLOATING, NETWORK, Host, Network
from bench.harness.platform import Platform, procfile_commands
from bench.harness.processes import expect
from bench.harness.small_front import SmallFront
from console.up.embedded import Postgres, Valkey
from console.up.embedded.server import valkey_server

if TYPE_CHECKING:
    from pathlib import Path
    from subprocess import Popen

POSTGRES_PORT, REDIS_PORT, SENTINEL_PORT = 5432, 6379, 26379
IN_STEP_WITHIN = 60.0
REDIS_CONFIGURATION = """\
bind 0.0.0.0
protected-mode no
masterauth {password}
repl-timeout 5
repl-diskless-sync-delay 0
repl-ping-replica-period 1
"""
SENTINEL_CONFIGURATION = """\
port {port}
protected-mode no
dir {folder}
sentinel monitor mailroom {primary} {redis_port} 2
sentinel auth-pass mailroom {password}
sentinel down-after-milliseconds mailroom 1000
sentinel failover-timeout mailroom 5000
sentinel client-reconfig-script mailroom {script}
"""
#: Sentinel gives the name of the primary, its own role, a word, and the old and the new address and port.
LEAD_SCRIPT = """\
#!/bin/sh
exec {command} "$6"
"""


class HostPostgres(Postgres):
    """A PostgreSQL on a host, for clients of the whole network. Its socket is for us."""

    def __init__(self, folder: Path, host: Host) -> None:
        super().__init__(folder)
        self._host = host

    def network_url(self, socket_url: str) -> str:
        """Return the URL of this database for other hosts."""
        return f"postgresql://postgres@{self._host.address}:{POSTGRES_PORT}{urlsplit(socket_url).path}"

    def spawn(self) -> None:
        """Start the process on its host."""
        with self._host.entered():
            super().spawn()

    def _initialise(self) -> None:
        super()._initialise()
        with (self._data / "pg_hba.conf").open("a", encoding="utf-8") as rules:
            rules.write(f"host all all {NETWORK} trust\n")

    def _launch(self, program: str, data: Path, *arguments: str) -> Popen[bytes]:
        listen = ("-clisten_addresses=*",) if program == "postgres" else ()
        return super()._launch(program, data, *arguments, *listen)


class HostValkey(Valkey):
    """A Valkey on a host. `url` has the floating address, which leads to the primary."""

    def __init__(self, folder: Path, host: Host, *, password: str = "") -> None:
        super().__init__(folder)
        self.host = host
        self._password = password or self._password
        self._port, self._has_answered = REDIS_PORT, True  # no other program of the host takes the port

    @property
    def url(self) -> str:
        """Return the URL of database 0 at the primary."""
        return f"redis://:{self._password}@{FLOATING}:{self._port}/0"

    @property
    def password(self) -> str:
        """The password of this server."""
        return self._password

    def client(self) -> redis.Redis:
        """Return a client for this very server."""
        return redis.Redis(host=self.host.address, port=self._port, password=self._password, socket_timeout=2)

    def answers(self) -> bool:
        """Whether this very server answers a PING now."""
        with self.client() as client:
            try:
                return bool(client.ping())
            except redis.RedisError:
                return False

    def spawn(self) -> None:
        """Start the process on its host."""
        with self.host.entered():
            super().spawn()

    def _configuration_text(self) -> str:
        return super()._configuration_text() + REDIS_CONFIGURATION.format(password=self._password)


class RedisPair:
    """A primary and a replica; `third` is the host of the third Sentinel."""

    def __init__(self, network: Network, folder: Path, third: Host) -> None:
        self._network, self._folder, self._third = network, folder, third
        first, second = network.add("redis-1"), network.add("redis-2")
        for host in (first, second):
            network.answer_for_floating(host)
        self.first = HostValkey(folder / first.name, first)
        self.second = HostValkey(folder / second.name, second, password=self.first.password)
        network.lead(first)

    def watch(self, platform: Platform) -> None:
        """Make the second server the replica of the first, and start the Sentinels."""
        with self.second.client() as replica:
            replica.execute_command("REPLICAOF", self.first.host.address, str(REDIS_PORT))
        expect(self.is_in_step, IN_STEP_WITHIN, "the replica is in step")
        for number, host in enumerate((self.first.host, self.second.host, self._third), start=1):
            command = [str(valkey_server()), str(self._sentinel(f"sentinel-{number}")), "--sentinel"]
            platform.run(f"sentinel-{number}", host.command(command))

    def primary(self) -> HostValkey:
        """Return the server that takes writes."""
        return next(each for each in (self.first, self.second) if is_primary(each))

    def other(self, server: HostValkey) -> HostValkey:
        """Return the other one of the two."""
        return self.second if server is self.first else self.first

    def is_in_step(self) -> bool:
        """Whether one is the replica of the other now, and has all that it had."""
        states = [_replication(each) for each in (self.first, self.second)]
        return any(state.get("master_link_status") == "up" for state in states)

    def _sentinel(self, name: str) -> Path:
        """Write the configuration of a Sentinel, which Sentinel itself changes later; return its path."""
        folder = self._folder / name
        folder.mkdir()
        script, configuration = folder / "lead", folder / "sentinel.conf"
        script.write_text(LEAD_SCRIPT.format(command=shlex.join(self._network.lead_command())))
        script.chmod(0o700)
        configuration.write_text(
            SENTINEL_CONFIGURATION.format(
                port=SENTINEL_PORT,
                folder=folder,
                primary=self.first.host.address,
                redis_port=REDIS_PORT,
                password=self.first.password,
                script=script,
            )
        )
        return configuration


def is_primary(server: HostValkey) -> bool:
    """Whether the server takes writes; not while it does not answer."""
    return _replication(server).get("role") == "master"


def _replication(server: HostValkey) -> dict[str, Any]:
    """Return what the server says of its replication; nothing while it does not answer."""
    with server.client() as client:
        try:
            return dict(client.info("replication"))
        except redis.RedisError:
            return {}


class MailroomOnHosts(Mailroom):
    """Each process is on a host named like it, as `worker-2`. The small Front and a load balancer are where we are.

    Use it from a thread that has entered `place`.
    """

    def __init__(self, network: Network, place: Host, urls: tuple[str, str], folder: Path, **parts: Any) -> None:
        super().__init__(urls, folder, **parts)
        self._network = network
        self._commands = procfile_commands()
        self._started: dict[str, int] = {}
        self._doors: dict[str, Host] = {}  # as the load balancer knows them
        self._balancer_file = folder / "doors"
        self.hosts: dict[str, Host] = {}
        self.front = SmallFront(self.front.port, self.front.folder / "ledger.jsonl", address=place.address)
        self.platform.environment |= {"HOST": "0.0.0.0", "FRONT_API_URL": f"http://{place.address}:{self.front.port}"}

    def add(self, kind: str) -> str:
        """Add a host with a process of this kind; return the host's name."""
        number = self._started[kind] = self._started.get(kind, 0) + 1
        name = f"{kind}-{number}"
        self.hosts[name] = host = self._network.add(name)
        self.platform.run(name, host.command(self._commands[kind]))
        if kind == "web":
            self._doors[name] = host
            self._name_doors()
        return name

    def remove(self, name: str) -> list[str]:
        """Stop the host's process with TERM, and take the host away; return the problems in words."""
        if self._doors.pop(name, None):
            self._name_doors()
        problems = self.platform.stop(name)
        del self.hosts[name]
        return problems

    def lose(self, name: str) -> None:
        """Let the host vanish in the middle of its work: its peers hear nothing, and its process is dead."""
        self._network.cut_off(self.hosts.pop(name))
        self.platform.lose(name)

    def cut_off(self, name: str) -> None:
        """Lose all packets of the host; its process goes on."""
        self._network.cut_off(self.hosts[name])

    def mend(self, name: str) -> None:
        """Let the packets of the host pass again."""
        self._network.mend(self.hosts[name])

    def of_kind(self, kind: str) -> list[str]:
        """Return the names of the hosts of this kind."""
        return [name for name in self.hosts if name.startswith(f"{kind}-")]

    def _name_doors(self) -> None:
        written = self._balancer_file.with_suffix(".new")
        written.write_text("".join(f"{door.address}:{self.port}\n" for door in self._doors.values()), encoding="utf-8")
        written.replace(self._balancer_file)

    def _start_processes(self) -> None:
        for kind, count in self._counts.items():
            for _ in range(count):
                self.add(kind)
        balancer = [sys.executable, "-m", "bench.harness.balancer", str(self.port), str(self._balancer_file)]
        self.platform.run("balancer", balancer)
