"""`mailroom repair`, and repairs in `mailroom status`, with workers in a thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.integration.console.conftest import Mailroom
from tests.integration.pipeline.harness import Harness
from tests.integration.pipeline.repairing import (
    CLEAN,
    acme,
    finish_repairs,
    mail,
    outcome,
    request_repair,
    run_slices,
    verdict,
)


@pytest.fixture
def mailroom(harness: Harness) -> Mailroom:
    """The command on the stores of a harness."""
    given = harness.settings
    environment: dict[str, str | None] = {
        "DATABASE_URL": given.database_url.get_secret_value(),
        "REDIS_URL": given.redis_url.get_secret_value(),
        "MAILROOM_ENV": None,
        "NO_COLOR": "1",
    }
    return Mailroom(environment=environment)


@pytest.fixture
def tenant(harness: Harness) -> int:
    return acme(harness)


@pytest.fixture
def workers(harness: Harness, tenant: int) -> Iterator[None]:
    """Run the harness as sweeper and worker in a thread. From here on only this thread records."""
    for kind in ("sweeper", "worker"):
        harness.sql("INSERT INTO processes (name, kind, slots) VALUES (%s, %s, 4)", kind, kind)
    stop = threading.Event()

    def work() -> None:
        while not stop.wait(0.05):
            run_slices(harness)
            harness.record()
            harness.work()
            harness.sql("UPDATE repairs SET due_at = now() WHERE state = 'waiting'")

    with capture_logs():  # the command captures the output of the whole process
        thread = threading.Thread(target=work)
        thread.start()
        yield
        stop.set()
        thread.join()


@pytest.mark.usefixtures("workers")
def test_missing_events_are_found_fed_and_reported(harness: Harness, mailroom: Mailroom) -> None:
    mail(harness, count=20, deliver=False)
    page = mailroom("repair", "--since", "6h", "--yes").stdout
    [told] = [line.split() for line in page.splitlines() if line.startswith("Acme")]
    assert told[:2] + told[-4:] == ["Acme", "done", "21", "1", "20", "20"]
    _until(lambda: verdict(harness) == CLEAN)


@pytest.mark.usefixtures("workers")
def test_a_dry_run_draws_the_gap_by_the_hour_and_changes_nothing(harness: Harness, mailroom: Mailroom) -> None:
    mail(harness, count=5, deliver=False)
    document = mailroom.json("repair", "--since", "6h", "--dry-run")
    [found] = document["repairs"]
    assert [sum(hour[name] for hour in found["hours"]) for name in ("seen", "recorded", "missing")] == [6, 1, 5]
    assert (found["missing"], found["fed"], found["state"]) == (5, 0, "done")
    page = mailroom("repair", "--since", "6h", "--dry-run", "--tenant", "Acme").stdout
    assert "5 missing" in page
    assert "░" in page
    assert verdict(harness)["unserved"] == 5


def test_without_workers_it_says_so_and_keeps_what_was_asked(harness: Harness, mailroom: Mailroom) -> None:
    acme(harness)
    mail(harness, deliver=False)
    assert "no sweeper and no worker is alive" in mailroom("repair", "--since", "6h", "--yes", code=1).stderr
    assert [row[0] for row in outcome(harness)] == ["waiting"]
    finish_repairs(harness)
    assert verdict(harness) == CLEAN


@pytest.mark.usefixtures("workers")
def test_a_refused_permission_is_told_with_its_name_and_fails(harness: Harness, mailroom: Mailroom) -> None:
    harness.control("faults", {"kind": "403", "path_regex": "^/events"})
    assert "events:*:read" in " ".join(mailroom("repair", "--since", "6h", "--yes", code=1).stdout.split())
    status = mailroom.json("status")["repairs"]
    assert [(each["tenant"], each["code"]) for each in status["failed"]] == [("Acme", "missing_scope")]
    assert "failed: missing_scope" in mailroom("status").stdout


@pytest.mark.usefixtures("workers")
def test_a_tenant_that_can_be_compared_and_one_that_cannot_end_partly_failed(
    harness: Harness, mailroom: Mailroom
) -> None:
    harness.tenant("cmp_other", "Other")
    harness.control("faults", {"kind": "403", "path_regex": "^/events", "company": "cmp_other"})
    mailroom("repair", "--since", "6h", "--yes", code=4)


def test_status_tells_the_last_gap_and_nothing_where_there_was_none(harness: Harness, mailroom: Mailroom) -> None:
    tenant = acme(harness)
    assert mailroom.json("status")["repairs"] == {"under_way": [], "failed": [], "last_gap": None}
    mail(harness, count=3, deliver=False)
    request_repair(harness, tenant)
    assert [each["state"] for each in mailroom.json("status")["repairs"]["under_way"]] == ["waiting"]
    assert "repair of Acme" in mailroom("status").stdout
    finish_repairs(harness)
    assert mailroom.json("status")["repairs"]["last_gap"]["fed"] == 3
    assert "3 missing of Acme" in mailroom("status").stdout


def test_a_waiting_repair_can_be_stopped(harness: Harness, mailroom: Mailroom) -> None:
    tenant = acme(harness)
    request_repair(harness, tenant)
    assert mailroom("repair", "--stop").stdout == "stopped: 1\n"
    mailroom("repair", "--stop", code=3)
    assert (run_slices(harness), [row[0] for row in outcome(harness)]) == (0, ["stopped"])


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((), 2, "say from when"),
        (("--since", "6h", "--stop"), 2, "say from when"),
        (("--since", "yesterday"), 2, "no time"),
        (("--since", "6h", "--tenant", "nobody"), 3, "no tenant 'nobody'"),
        (("--since", "6h"), 2, "nobody can be asked here"),
    ],
)
def test_an_impossible_repair_is_refused_with_the_reason(
    harness: Harness, mailroom: Mailroom, arguments: tuple[str, ...], code: int, words: str
) -> None:
    acme(harness)
    assert words in mailroom("repair", *arguments, code=code).stderr
    assert outcome(harness) == []


def test_before_the_first_webhook_nothing_is_asked(harness: Harness, mailroom: Mailroom) -> None:
    harness.tenant("cmp_acme")
    assert "no webhook was received yet" in mailroom("repair", "--since", "6h", "--yes", code=3).stderr
    assert outcome(harness) == []


def test_a_parked_tenant_is_named_and_left_out(harness: Harness, mailroom: Mailroom) -> None:
    acme(harness)
    harness.sql("UPDATE tenants SET parked_cause = 'paused'")
    assert "left out: Acme is parked (paused)" in mailroom("repair", "--since", "6h", "--yes", code=3).stderr


def _until(fact: Any) -> None:
    deadline = time.monotonic() + 60
    while not fact():
        assert time.monotonic() < deadline, "it does not become true"
        time.sleep(0.1)
