"""Filter words are read, checked, and written as a command and as an address of the API."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit
from zoneinfo import ZoneInfo

import click
import pytest

from console.cli.event import event
from console.cli.task import task
from console.filter_words import (
    EVENT_LIST,
    GROUP_LIST,
    LISTS,
    LONGEST,
    TASK_LIST,
    WORDS,
    BadFilter,
    FilteredList,
    Words,
    read_words,
    suggestions,
    values_of,
)
from shared.db.reading.filters import KnownValues
from shared.models import TASK_KINDS

NOW = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
KNOWN = KnownValues(tenants=["Acme", 'It\'s "B" Ltd', "\u202eevil"], codes=["bug"], types=["inbound_received"])
SCHEMA = Path(__file__).parents[3] / "shared" / "db" / "schema.sql"


def test_words_are_read_in_any_order_and_written_in_one() -> None:
    words = read_words("job:J12 state:failed tenant:'Acme Ltd' since:2h", TASK_LIST)
    assert words == Words(tenant="Acme Ltd", state="failed", job="J12", since="2h")
    assert words.text() == "tenant:'Acme Ltd' state:failed job:J12 since:2h"
    assert read_words(words.text(), TASK_LIST) == words
    wanted = words.filter(tenant_id=7, now=NOW)
    assert (wanted.tenant_id, wanted.job, wanted.since) == (7, 12, NOW - timedelta(hours=2))


@pytest.mark.parametrize(
    ("text", "listed", "said"),
    [
        ("state:odd", EVENT_LIST, "there is no state 'odd'; the states are processing,"),
        ("group:1", EVENT_LIST, "there is no word 'group' here"),
        ("email:a@b.example since:1d", TASK_LIST, "there is no word 'email' here"),
        ("email:a@b.example", EVENT_LIST, "email: goes together with one of since:, tenant:, conversation:"),
        ("email:a@b.example until:1d", EVENT_LIST, "email: goes together with"),
        ("job:", TASK_LIST, "job: is followed by its value"),
        ("job:J", TASK_LIST, "'J' is no number of a job"),
        ("job:1234567890123456789", TASK_LIST, "is no number of a job"),
        ("job:²", TASK_LIST, "is no number of a job"),
        ("group:J1", TASK_LIST, "'J1' is no number of a group"),
        ("since:yesterday", GROUP_LIST, "'yesterday' is no time"),
        ("evt_1", GROUP_LIST, "'evt_1' is no filter word; the words are tenant:,"),
        ("state:open state:open", GROUP_LIST, "state is there twice"),
        ("tenant:'a", EVENT_LIST, "a quotation mark has no end"),
        ("x" * (LONGEST + 1), EVENT_LIST, f"a filter has up to {LONGEST} characters"),
    ],
)
def test_what_cannot_be_read_is_refused_with_what_to_type(text: str, listed: FilteredList, said: str) -> None:
    with pytest.raises(BadFilter) as refusal:
        read_words(text, listed)
    assert said in str(refusal.value)


@pytest.mark.parametrize("beside", ["since:1d", "tenant:Acme", "conversation:cnv_1"])
def test_an_address_goes_with_a_word_that_an_index_knows(beside: str) -> None:
    assert read_words(f"email:a@b.example {beside}", EVENT_LIST).email == "a@b.example"


@pytest.mark.parametrize("value", ["it's", "a b", "-x", "$(id)", "`id`", "a&b=c", "é%20", 'say "hi"', "a;b|c>d"])
def test_command_and_address_hold_any_value(value: str) -> None:
    words = Words(tenant=value, state="failed")
    line = words.as_command(TASK_LIST)
    assert shlex.split(line) == ["mailroom", "task", "list", "--tenant", value, "--state", "failed"]
    parameters = task.commands["list"].make_context("list", shlex.split(line)[3:]).params
    assert (parameters["tenant"], parameters["state"]) == (value, "failed")
    address = urlsplit(words.as_address(TASK_LIST))
    assert (address.path, parse_qsl(address.query)) == ("/api/v1/tasks", [("tenant", value), ("state", "failed")])


@pytest.mark.parametrize(
    ("command", "listed"),
    [(event.commands["list"], EVENT_LIST), (task.commands["list"], TASK_LIST), (task.commands["groups"], GROUP_LIST)],
)
def test_each_word_of_a_list_is_an_option_of_its_command(command: click.Command, listed: FilteredList) -> None:
    assert set(listed.words) <= WORDS.keys()
    assert {parameter.name for parameter in command.params} >= set(listed.words)


def test_a_time_without_a_zone_gets_that_of_the_reader_and_means_the_same_to_everybody() -> None:
    words = Words(since="2026-07-01T12:00", until="2h").with_zone(ZoneInfo("Europe/Berlin"))
    assert (words.since, words.until) == ("2026-07-01T12:00:00+02:00", "2h")
    assert words.with_zone(UTC) == words
    assert words.filter(tenant_id=None, now=NOW).since == datetime(2026, 7, 1, 10, 0, tzinfo=UTC)
    assert Words(since="2026-07-01").with_zone(UTC).since == "2026-07-01T00:00:00+00:00"


def test_suggestions_are_words_that_can_be_read() -> None:
    for listed in LISTS:
        found = suggestions(listed, KNOWN)
        assert {each.partition(":")[0] for each in found} == set(listed.words)
        for each in found:
            if not each.endswith(":"):
                read_words(each, listed)
        assert not any("evil" in each for each in found)
    assert values_of(TASK_LIST, KNOWN)["kind"] == list(TASK_KINDS)
    assert values_of(EVENT_LIST, KNOWN)["email"] == []


def test_the_kinds_of_tasks_are_those_of_the_schema() -> None:
    kinds = ", ".join(f"'{kind}'" for kind in TASK_KINDS)
    assert f"(kind IN ({kinds}))" in SCHEMA.read_text(encoding="utf-8")
