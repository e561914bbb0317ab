"""Which files hold an action up."""

from __future__ import annotations

import pytest

from shared.actions import UnstoredFiles, wait_reason

KINDS = ["archive", "tag:tag_1", "trash"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wait_for", ["stored", "settled"])
def test_a_waiting_file_holds_up_every_action(kind: str, wait_for: str) -> None:
    assert (
        wait_reason(kind, wait_for, UnstoredFiles(waiting=2)) == "waits for 2 file(s) of the conversation to be stored"
    )


@pytest.mark.parametrize(
    ("kind", "wait_for", "held_up"),
    [
        ("archive", "stored", True),
        ("tag:tag_1", "stored", True),
        ("trash", "stored", True),
        # A tenant may let a failed file go
        ("archive", "settled", False),
        ("tag:tag_1", "settled", False),
        # … but never destroy the only copy
        ("trash", "settled", True),
    ],
)
def test_a_failed_file_holds_up_what_must_be_stored(kind: str, wait_for: str, held_up: bool) -> None:
    reason = wait_reason(kind, wait_for, UnstoredFiles(failed=1))
    assert (reason is not None and reason.startswith("1 file(s)")) is held_up


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("unstored", [UnstoredFiles(), UnstoredFiles(discarded=3)], ids=["all stored", "discarded"])
def test_a_file_somebody_discarded_is_waited_for_no_more(kind: str, unstored: UnstoredFiles) -> None:
    assert wait_reason(kind, "stored", unstored) is None


def test_of_waiting_and_failed_files_the_waiting_are_named_first() -> None:
    reason = wait_reason("trash", "stored", UnstoredFiles(waiting=1, failed=1, discarded=1))
    assert reason == "waits for 1 file(s) of the conversation to be stored"
