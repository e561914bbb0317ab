"""Conversations that people and Front change meanwhile: merged, reopened, and with events out of order."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any

from bench.faults.run import Run
from bench.harness.mail import desk
from bench.harness.processes import expect

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.faults.result import Result
    from bench.faults.run import Suite
    from bench.faults.scene import Scene

SETTLES_WITHIN = 200.0
SLOW_SECONDS = 3.0


def merged(suite: Suite) -> Result:
    """Merge conversations while the files of both are on their way: the action waits for all files."""
    with suite.scene("front_merged") as scene:
        scene.front.fault("slow_body", path_regex="^/download/", seconds=SLOW_SECONDS)
        pairs: list[tuple[str, str]] = []
        for number in range(suite.pick(12, 120)):
            company = scene.companies[number % len(scene.companies)]
            gone = _mail(scene, company, expect="archived", attachment_count=1)
            survivor = _mail(scene, company, kind="outbound_sent", attachment_count=1)
            scene.front.act(gone, "merge", into=survivor)
            pairs.append((gone, survivor))
            scene.injected += 1
        expect(lambda: not scene.mailroom.unsettled(), SETTLES_WITHIN, "everything is done")
        hasty = sum(_acted_before_files(scene, *pair) for pair in pairs)
        broken = [f"{hasty} actions before the other conversation's file was stored"] if hasty else []
        left = sum(scene.front.conversation(survivor)["status"] != "archived" for _, survivor in pairs)
        broken += [f"{left} merged conversations were not archived"] if left else []
        return scene.judge(within=SETTLES_WITHIN, note=f"{len(pairs)} pairs", broken=broken)


def _acted_before_files(scene: Scene, gone: str, survivor: str) -> bool:
    [(hasty,)] = scene.mailroom.rows(
        "SELECT (SELECT max(settled_at) FROM actions WHERE conversation_id = %s)"
        " < (SELECT max(stored_at) FROM attachments WHERE conversation_id = ANY(%s))",
        gone,
        [gone, survivor],
    )
    return hasty is not False


def reopened(suite: Suite) -> Result:
    """Lose the answer of an archiving call, and reopen the conversation: it is not archived again."""
    count = suite.pick(51, 510)
    with suite.scene("reopened") as scene:
        scene.front.fault("reset_after", method="PATCH", count=count)
        for company in scene.companies:
            _send(scene, company, count=count // len(scene.companies), expect="archived")
        conversations = _when_archived(scene, count)
        for conversation in conversations:
            scene.front.act(conversation, "reopen")
            scene.injected += 1
        expect(lambda: not scene.mailroom.unsettled(), SETTLES_WITHIN, "everything is done")
        again = sum(scene.front.conversation(each)["status"] == "archived" for each in conversations)
        broken = [f"{again} were archived again"] if again else []
        return scene.judge(within=SETTLES_WITHIN, note=f"{again} archived again", broken=broken)


def _when_archived(scene: Scene, count: int) -> list[str]:
    """Return the conversations once all are archived, before the first one is read again."""
    found: set[str] = set()

    def all_are() -> bool:
        found.update(call["conversation"] for call in scene.front.calls() if call["method"] == "PATCH")
        return len(found) >= count

    expect(all_are, 60, f"{count} conversations are archived")
    return sorted(found)


def in_order(suite: Suite) -> Result:
    """Deliver tags and archiving of one conversation in any order while the tenant is paused, then release all."""
    with suite.scene("order", companies=0) as scene:
        company = "cmp_order"
        tags = _tagging_tenant(scene, company)
        _pause(scene, paused=True)
        wishes = [*(f"tag:{tag}" for tag in tags), "archived", "archived"]
        conversations = [_shuffled(scene, company, number, wishes) for number in range(suite.pick(20, 300))]
        scene.injected = len(conversations)
        time.sleep(1.0)  # past the last emitted time
        decided = conversations[::3]
        for conversation in decided:
            scene.front.act(conversation, "trash", webhook=True)
        expect(lambda: _recorded(scene) >= len(conversations) * len(wishes) + len(decided), 60, "all are recorded")
        _pause(scene, paused=False)
        expect(lambda: not scene.mailroom.unsettled(), SETTLES_WITHIN, "everything is done")
        expected = dict.fromkeys(conversations, wishes[:-1]) | dict.fromkeys(decided, wishes[:-2])
        wrong = [each for each in conversations if _effects(scene, each) != expected[each]]
        broken = [f"{len(wrong)} conversations got other effects, as {_effects(scene, wrong[0])}"] if wrong else []
        note = f"{len(decided)} of them trashed by a person in between"
        return scene.judge(within=SETTLES_WITHIN, note=note, broken=broken)


def _tagging_tenant(scene: Scene, company: str) -> list[str]:
    """Create a tenant that archives, with a user for each of two tags; return the tags."""
    scene.front.create(company)
    tags = scene.front.tags(company)[:2]
    scene.mailroom.tenant(company, desk(company), *map(_address, tags))
    for tag in tags:
        scene.mailroom.rows(
            "UPDATE users SET action = %s WHERE external_id = %s RETURNING id", f"tag:{tag}", _address(tag)
        )
    return tags


def _shuffled(scene: Scene, company: str, number: int, wishes: Sequence[str]) -> str:
    """Deliver an event for each wish in random order; their emitted times keep the right order."""
    began, conversation = time.time(), f"cnv_order{number}"
    for place, wish in random.sample(list(enumerate(wishes)), len(wishes)):
        to = _address(wish.removeprefix("tag:")) if wish.startswith("tag:") else desk(company)
        _mail(scene, company, to=to, conversation=conversation, emitted_at=began + place / 10, expect=wish)
    return conversation


def _address(tag: str) -> str:
    return f"{tag.replace('_', '-')}@tags.example"


def _pause(scene: Scene, *, paused: bool) -> None:
    cause = "paused" if paused else None
    scene.mailroom.rows("UPDATE tenants SET parked_cause = %s, parked_at = now() RETURNING id", cause)


def _recorded(scene: Scene) -> int:
    [(count,)] = scene.mailroom.rows("SELECT count(*) FROM events")
    return int(count)


def _effects(scene: Scene, conversation: str) -> list[str]:
    return [entry["wish"] for entry in scene.front.conversation(conversation)["history"] if "changed" in entry]


def _mail(scene: Scene, company: str, *, kind: str = "inbound_received", to: str | None = None, **order: Any) -> str:
    """Send one message; return its conversation."""
    [event] = _send(scene, company, kind=kind, to=to, **order)
    return str(event["conversation_id"])


def _send(
    scene: Scene, company: str, *, kind: str = "inbound_received", to: str | None = None, **order: Any
) -> list[dict[str, Any]]:
    recipients = [{"handle": to or desk(company), "role": "to"}]
    events: list[dict[str, Any]] = scene.front.send(kind, company, recipients=recipients, **order)["events"]
    return events


RUNS = (
    Run(
        name="front_merged",
        promise="conversations merged while their files are on the way: one action, after the files of both",
        do=merged,
    ),
    Run(
        name="reopened",
        promise="archived, answer lost, reopened by a person, 50 times: never archived again",
        do=reopened,
        in_ci=True,
    ),
    Run(
        name="order",
        promise="actions delivered in any order: done in the order of events, equal ones once, people win",
        do=in_order,
    ),
)
