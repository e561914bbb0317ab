"""Where is recorded: one database and one Redis, and who looks at both."""

from __future__ import annotations

from typing import TYPE_CHECKING, LiteralString, Self

import psycopg
from cryptography.fernet import Fernet

from bench.door.usage import cpu_seconds
from bench.harness.mailroom import surroundings
from shared.intake.client import Intake

if TYPE_CHECKING:
    from pathlib import Path

    from bench.harness.servers import Servers


class Stage:
    """`environment`: of the processes that record."""

    def __init__(self, servers: Servers, urls: tuple[str, str], folder: Path) -> None:
        self.database_url, redis_url = urls
        own = {"TOKEN_KEYS": Fernet.generate_key().decode(), "MAILROOM_DATA": str(folder), "LOG_LEVEL": "WARNING"}
        files = {"STORAGE_URL": f"file://{folder}/files"}
        self.environment = {
            **surroundings(),
            **own,
            **files,
            "DATABASE_URL": self.database_url,
            "REDIS_URL": redis_url,
        }
        self.intake = Intake(servers.redis())
        self._servers = servers
        self._conn = psycopg.connect(self.database_url, autocommit=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._conn.close()
        self.intake.close()

    def last_event(self) -> int:
        """The id of the newest event; of those that come without a duplicate there are as many."""
        return self._number("SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM events_id_seq")

    def events_behind(self, event_id: int) -> int:
        """How many rows there are of newer ones."""
        return self._number("SELECT count(*) FROM events WHERE id > %s", event_id)

    def postgres_cpu_seconds(self) -> float:
        """All its processes' that live."""
        return cpu_seconds([self._servers.postgres.pid])

    def _number(self, statement: LiteralString, *values: int) -> int:
        row = self._conn.execute(statement, values).fetchone()
        return int(row[0]) if row else 0
