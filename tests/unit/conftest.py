"""Keeps unit tests off the network: a test that needs a socket belongs in tests/integration."""

from __future__ import annotations

import socket
from typing import NoReturn

import psycopg
import pytest


class SocketUsed(Exception):
    """A unit test tried to reach something."""


@pytest.fixture(autouse=True)
def _no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> NoReturn:
        raise SocketUsed("a unit test opened a socket; move it to tests/integration")

    for method in ("connect", "connect_ex", "bind"):
        monkeypatch.setattr(socket.socket, method, refuse)
    monkeypatch.setattr(psycopg.Connection, "connect", refuse)  # libpq opens its own sockets
    monkeypatch.setattr(psycopg, "connect", refuse)
