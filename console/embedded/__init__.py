"""Private PostgreSQL and Valkey for `./run` and tests; production sets DATABASE_URL and REDIS_URL."""

from __future__ import annotations

from console.embedded.failure import CannotStart
from console.embedded.lock import AlreadyRunning, hold
from console.embedded.pair import servers
from console.embedded.postgres import Postgres
from console.embedded.server import Server
from console.embedded.valkey import Valkey

__all__ = ["AlreadyRunning", "CannotStart", "Postgres", "Server", "Valkey", "hold", "servers"]
