"""Send requests to the API as a customer's program does, in this process and with a real PostgreSQL."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import psycopg
    from flask.testing import FlaskClient
    from werkzeug.test import TestResponse

    from tests.integration.console.conftest import Mailroom


@dataclass(frozen=True, kw_only=True)
class ApiClient:
    """An API client with a token."""

    client: FlaskClient
    token: str = field(repr=False)

    def answer(self, method: str, path: str, body: Any = None, **given: Any) -> TestResponse:
        """Send a request and return the response with any status."""
        headers = {"Authorization": f"Bearer {self.token}", **given.pop("headers", {})}
        payload = {} if body is None else {"json": body}
        return self.client.open(f"/api/v1{path}", method=method, headers=headers, **payload, **given)

    def __call__(self, method: str, path: str, body: Any = None, *, code: int = 200, **given: Any) -> Any:
        """Send a request, expect this status, and return the document."""
        answer = self.answer(method, path, body, **given)
        assert answer.status_code == code, answer.get_data(as_text=True)
        if code >= 400:
            assert answer.content_type == "application/problem+json"
        return answer.get_json(silent=True)


def token_for(mailroom: Mailroom, name: str, *options: str) -> str:
    """Create a token and return it."""
    return mailroom("api-token", "create", name, *options).stdout.strip()


def wait_until_blocked(conn: psycopg.Connection) -> None:
    """Wait until another session waits for a lock of this connection."""
    # A transaction sees the same sessions in pg_stat_activity until its end, so this reads pg_locks.
    query = "SELECT FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))"
    deadline = time.monotonic() + 60
    while not conn.execute(query).rowcount:
        assert time.monotonic() < deadline
        time.sleep(0.02)
