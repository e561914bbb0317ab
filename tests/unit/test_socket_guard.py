"""Unit tests cannot open a socket."""

from __future__ import annotations

import socket

import psycopg
import pytest

from tests.unit.conftest import SocketUsed


def test_a_unit_test_cannot_connect() -> None:
    with socket.socket() as client, pytest.raises(SocketUsed):
        client.connect(("127.0.0.1", 9))


def test_a_unit_test_cannot_reach_postgresql() -> None:
    with pytest.raises(SocketUsed):
        psycopg.connect("postgresql://127.0.0.1/none")
