"""A list of very many users, imported by the command that people use."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import psutil
import psycopg

from bench.harness.mailroom import surroundings

if TYPE_CHECKING:
    from pathlib import Path

    from bench.harness.servers import Servers

ADDRESSES = 2
LOOKS_EVERY = 0.2
TENANT = "Scale"


def import_users(servers: Servers, folder: Path, users: int) -> dict[str, Any]:
    """`mailroom user import` of a file with two addresses a user, into an empty tenant."""
    file = folder / "users.csv"
    _write(file, users)
    with servers.fresh() as (database_url, redis_url):
        with psycopg.connect(database_url) as conn:
            conn.execute("INSERT INTO tenants (name, company_id) VALUES (%s, 'cmp_scale')", (TENANT,))
        environment = {**surroundings(), "DATABASE_URL": database_url, "REDIS_URL": redis_url}
        environment["MAILROOM_DATA"] = str(folder / "data")
        began = time.monotonic()
        most = _run(["user", "import", str(file), "--tenant", TENANT], environment)
        took = time.monotonic() - began
        with psycopg.connect(database_url) as conn:
            found = conn.execute(
                "SELECT (SELECT count(*) FROM users), (SELECT count(*) FROM user_addresses)"
            ).fetchone()
        assert found == (users, users * ADDRESSES), found
    return {
        "users": users,
        "addresses": users * ADDRESSES,
        "seconds": round(took, 1),
        "users_per_second": round(users / took, 1),
        "memory_mb": round(most / 2**20, 1),
        "load_average": round(os.getloadavg()[0], 2),
    }


def _write(file: Path, users: int) -> None:
    with file.open("w", encoding="utf-8") as lines:
        lines.write("external_id,name,email,email\n")
        for number in range(users):
            lines.write(f"{number},User {number},user{number}@scale.example,u.{number}@scale.example\n")


def _run(arguments: list[str], environment: dict[str, str]) -> int:
    """The most memory that the command was seen to use, in bytes."""
    command = subprocess.Popen(
        [sys.executable, "-m", "console", *arguments], env=environment, stdout=sys.stderr, stderr=sys.stderr
    )
    seen, most = psutil.Process(command.pid), 0
    while command.poll() is None:
        try:
            most = max(most, seen.memory_info().rss)
        except psutil.NoSuchProcess:
            break
        time.sleep(LOOKS_EVERY)
    assert command.wait() == 0, "the import failed"
    return most
