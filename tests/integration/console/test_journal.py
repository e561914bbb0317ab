"""The journal of a tenant: who changed it by command, API or consent, with what was before and after."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import requests

from tests.integration.console.console_process import served_application

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import psycopg

    from tests.integration.console.conftest import Mailroom

NORA = {"name": "Nora", "addresses": ["nora@x.example"]}


@pytest.fixture
def acme(mailroom: Mailroom) -> str:
    mailroom("tenant", "add", "Acme")
    return "Acme"


@pytest.fixture
def console(web_environment: dict[str, str]) -> Iterator[str]:
    """The address of a console."""
    with served_application(web_environment) as url:
        yield url


class Api:
    """Uses the API with one token."""

    def __init__(self, console: str, token: str) -> None:
        self._url, self._token = f"{console}/api/v1", token

    def __call__(self, method: str, path: str, body: Any = None, *, code: int = 200) -> Any:
        head = {"Authorization": f"Bearer {self._token}"}
        answer = requests.request(method, self._url + path, json=body, headers=head, timeout=60)
        assert answer.status_code == code, answer.text
        return answer.json() if answer.content else None


def token(mailroom: Mailroom, name: str, *more: str) -> str:
    return mailroom("api-token", "create", name, "--scope", "write", *more).stdout.strip()


def journal(mailroom: Mailroom, tenant: str = "Acme") -> list[tuple[Any, ...]]:
    """Oldest first, without the moments."""
    entries = mailroom.json("tenant", "journal", tenant, "--limit", "1000")
    names = ("who", "what", "kind", "name", "before", "after")
    return [tuple(entry[name] for name in names) for entry in reversed(entries)]


def test_commands_are_written_down(mailroom: Mailroom, acme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "olga")
    for words in (
        ("tenant", "policy", acme, "--action", "archive"),
        ("tenant", "policy", acme, "--action", "archive"),
        ("tenant", "pause", acme),
        ("user", "add", "--tenant", acme, "--id", "17", "--name", "Nora", "--email", "nora@x.example"),
        ("user", "policy", "17", "--tenant", acme, "--action", "trash"),
        ("user", "deactivate", "17", "--tenant", acme),
        ("inbox", "map", "info@x.example", "--tenant", acme, "--user", "17"),
        ("inbox", "remove", "info@x.example", "--tenant", acme),
        ("tenant", "resume", acme),
    ):
        mailroom(*words)
    added, *entries = journal(mailroom)
    assert added[1:4] == ("added", "tenant", "Acme")
    assert {entry[0] for entry in entries} == {"command of olga"}
    assert [entry[1:4] for entry in entries] == [
        ("changed", "tenant", "Acme"),
        ("changed", "tenant", "Acme"),
        ("added", "user", "17"),
        ("added", "user_address", "nora@x.example"),
        ("changed", "user", "17"),
        ("changed", "user", "17"),
        ("added", "inbox_address", "info@x.example"),
        ("removed", "inbox_address", "info@x.example"),
        ("changed", "tenant", "Acme"),
    ]
    assert entries[0][4:] == ({"action": "none"}, {"action": "archive"})
    assert entries[1][4:] == (
        {"parked_cause": "needs_reconnect", "paused_by": None},
        {"parked_cause": "paused", "paused_by": "operator"},
    )
    assert (entries[4][4:], entries[5][4:]) == (
        ({"action": None}, {"action": "trash"}),
        ({"active": True}, {"active": False}),
    )
    page = mailroom("tenant", "journal", acme).stdout
    assert "command of olga" in page
    assert '"archive"' in page


def test_connections_and_tokens_are_written_down_without_secrets(
    mailroom: Mailroom, acme: str, console: str, conn: psycopg.Connection, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text("a-front-token")
    mailroom("tenant", "policy", acme, "--action", "archive")
    before = len(journal(mailroom))
    for _ in range(2):
        mailroom("tenant", "connect", acme, "--company", "cmp_1", "--api-token-file", file, "--no-check")
    api = Api(console, token(mailroom, "own", "--tenant", acme, "--expires", "2d"))
    api("GET", f"/tenants/{mailroom.json('tenant', 'show', acme)['id']}")
    mailroom("api-token", "revoke", "own")
    entries = journal(mailroom)[before:]
    assert [entry[1:4] for entry in entries] == [
        ("changed", "tenant", "Acme"),
        ("added", "connection", "api_token"),
        ("changed", "tenant", "Acme"),
        ("changed", "connection", "api_token"),
        ("added", "api_token", "own"),
        ("changed", "api_token", "own"),
    ]
    assert entries[3][4:] == ({"version": 1}, {"version": 2})
    assert entries[5][4] == {"revoked_at": None}
    [rows] = conn.execute("SELECT string_agg(tenant_journal::text, '') FROM tenant_journal").fetchall()
    secrets = conn.execute("SELECT c.secret::text, t.digest::text FROM connections c, api_tokens t").fetchall()
    assert [word for row in [*secrets, ("a-front-token",)] for word in row if word.strip("\\x") in rows[0]] == []


def test_a_list_is_written_down_and_a_dry_run_is_not(mailroom: Mailroom, acme: str, tmp_path: Path) -> None:
    file = tmp_path / "people.csv"
    file.write_text("external_id,name,email\n1,One,one@x.example\n2,Two,two@x.example\n")
    before = journal(mailroom)
    mailroom("user", "import", file, "--tenant", acme, "--dry-run")
    assert journal(mailroom) == before
    mailroom("user", "import", file, "--tenant", acme)
    assert sorted(entry[1:4] for entry in journal(mailroom)[len(before) :]) == [
        ("added", "user", "1"),
        ("added", "user", "2"),
        ("added", "user_address", "one@x.example"),
        ("added", "user_address", "two@x.example"),
    ]


def test_the_api_is_written_down_with_its_token(mailroom: Mailroom, acme: str, console: str) -> None:
    api = Api(console, token(mailroom, "nightly-sync"))
    tenant = mailroom.json("tenant", "show", acme)["id"]
    path = f"/tenants/{tenant}/users"
    before = len(journal(mailroom))
    api("PUT", f"{path}/17", NORA, code=201)
    api("PUT", f"{path}/17", NORA)
    api("PATCH", f"{path}/17", {"name": "Nora Lind"})
    api("POST", f"{path}/bulk", {"users": [{"external_id": "18", "name": "Ola", "addresses": ["ola@x.example"]}]})
    api("DELETE", f"{path}/18", code=204)
    api("PATCH", f"/tenants/{tenant}", {"dry_run": True})
    api("GET", path)
    entries = journal(mailroom)[before:]
    assert {entry[0] for entry in entries} == {"API token nightly-sync"}
    assert [entry[1:] for entry in entries if entry[1] == "changed"] == [
        ("changed", "user", "17", {"name": "Nora"}, {"name": "Nora Lind"}),
        ("changed", "user", "18", {"active": True}, {"active": False}),
        ("changed", "tenant", "Acme", {"dry_run": False}, {"dry_run": True}),
    ]
    assert api("POST", "/tenants", {"name": "Other"}, code=201)["id"]
    assert [entry[:4] for entry in journal(mailroom, "Other")] == [
        ("API token nightly-sync", "added", "tenant", "Other")
    ]


def test_a_user_who_is_erased_leaves_a_number(
    mailroom: Mailroom, acme: str, console: str, conn: psycopg.Connection
) -> None:
    api = Api(console, token(mailroom, "sync"))
    tenant = mailroom.json("tenant", "show", acme)["id"]
    api("PUT", f"/tenants/{tenant}/users/person-17", NORA, code=201)
    mailroom("inbox", "map", "info@x.example", "--tenant", acme, "--user", "person-17")
    mailroom("inbox", "default", "--tenant", acme, "--user", "person-17")
    number = conn.execute("SELECT id FROM users").fetchone()
    assert number
    api("DELETE", f"/tenants/{tenant}/users/person-17?erase=true", code=204)
    rows = str(conn.execute("SELECT tenant_journal::text FROM tenant_journal").fetchall()).lower()
    assert [word for word in ("nora", "person-17") if word in rows] == []
    assert ("API token sync", "removed", "user", None, {"id": number[0]}, None) in journal(mailroom)


def test_what_workers_write_is_not_written_down(mailroom: Mailroom, acme: str, conn: psycopg.Connection) -> None:
    before = journal(mailroom)
    conn.execute("UPDATE tenants SET parked_cause = NULL, last_served_at = now()")
    assert journal(mailroom) == before


def test_an_operators_pause_is_not_ended_by_the_tenants_token(mailroom: Mailroom, acme: str, console: str) -> None:
    own, every = (
        Api(console, token(mailroom, "own", "--tenant", acme)),
        Api(console, token(mailroom, "every")),
    )
    path = f"/tenants/{mailroom.json('tenant', 'show', acme)['id']}"

    def shown() -> tuple[str | None, str | None]:
        tenant = own("GET", path)
        return tenant["parked_cause"], tenant["paused_by"]

    for pause, resume in (
        (lambda: mailroom("tenant", "pause", acme), lambda: mailroom("tenant", "resume", acme)),
        (lambda: every("POST", f"{path}/pause"), lambda: every("POST", f"{path}/resume")),
    ):
        pause()
        own("POST", f"{path}/pause")
        assert own("POST", f"{path}/resume", code=403)["code"] == "paused_by_operator"
        assert shown() == ("paused", "operator")
        resume()
        assert shown() == ("needs_reconnect", None)
    own("POST", f"{path}/pause")
    assert shown() == ("paused", "tenant")
    own("POST", f"{path}/resume")
    assert shown() == ("needs_reconnect", None)
    # An operator takes the tenant's own pause over, and ends it as well.
    own("POST", f"{path}/pause")
    assert "paused Acme" in mailroom("tenant", "pause", acme).stdout
    own("POST", f"{path}/resume", code=403)
    mailroom("tenant", "resume", acme)
    own("POST", f"{path}/pause")
    mailroom("tenant", "resume", acme)
    assert shown() == ("needs_reconnect", None)


def test_a_pause_of_an_older_release_is_an_operators(
    mailroom: Mailroom, acme: str, console: str, conn: psycopg.Connection
) -> None:
    own = Api(console, token(mailroom, "own", "--tenant", acme))
    conn.execute("UPDATE tenants SET parked_cause = 'paused', parked_at = now()")
    path = f"/tenants/{mailroom.json('tenant', 'show', acme)['id']}"
    own("POST", f"{path}/pause")
    own("POST", f"{path}/resume", code=403)
