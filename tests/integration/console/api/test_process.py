"""The API over HTTP, as the console's process serves it, and while PostgreSQL is away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import psycopg
import requests

from shared.db.core.migrate import migrate
from tests.integration.console.api.client import token_for
from tests.integration.console.conftest import Mailroom
from tests.integration.console.console_process import running_console

if TYPE_CHECKING:
    from pathlib import Path

    from console.up.embedded import Postgres

ODD = "/a//b/ ü?&%2F"
#: A lenient decoder would read all of them as the same user.
NOT_UTF8 = ["/Andr%E9", "/Andr%E8", "/Andr%ED%A0%80", "/17?move=%E9"]
NORA = {"name": "Nora", "addresses": ["nora@acme.example"]}


def test_a_user_with_any_id_is_added_over_http(
    web_environment: dict[str, str], mailroom: Mailroom, tenant: int, tmp_path: Path
) -> None:
    token = token_for(mailroom, "crm", "--scope", "write", "--tenant", "Acme")
    headers = {"Authorization": f"Bearer {token}"}
    with running_console(tmp_path / "log", web_environment) as console:
        url = f"{console.url}/api/v1/tenants/{tenant}/users/{quote(ODD, safe='')}"
        puts: dict[str, Any] = {"json": NORA, "headers": headers, "timeout": 30}
        made = requests.put(url, **puts)
        shown = requests.get(url, headers=headers, timeout=30)
        in_pieces = requests.put(url, data=iter([b'{"name": ']), headers=headers, timeout=30)
        too_large = requests.put(url, json={"name": "x" * 2**21}, headers=headers, timeout=30)
        latin = [requests.put(f"{console.url}/api/v1/tenants/{tenant}/users{each}", **puts) for each in NOT_UTF8]
        document = requests.get(f"{console.url}/api/openapi.json", timeout=30).json()
    assert (made.status_code, shown.json()["external_id"]) == (201, ODD)
    assert (in_pieces.status_code, too_large.status_code) == (415, 413)
    assert {(each.status_code, each.json()["errors"][0]["code"]) for each in latin} == {(422, "bad_encoding")}
    assert "/api/v1/tenants/{tenant_id}/users/{external_id}" in document["paths"]
    assert [user["external_id"] for user in mailroom.json("user", "list", "--tenant", "Acme")] == [ODD]
    printed = console.printed()
    assert '"token_name": "crm"' in printed
    assert (token in printed, "nora" in printed.lower()) == (False, False)


def test_while_postgresql_is_away_the_sender_is_asked_to_come_back(
    web_environment: dict[str, str], own_postgres: Postgres, tmp_path: Path
) -> None:
    url = own_postgres.url_of("postgres")
    migrate(url)
    environment = {**web_environment, "DATABASE_URL": url}
    token = token_for(Mailroom(environment=dict(environment)), "crm")
    with running_console(tmp_path / "log", environment) as console:

        def answer() -> requests.Response:
            headers = {"Authorization": f"Bearer {token}"}
            return requests.get(f"{console.url}/api/v1/tenants", headers=headers, timeout=60)

        before = answer()
        own_postgres.kill()
        away = answer()
        own_postgres.start()
        with psycopg.connect(url) as conn:
            conn.execute("SELECT 1")
        after = answer()
    assert (before.status_code, after.status_code) == (200, 200)
    assert (away.status_code, away.json()["code"], away.headers["Retry-After"]) == (503, "store_unavailable", "5")
    assert "127.0.0.1" not in away.text
