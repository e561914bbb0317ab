"""The verdict on a conversation follows from its history, one history a row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sandbox.models import Arrived, Asked, Effect, Merged, PersonChanged, Recalled
from sandbox.verdict import judge

if TYPE_CHECKING:
    from sandbox.models import HistoryEntry

MAIL = Arrived(at=0, message_id="msg_1")
REOPENED = PersonChanged(at=0, do="reopen", by="teammate")
ARCHIVED_BY_HAND = PersonChanged(at=0, do="archive", by="teammate")


def asked(event_id: str, wish: str | None, *, genuine: bool = True, already: bool = False) -> Asked:
    return Asked(at=10, event_id=event_id, wish=wish, genuine=genuine, already=already)


def effect(wish: str, *, changed: bool = True) -> Effect:
    return Effect(at=12.5, wish=wish, changed=changed, by="api")


A1, A2 = asked("evt_1", "archived"), asked("evt_2", "archived")
UNKNOWN, NOTHING = asked("evt_3", None), asked("evt_4", "none")
FORGED = asked("evt_5", "none", genuine=False)
OPEN, RECALL = effect("open"), Recalled(at=11)
ARCHIVE, TRASH, TAG = effect("archived"), effect("deleted"), effect("tag:tag_1")

HISTORIES: list[tuple[list[HistoryEntry], dict[str, object]]] = [
    # An empty history, an event without a wish, and an event with an unknown wish
    ([], {}),
    ([MAIL, NOTHING], {}),
    ([MAIL, UNKNOWN], {}),
    # The wish is served
    ([MAIL, A1, ARCHIVE], {"effects": 1}),
    # The wish is never served
    ([MAIL, A1], {"lost": ("evt_1",)}),
    # A different effect does not serve it
    ([MAIL, A1, TRASH], {"lost": ("evt_1",), "ghost": 1, "effects": 1}),
    ([MAIL, asked("evt_1", "tag:tag_1"), effect("tag:tag_2")], {"lost": ("evt_1",), "ghost": 1, "effects": 1}),
    # An effect before the event does not serve it either
    ([MAIL, A1, ARCHIVE, MAIL, A2], {"lost": ("evt_2",), "effects": 1}),
    # One effect serves two equal wishes
    ([MAIL, A1, MAIL, A2, ARCHIVE], {"effects": 1}),
    # Two equal wishes may also be served one by one
    ([MAIL, A1, MAIL, A2, ARCHIVE, effect("archived", changed=False)], {"effects": 2, "repeated": 1}),
    # A third effect is one too many
    ([MAIL, A1, MAIL, A2, ARCHIVE, ARCHIVE, ARCHIVE], {"effects": 3, "double": 1}),
    # The same effect again for one event
    ([MAIL, A1, ARCHIVE, effect("archived", changed=False)], {"effects": 2, "double": 1, "repeated": 1}),
    # A repeated effect after new mail without a wish would hide that mail
    ([MAIL, A1, ARCHIVE, MAIL, NOTHING, ARCHIVE], {"effects": 2, "double": 1}),
    # New mail with a wish of its own may be archived again
    ([MAIL, A1, ARCHIVE, MAIL, A2, ARCHIVE], {"effects": 2}),
    # Tagging and archiving are two wishes
    ([MAIL, A1, asked("evt_2", "tag:tag_1"), TAG, ARCHIVE], {"effects": 2}),
    # An event with an unknown wish allows one effect of any kind, and one only
    ([MAIL, UNKNOWN, TRASH], {"effects": 1}),
    ([MAIL, UNKNOWN, TRASH, TRASH], {"effects": 2, "double": 1}),
    # Nothing is lost if a person did it first
    ([MAIL, A1, ARCHIVED_BY_HAND, NOTHING], {}),
    # A person reopened it, and it was archived once more against that person's will
    ([MAIL, A1, ARCHIVE, REOPENED, ARCHIVE], {"effects": 2, "double": 1}),
    ([MAIL, A1, ARCHIVED_BY_HAND, REOPENED, ARCHIVE], {"effects": 1, "double": 1}),
    # New mail after it is a new reason, and a tag overrules nobody
    ([MAIL, A1, ARCHIVE, REOPENED, MAIL, A2, ARCHIVE], {"effects": 2}),
    ([MAIL, asked("evt_1", "tag:tag_1"), REOPENED, TAG], {"effects": 1}),
    # A wish that is already fulfilled needs no effect and forbids none
    ([asked("evt_1", "archived", already=True)], {}),
    ([asked("evt_1", "archived", already=True), effect("archived", changed=False)], {"effects": 1, "repeated": 1}),
    # No event asked for it
    ([MAIL, NOTHING, ARCHIVE], {"effects": 1, "ghost": 1}),
    ([MAIL, FORGED, ARCHIVE], {"effects": 1, "ghost": 1}),
    ([ARCHIVE], {"effects": 1, "ghost": 1}),
    # A recalled wish is not lost, must not be served, and allows one reopening
    ([MAIL, A1, RECALL], {}),
    ([MAIL, A1, ARCHIVE, RECALL, OPEN], {"effects": 1}),
    ([MAIL, A1, ARCHIVE, RECALL, OPEN, OPEN], {"effects": 1, "double": 1}),
    ([MAIL, A1, RECALL, ARCHIVE], {"effects": 1, "double": 1}),
    ([MAIL, A1, MAIL, A2, ARCHIVE, RECALL, OPEN, ARCHIVE], {"effects": 2, "double": 1}),
    # The reopening is allowed only if no person archived it since
    ([MAIL, A1, ARCHIVE, RECALL, ARCHIVED_BY_HAND, OPEN], {"effects": 1, "double": 1}),
    # New mail brings a new wish
    ([MAIL, A1, ARCHIVE, RECALL, OPEN, MAIL, A2], {"effects": 1, "lost": ("evt_2",)}),
    ([MAIL, A1, ARCHIVE, RECALL, OPEN, MAIL, A2, ARCHIVE], {"effects": 2}),
    # Reopening without a recall is not judged; assigning and moving never are
    ([MAIL, NOTHING, effect("open"), effect("assign"), effect("move"), effect("untag")], {}),
    # A merge keeps the history
    ([MAIL, A1, Merged(at=0, from_id="cnv_1"), ARCHIVE], {"effects": 1}),
    # An event that was never acknowledged is unserved, but not lost
    ([MAIL, asked("evt_dropped", "archived")], {"unserved": ("evt_dropped",)}),
    ([MAIL, asked("evt_dropped", "archived"), ARCHIVE], {"effects": 1}),
]


@pytest.mark.parametrize(("history", "expected"), HISTORIES)
def test_a_history_is_judged(history: list[HistoryEntry], expected: dict[str, object]) -> None:
    finding = judge(history, acknowledged={"evt_1", "evt_2", "evt_3", "evt_4", "evt_5"})
    fair = {"lost": (), "unserved": (), "double": 0, "ghost": 0, "effects": 0, "repeated": 0}
    assert {name: getattr(finding, name) for name in fair} == fair | expected


def test_the_delay_is_measured_from_the_event_to_its_effect() -> None:
    assert judge([MAIL, A1, TAG, ARCHIVE, ARCHIVE], set()).waits == (2.5,)
