"""Run PostgreSQL and Valkey on this machine, for `mailroom up`, tests and benchmarks."""

from console.up.embedded.postgres import Postgres
from console.up.embedded.server import CannotStart, Server, postgres_folders
from console.up.embedded.valkey import Valkey

__all__ = ["CannotStart", "Postgres", "Server", "Valkey", "postgres_folders"]
