"""Each fault on a read, a write or a download raises the right error, and nothing is done twice."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from sandbox.server import RunningSandbox
from shared import errors
from shared.front.client import TenantClient
from tests.integration.front.conftest import SHORT, Fault

CONVERSATION = r"^/conversations/"
FILE = r"^/download/"
SIZE = 600_000


def _fetch(client: TenantClient) -> int:
    with client.download("fil_1", max_bytes=SIZE) as download:
        return sum(len(chunk) for chunk in download.chunks)


def _error(call: Callable[[], object]) -> type[BaseException] | None:
    """Return the class of the error that a call raises, one of ours, or None."""
    started = time.monotonic()
    try:
        call()
    except errors.MailroomError as exc:
        return type(exc)
    finally:
        assert time.monotonic() - started < 15
    return None


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("429", errors.BudgetExhausted),
        ("429_no_retry_after", errors.BudgetExhausted),
        ("429_burst", errors.BudgetExhausted),
        ("500", errors.FrontUnavailable),
        ("503", errors.FrontUnavailable),
        ("timeout", errors.FrontUnavailable),
        ("reset_before", errors.FrontUnavailable),
        ("reset_after", errors.FrontUnavailable),
        ("cut_body", errors.FrontUnavailable),
        ("slow_body", errors.FrontUnavailable),
        ("404_heals", errors.ConversationGone),
        ("redirect_offsite", errors.UnsafeRedirect),
        ("401", errors.NeedsReconnect),
        ("403", errors.MissingScope),
        # spaces after the JSON are harmless
        ("oversized_body", None),
        ("merged_301", None),
    ],
)
def test_a_read(client: TenantClient, fault: Fault, kind: str, error: type[BaseException] | None) -> None:
    fault(kind, path_regex=CONVERSATION)
    assert _error(lambda: client.conversation("cnv_1")) is error


@pytest.mark.parametrize(
    ("kind", "error", "changes"),
    [
        # refused: certainly nothing happened
        ("429", errors.BudgetExhausted, 0),
        ("429_burst", errors.BudgetExhausted, 0),
        ("404_heals", errors.ConversationGone, 0),
        ("redirect_offsite", errors.UnsafeRedirect, 0),
        ("401", errors.NeedsReconnect, 0),
        ("403", errors.MissingScope, 0),
        ("merged_301", errors.ConversationMoved, 0),
        # unclear: the change did not happen …
        ("500", errors.UnclearAnswer, 0),
        ("503", errors.UnclearAnswer, 0),
        ("timeout", errors.UnclearAnswer, 0),
        ("reset_before", errors.UnclearAnswer, 0),
        # … or it happened
        ("reset_after", errors.UnclearAnswer, 1),
        ("cut_body", errors.UnclearAnswer, 1),
        ("slow_body", errors.UnclearAnswer, 1),
        # done
        ("oversized_body", None, 1),
    ],
)
@pytest.mark.parametrize("write", ["set_status", "add_tag"])
def test_a_write(
    sandbox: RunningSandbox,
    client: TenantClient,
    fault: Fault,
    write: str,
    kind: str,
    error: type[BaseException] | None,
    changes: int,
) -> None:
    fault(kind, path_regex=CONVERSATION, seconds=30 if kind == "slow_body" else None)
    wanted = "archived" if write == "set_status" else sandbox.front.world.companies["cmp_1"].tags[0].id
    assert _error(lambda: getattr(client, write)("cnv_1", wanted)) is error
    assert _changes_sent_and_done(sandbox) == (1, changes)


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("429", errors.BudgetExhausted),
        ("500", errors.FrontUnavailable),
        ("503", errors.FrontUnavailable),
        ("timeout", errors.FrontUnavailable),
        ("reset_before", errors.FrontUnavailable),
        ("reset_after", errors.FrontUnavailable),
        ("404_heals", errors.AttachmentMissing),
        ("redirect_offsite", errors.UnsafeRedirect),
        ("401", errors.NeedsReconnect),
        ("403", errors.MissingScope),
        # in the middle of the file
        ("cut_body", errors.DownloadIncomplete),
        ("oversized_body", errors.AttachmentTooLarge),
    ],
)
def test_a_download(client: TenantClient, fault: Fault, kind: str, error: type[BaseException]) -> None:
    fault(kind, path_regex=FILE)
    assert _error(lambda: _fetch(client)) is error


def test_a_download_that_drips_ends_at_its_deadline(client: TenantClient, fault: Fault) -> None:
    fault("slow_body", path_regex=FILE, seconds=120)
    started = time.monotonic()
    with pytest.raises(errors.FrontUnavailable):
        _fetch(client)
    assert time.monotonic() - started < SHORT.for_file(SIZE) + 15


def test_a_blip_is_ridden_out_on_a_read(client: TenantClient, fault: Fault) -> None:
    fault("reset_before", path_regex=CONVERSATION, count=2)
    assert client.conversation("cnv_1").id == "cnv_1"


def test_a_blip_is_ridden_out_on_a_download(client: TenantClient, fault: Fault) -> None:
    fault("503", path_regex=FILE, count=1)
    assert _fetch(client) == SIZE


def test_a_connection_that_was_spoilt_is_not_used_again(client: TenantClient, fault: Fault) -> None:
    for kind in ("oversized_body", "cut_body", "reset_after"):
        fault(kind, path_regex=CONVERSATION, method="PATCH", count=1)
        _error(lambda: client.set_status("cnv_1", "archived"))
        assert client.conversation("cnv_1").status == "archived"


def test_after_a_merge_the_survivor_is_named(client: TenantClient, fault: Fault) -> None:
    fault("merged_301", path_regex=CONVERSATION)
    with pytest.raises(errors.ConversationMoved) as moved:
        client.set_status("cnv_1", "archived")
    assert (moved.value.merged_id, moved.value.surviving_id != "cnv_1") == ("cnv_1", True)
    assert client.conversation("cnv_1").id == moved.value.surviving_id


def test_a_change_whose_answer_was_lost_is_found_in_the_events(client: TenantClient, fault: Fault) -> None:
    since = datetime.now(UTC)
    fault("reset_after", method="PATCH")
    with pytest.raises(errors.UnclearAnswer):
        client.set_status("cnv_1", "archived")
    found = client.conversation_events("cnv_1", since=since)
    assert [(event.type, event.source) for event in found] == [("archive", "api")]


def test_missing_fields_of_a_message_are_none(client: TenantClient, fault: Fault) -> None:
    fault("missing_message_fields")
    message = client.message("msg_1")
    assert (message.id, message.recipients, message.attachments) == ("msg_1", None, None)


def test_the_latest_message_has_its_attachments(client: TenantClient) -> None:
    found = client.latest_message("cnv_1")
    assert [attachment.front_id for attachment in found.attachments or ()] == ["fil_1"]


def _changes_sent_and_done(sandbox: RunningSandbox) -> tuple[int, int]:
    """Return how many changes were sent, and how many happened."""
    sent = [call for call in sandbox.front.ledger.calls(company="cmp_1") if call["method"] != "GET"]
    effects = [effect for history in sandbox.front.world.histories.values() for effect in history]
    return len(sent), sum(getattr(effect, "changed", False) for effect in effects)
