"""Hosts on this machine: network namespaces joined by a router of their own, which loses packets without a word.

A namespace lives as long as a process or an open file of ours holds it. So nothing is left behind, not even after
SIGKILL, and this machine's own interfaces and files stay as they are.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CLONE_NEWUTS, CLONE_NEWNET = 0x04000000, 0x40000000  # from <sched.h>
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
#: Every host has a network of two addresses below this: the router's end, then its own.
NETWORK = "10.77.0.0/16"
#: An address of several hosts; `Network.lead` says which of them gets its packets.
FLOATING = "10.77.255.1"
LEAD = ("route", "replace", f"{FLOATING}/32", "via")
#: No host has this hardware address.
NOBODY = "02:00:00:00:00:00"
#: The kinds of namespaces that make a host, and where a thread finds its own.
NAMESPACES = {CLONE_NEWNET: "/proc/thread-self/ns/net", CLONE_NEWUTS: "/proc/thread-self/ns/uts"}
FORWARD = "/proc/sys/net/ipv4/ip_forward"
TRIAL = f"ip link add name one type veth && echo 1 >{FORWARD}"
PROGRAMS = {"ip": "iproute2", "nsenter": "util-linux", "unshare": "util-linux"}


def obstacle() -> str | None:
    """Say why this machine lets us make no hosts, and what to do about it; None when it does."""
    if sys.platform != "linux":
        return "network namespaces are a part of Linux: run this on Linux, as root"
    if missing := [name for name in PROGRAMS if not shutil.which(name)]:
        packages = " ".join(sorted({PROGRAMS[name] for name in missing}))
        return f"{missing[0]} is missing; install it with: apt-get install -y --no-install-recommends {packages}"
    if subprocess.run(["unshare", "--net", "--uts", "sh", "-c", TRIAL], capture_output=True, check=False).returncode:
        return (
            "this user may make no network namespaces with a router; run it as root, in a container with the "
            "capabilities NET_ADMIN and SYS_ADMIN and a writable /proc/sys"
        )
    return None


@dataclass(frozen=True, kw_only=True)
class Host:
    """One host, with a host name, an address and a loopback of its own. `namespaces` are files in /proc."""

    name: str
    number: int
    namespaces: dict[int, str]

    @property
    def address(self) -> str:
        """The address that other hosts reach it at."""
        return f"10.77.{self.number}.2"

    @property
    def gateway(self) -> str:
        """The router's address on the cable to this host."""
        return f"10.77.{self.number}.1"

    @property
    def cable(self) -> str:
        """The name of the router's end of the cable."""
        return f"to{self.number}"

    def command(self, command: Sequence[str]) -> list[str]:
        """Return the command that runs there; it becomes the given one by exec."""
        return ["nsenter", f"--net={self.namespaces[CLONE_NEWNET]}", f"--uts={self.namespaces[CLONE_NEWUTS]}", *command]

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Move the calling thread there, with the sockets, threads and processes that it makes."""
        with _returning():
            for kind, path in self.namespaces.items():
                _enter(path, kind)
            yield

    def ip(self, *words: str) -> None:
        """Run `ip` there. Raises AssertionError with its words when it refuses."""
        ended = subprocess.run(self.command(["ip", *words]), capture_output=True, text=True, check=False)
        assert ended.returncode == 0, f"ip {' '.join(words)} on {self.name}: {ended.stderr}"


class Network:
    """Hosts around a router, as a context manager; leaving it forgets them all. Use it from one thread.

    The programs on a host must have ended before that: a namespace lives on with its last process.
    """

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._count = 0
        self._router: Host

    def __enter__(self) -> Self:
        if reason := obstacle():
            raise RuntimeError(reason)
        self._router = self._made("router")
        with self._router.entered():
            Path(FORWARD).write_text("1")
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def add(self, name: str) -> Host:
        """Add a host, and connect it with all others."""
        self._count += 1
        host = self._made(name)
        place = host.namespaces[CLONE_NEWNET]
        self._router.ip("link", "add", host.cable, "type", "veth", "peer", "name", "eth0", "netns", place)
        self._router.ip("address", "add", f"{host.gateway}/24", "dev", host.cable)
        self._router.ip("link", "set", host.cable, "up")
        host.ip("address", "add", f"{host.address}/24", "dev", "eth0")
        host.ip("link", "set", "eth0", "up")
        host.ip("route", "add", "default", "via", host.gateway)
        return host

    def cut_off(self, host: Host) -> None:
        """Lose every packet from and to the host from now on: nobody is told, and connections hang."""
        self._router.ip("rule", "add", "iif", host.cable, "blackhole")
        self._router.ip("neighbour", "replace", host.address, "lladdr", NOBODY, "dev", host.cable, "nud", "permanent")

    def mend(self, host: Host) -> None:
        """Let its packets pass again."""
        self._router.ip("neighbour", "del", host.address, "dev", host.cable)
        self._router.ip("rule", "del", "iif", host.cable, "blackhole")

    def answer_for_floating(self, host: Host) -> None:
        """Let the host take packets for the floating address, whenever they are led to it."""
        host.ip("address", "add", f"{FLOATING}/32", "dev", "lo")

    def lead(self, host: Host) -> None:
        """Lead the packets for the floating address to this host."""
        self._router.ip(*LEAD, host.address)

    def lead_command(self) -> list[str]:
        """Return the command that leads them to the host whose address is its next word."""
        return self._router.command(["ip", *LEAD])

    def _made(self, name: str) -> Host:
        """Make a host without a cable. Its namespaces stay for as long as our files of them are open."""
        files: dict[int, str] = {}
        with _returning():
            _call("unshare", CLONE_NEWNET | CLONE_NEWUTS)
            socket.sethostname(name)
            for kind, path in NAMESPACES.items():
                number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                self._stack.callback(os.close, number)
                files[kind] = f"/proc/{os.getpid()}/fd/{number}"
        host = Host(name=name, number=self._count, namespaces=files)
        host.ip("link", "set", "lo", "up")
        return host


@contextmanager
def _returning() -> Iterator[None]:
    """Move the calling thread back at the end, wherever it went."""
    with ExitStack() as stack:
        for kind, path in NAMESPACES.items():
            home = stack.enter_context(Path(path).open("rb"))
            stack.callback(_call, "setns", home.fileno(), kind)
        yield


def _enter(path: str, kind: int) -> None:
    with Path(path).open("rb") as file:
        _call("setns", file.fileno(), kind)


def _call(name: str, *arguments: int) -> None:
    """Call a function of the C library that Python offers since 3.12 only. Raises OSError."""
    assert _libc
    if getattr(_libc, name)(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
