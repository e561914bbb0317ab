"""Keep unit tests off the network, and judge no property by the time that it takes."""

from __future__ import annotations

import socket
from typing import NoReturn

import psycopg
import pytest
from hypothesis import HealthCheck, settings

# On a busy machine an example may take long; that is no fault of the code.
settings.register_profile("without_deadline", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("without_deadline")


class SocketUsed(Exception):
    """A unit test tried to open a socket."""


@pytest.fixture(autouse=True)
def _no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse every socket: a test that needs one belongs in tests/integration."""

    def refuse(*_: object, **__: object) -> NoReturn:
        raise SocketUsed("a unit test opened a socket; move it to tests/integration")

    for method in ("connect", "connect_ex", "bind"):
        monkeypatch.setattr(socket.socket, method, refuse)
    monkeypatch.setattr(psycopg.Connection, "connect", refuse)  # libpq opens its own sockets
    monkeypatch.setattr(psycopg, "connect", refuse)
