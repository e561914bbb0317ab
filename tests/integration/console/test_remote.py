"""Commands work with a console elsewhere, over its REST API, with the output that they have beside its database."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg
import pytest

from console.access.actor import command_line_actor
from console.cli.backend.local import Local
from shared.db import jobs
from tests.integration.console.api.client import token_for
from tests.integration.console.conftest import Elsewhere, Mailroom
from tests.integration.console.rows import BODY, insert, insert_archived_event, insert_event, insert_task

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EVERYWHERE = [
    ("event", "list"),
    ("event", "list", "--tenant", "Acme", "--state", "done", "--since", "2025-01-01"),
    ("event", "list", "--limit", "1"),
    ("event", "show", "evt_1"),
    ("event", "show", "evt_1", "--tenant", "Acme"),
    ("task", "list"),
    ("task", "list", "--state", "failed", "--code", "front_unavailable", "--kind", "apply_action"),
    ("task", "show", "1"),
    ("event", "list", "--email", "ap@acme.example", "--until", "2100-01-01", "--conversation", "cnv_1"),
    ("task", "list", "--type", "inbound_received", "--group", "1"),
    ("task", "list", "--job", "J1"),
    ("task", "groups"),
    ("job", "list"),
    ("job", "show", "1"),
    ("job", "items", "1"),
    ("job", "items", "1", "--outcome", "open"),
    ("audit", "--verb", "users"),
    ("user", "list", "--tenant", "Acme"),
    ("tenant", "policy", "Acme"),
    ("tenant", "journal", "Acme"),
    ("tenant", "journal", "Acme", "--limit", "1"),
    ("tenant", "list"),
    ("tenant", "list", "--customer", "nobody"),
    ("tenant", "show", "Acme"),
    ("tenant", "show", "cmp_acme"),
    ("status",),
    ("rejected",),
]
FAILING = [
    ("event", "show", "evt_none"),
    ("event", "list", "--tenant", "Nobody"),
    ("task", "show", "99"),
    ("task", "list", "--tenant", "Nobody"),
    ("task", "retry", "--state", "failed", "--code", "odd", "--yes"),
    ("job", "show", "99"),
    ("tenant", "show", "Nobody"),
    ("tenant", "pause", "Nobody"),
    ("repair", "--stop"),
    ("repair", "--since", "6h", "--yes"),
]
AS_CSV = {("event", "list"), ("task", "list"), ("task", "groups"), ("job", "items"), ("audit",)}
ONLY_HERE = [
    ("tenant", "policy", "Acme", "--undo-since", "2h"),
    ("tenant", "connect", "Acme"),
    ("inbox", "list", "--tenant", "Acme"),
    ("api-token", "list"),
    ("admin", "list"),
    ("doctor",),
    ("migrate",),
]


@dataclass(frozen=True, kw_only=True)
class Places:
    """The command beside the database, and elsewhere with nothing but an address and a token."""

    here: Mailroom
    elsewhere: Mailroom


@pytest.fixture
def places(mailroom: Mailroom, acme: str, conn: psycopg.Connection, elsewhere: Elsewhere) -> Places:
    insert_archived_event(conn)
    event = insert_event(conn, front_id="evt_2", state="failed", conversation_id="cnv_2")
    insert_task(conn, event, detail="Front answered 503")
    mailroom("task", "retry", "--state", "failed", "--code", "odd", "--dry-run", code=3)
    insert(conn, "jobs", verb="retry", words="state:failed", requested_by="nora", claimed_until="2026-01-01")
    token = token_for(mailroom, "elsewhere", "--scope", "write")
    return Places(here=mailroom, elsewhere=elsewhere.command(token))


@contextmanager
def working(database: str) -> Iterator[None]:
    """Carry jobs out until the end of the block, as a worker does."""
    ended = threading.Event()

    def work() -> None:
        with psycopg.connect(database, autocommit=True) as conn:
            local = Local(conn, command_line_actor("worker"))
            while not ended.wait(0.05):
                for number in jobs.due(conn):
                    local.help_job(number)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_the_output_is_the_same_elsewhere(places: Places) -> None:
    for arguments in EVERYWHERE:
        lists = {arguments[:1], arguments[:2]} & AS_CSV
        for options in ((), ("--json",), *((("--csv",),) if lists else ())):
            [here, elsewhere] = [place(*arguments, *options) for place in (places.here, places.elsewhere)]
            assert here.stdout, arguments
            assert elsewhere.stdout == here.stdout, arguments
            assert elsewhere.stderr == here.stderr, arguments
    raw = places.elsewhere("event", "show", "evt_1", "--raw")
    assert raw.stdout_bytes == BODY


def test_a_failure_is_the_same_elsewhere(places: Places) -> None:
    for arguments in FAILING:
        here = places.here(*arguments, code=3)
        assert places.elsewhere(*arguments, code=3).stderr == here.stderr, arguments


@pytest.mark.parametrize("arguments", ONLY_HERE)
def test_a_command_that_needs_the_database_says_so(mailroom: Mailroom, arguments: tuple[str, ...]) -> None:
    said = mailroom("--url", "http://127.0.0.1:9", *arguments, code=2).stderr
    assert "this command needs the database" in said


def test_tasks_are_retried_and_discarded_from_elsewhere(
    places: Places, conn: psycopg.Connection, database: str
) -> None:
    plan = places.elsewhere("task", "retry", "--state", "failed", "--dry-run").stderr
    assert plan == places.here("task", "retry", "--state", "failed", "--dry-run").stderr
    assert "retry 1 task" in plan
    result = places.elsewhere("task", "discard", "3", "--reason", "a test", code=2)  # nobody confirms
    assert "add --yes" in result.stderr
    insert(conn, "processes", name="worker@host:1", kind="worker", slots=4)
    with working(database):
        assert places.elsewhere("task", "discard", "3", "--reason", "a test", "--yes").stdout == "discard: 1 of 1\n"
    assert places.elsewhere.json("task", "show", "3")["task"]["state"] == "discarded"
    entries = conn.execute("SELECT who, via, verb, allowed FROM audit WHERE verb = 'discard'").fetchall()
    assert set(entries) == {("API token elsewhere", "api", "discard", True)}
    said = places.elsewhere("job", "pause", "3", code=1).stderr
    assert said == places.here("job", "pause", "3", code=1).stderr
    assert said.startswith("job_moved_on: ")


def test_policy_and_users_are_changed_from_elsewhere(places: Places, conn: psycopg.Connection, tmp_path: Path) -> None:
    acme = ("--tenant", "Acme")
    changed = ("tenant", "policy", "Acme", "--action", "tag:tag_1", "--act-within", "2d", "--only-inbox", "inb_1")
    assert places.elsewhere(*changed).stdout == places.here("tenant", "show", "Acme").stdout
    assert places.here.json("tenant", "show", "Acme")["action"] == "tag:tag_1"
    assert (
        places.here(*changed, "--all-inboxes", code=2).stderr
        == places.elsewhere(*changed, "--all-inboxes", code=2).stderr
    )
    new = ("--id", "a/b 1", "--name", "Ana", "--email", "ana@acme.example")
    assert places.elsewhere("user", "add", *acme, *new, "--action", "archive").stdout == "added a/b 1\n"
    taken = [place("user", "add", *acme, *new, code=1).stderr for place in (places.here, places.elsewhere)]
    assert taken[0] == taken[1]
    assert taken[0].startswith("user_taken: ")
    for arguments, field, value in (
        (("deactivate", "a/b 1"), "active", False),
        (("activate", "a/b 1"), "active", True),
        (("policy", "a/b 1", "--action", "trash"), "action", "trash"),
        (("policy", "a/b 1", "--no-action"), "action", None),
    ):
        said = places.elsewhere("user", *arguments, *acme).stdout
        found = {each["external_id"]: each for each in places.here.json("user", "list", *acme)}
        assert found["a/b 1"][field] is value or found["a/b 1"][field] == value
        assert said == places.here("user", *arguments, *acme).stdout
    missing = [place("user", "activate", "99", *acme, code=3).stderr for place in (places.here, places.elsewhere)]
    assert missing[0] == missing[1]
    entries = conn.execute("SELECT who, via FROM audit WHERE verb = 'users' GROUP BY 1, 2").fetchall()
    assert ("API token elsewhere", "api") in entries
    assert {via for _, via in entries} == {"api", "cli"}


def test_users_are_imported_from_elsewhere_as_beside_the_database(places: Places, tmp_path: Path) -> None:
    file = tmp_path / "people.csv"
    header = "external_id,name,email,email,active\n"
    wrong = "3,No,nora@,,\n1,Again,x@acme.example,,\n5,Odd,o@acme.example,,maybe\n"
    wrong += "4,Taken,nora@acme.example,t@acme.example,\n"
    for text, code in (
        (header + "1,Nora,nora@acme.example,n.lind@acme.example,\n2,Jo,jo@acme.example,,no\n" + wrong, 4),
        (header + "9,Heir,nora@acme.example,,\n", 4),
        ("external_id,name,email,action\n2,Jo,jo@acme.example,archive\n", 0),
        ("external_id,name,email\n2,Jo B,jo@acme.example\n", 0),
        ("external_id,name,email\n", 0),
    ):
        file.write_text(text, encoding="utf-8")
        for options in (("--dry-run",), ("--move-addresses", "--dry-run"), ()):
            arguments = ("user", "import", file, "--tenant", "Acme", *options)
            kept = places.here("user", "list", "--tenant", "Acme").stdout
            here = places.here(
                *arguments, "--dry-run", code=code if "--move-addresses" not in options or "Taken" in text else 0
            )
            elsewhere = places.elsewhere(*arguments, code=here.exit_code)
            assert elsewhere.stderr == here.stderr
            assert elsewhere.stdout.removeprefix("would be: ") == here.stdout.removeprefix("would be: ")
            assert not options or places.here("user", "list", "--tenant", "Acme").stdout == kept
    [jo] = [each for each in places.here.json("user", "list", "--tenant", "Acme") if each["external_id"] == "2"]
    assert (jo["name"], jo["action"], jo["active"]) == ("Jo B", "archive", False)
    file.write_text(header + "".join(f"{n},N,n{n}@acme.example,,\n" for n in range(5_001)), encoding="utf-8")
    said = places.elsewhere("user", "import", file, "--tenant", "Acme", code=1).stderr
    assert "too_many_users: from elsewhere a file may have 5,000 users" in said


def test_tenants_are_paused_and_repaired_from_elsewhere(places: Places, conn: psycopg.Connection) -> None:
    assert places.elsewhere("tenant", "pause", "Acme").stdout == "paused Acme\n"
    assert places.elsewhere("tenant", "pause", "Acme").stdout == "Acme was paused already\n"
    assert places.here.json("tenant", "show", "Acme")["parked_cause"] == "paused"
    assert places.elsewhere("tenant", "resume", "Acme").stdout == "resumed Acme\n"
    assert places.elsewhere("tenant", "resume", "Acme").stdout == "Acme was not paused\n"
    conn.execute("INSERT INTO seen_event_types (type) VALUES ('inbound')")
    said = places.elsewhere("repair", "--since", "6h", "--yes", code=1).stderr
    assert "no sweeper and no worker is alive" in said
    assert places.elsewhere("repair", "--stop", "--tenant", "Acme").stdout == "stopped: 1\n"


def test_a_token_of_one_tenant_is_enough_for_its_tenant(places: Places) -> None:
    token = token_for(places.here, "acme", "--tenant", "Acme")
    bound = Mailroom(environment={**places.elsewhere.environment, "MAILROOM_TOKEN": token})
    assert [each["name"] for each in bound.json("tenant", "list")] == ["Acme"]
    assert bound("status", code=1).stderr.startswith("token_of_one_tenant: ")
    assert bound("tenant", "pause", "Acme", code=1).stderr.startswith("scope_too_small: ")


def test_the_token_may_be_in_a_file(places: Places, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{places.elsewhere.environment['MAILROOM_TOKEN']}\n")
    environment = {**places.elsewhere.environment, "MAILROOM_TOKEN": None, "MAILROOM_TOKEN_FILE": str(file)}
    assert Mailroom(environment=environment)("task", "list").stdout == places.here("task", "list").stdout
    assert (
        "set MAILROOM_TOKEN"
        in Mailroom(environment=environment | {"MAILROOM_TOKEN_FILE": None})("task", "list", code=2).stderr
    )


@pytest.mark.parametrize(
    ("url", "code", "said"),
    [
        ("http://127.0.0.1:9", 1, "console_away: http://127.0.0.1:9 does not answer"),
        ("ftp://127.0.0.1", 2, "write it as https://console.your.host"),
        ("https://console.example/path", 2, "write it as https://console.your.host"),
    ],
)
def test_a_wrong_address_is_named(mailroom: Mailroom, url: str, code: int, said: str) -> None:
    here = Mailroom(environment={**mailroom.environment, "MAILROOM_TOKEN": "mr_x"})
    assert said in here("--url", url, "task", "list", code=code).stderr


def test_a_wrong_token_is_named(places: Places) -> None:
    wrong = Mailroom(environment={**places.elsewhere.environment, "MAILROOM_TOKEN": "mr_nobody"})
    assert wrong("task", "list", code=1).stderr == "token_invalid: nobody has this token\n"
