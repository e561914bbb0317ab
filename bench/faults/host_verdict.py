"""Judges what a host application took: its order, its ids, and what Front was asked before it had a message. Pure."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence, Set

    from bench.harness.feed_reader import FeedItem
    from bench.harness.host_application import Request

#: The types of the notifications about an event's message: exactly one for each event.
ABOUT_MESSAGES = ("message.received", "message.unmatched", "message.sent")
#: An endpoint that names no types does not get the first two. The tenants are connected before it is added.
NOT_ASKED_FOR = ("attachment.stored", "attachment.failed", "tenant.connected")


def events_taken(requests: Iterable[Request]) -> set[str]:
    """Return the events whose message the host has taken."""
    return {each.event for each in requests if each.is_taken and each.event and each.type in ABOUT_MESSAGES}


def taken_again(requests: Iterable[Request]) -> int:
    """Count the notifications that the host took once more, although it had them."""
    ids = [each.id for each in requests if each.is_taken]
    return len(ids) - len(set(ids))


def renamed(requests: Iterable[Request]) -> int:
    """Count the notifications that came with another id than before, and the ids of more than one notification."""
    ids: dict[str | None, set[str]] = defaultdict(set)
    meanings: dict[str | None, set[str]] = defaultdict(set)
    for each in requests:
        meaning = each.event if each.type in ABOUT_MESSAGES else each.position
        ids[meaning].add(each.id)
        meanings[each.id].add(meaning or "")
    return sum(len(found) > 1 for found in (*ids.values(), *meanings.values()))


def out_of_order(requests: Iterable[Request]) -> int:
    """Count the requests that began before all earlier notifications of their conversation had been taken.

    One that comes again after a later one counts as well.
    """
    conversations: dict[str, list[Request]] = defaultdict(list)
    for each in requests:
        if each.conversation:
            conversations[each.conversation].append(each)
    return sum(_out_of_order(sorted(found, key=lambda each: each.began)) for found in conversations.values())


def _out_of_order(requests: Sequence[Request]) -> int:
    taken_at = _first_taken(requests, "position")
    earlier = {each.position: taken_at.get(each.position, float("inf")) for each in requests}
    count, latest = 0, ""
    for each in requests:
        hasty = any(at > each.began for position, at in earlier.items() if position < each.position)
        count += hasty or each.position < latest
        latest = max(latest, each.position)
    return count


def _first_taken(requests: Iterable[Request], key: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for each in requests:
        if each.is_taken:
            name = getattr(each, key)
            found[name] = min(each.ended, found.get(name, float("inf")))
    return found


def untold(feed: Iterable[FeedItem], requests: Iterable[Request], endpoint_id: int) -> int:
    """Count the notifications of the feed that the host at this endpoint has not taken."""
    taken = {each.id for each in requests if each.is_taken}
    wanted = (each for each in feed if each.type not in NOT_ASKED_FOR and each.endpoint_id != endpoint_id)
    return sum(each.id not in taken for each in wanted)


def gaps_in_feed(feed: Sequence[FeedItem], acknowledged: Set[str]) -> list[str]:
    """Return the mistakes of the feed in words: events without a notification or with several, and wrong positions."""
    counts: dict[str, int] = defaultdict(int)
    for each in feed:
        if each.event and each.type in ABOUT_MESSAGES:
            counts[each.event] += 1
    positions = [each.position for each in feed]
    problems = {
        "events are not in the feed": len(acknowledged - counts.keys()),
        "events are in the feed more than once": sum(count > 1 for count in counts.values()),
        "places of the feed are not after the one before": sum(
            second <= first for first, second in pairwise(positions)
        ),
    }
    return [f"{count} {what}" for what, count in problems.items() if count]


def hasty_changes(changes: Mapping[str, Sequence[float]], hosts: Sequence[Iterable[Request]]) -> int:
    """Count the changes of a conversation that were made before every host had a message for each of them.

    `changes` has the moments at which a conversation was changed, in order.
    """
    takes = _taken_by_all(hosts)
    never = float("inf")
    return sum(
        at < (takes[conversation][place] if place < len(takes[conversation]) else never)
        for conversation, moments in changes.items()
        for place, at in enumerate(moments)
    )


def _taken_by_all(hosts: Sequence[Iterable[Request]]) -> dict[str, list[float]]:
    """Return by conversation, in order, the moments at which the last host had a message of it."""
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for requests in hosts:
        messages = [each for each in requests if each.type in ABOUT_MESSAGES]
        moments = _first_taken(messages, "id")
        conversations = {each.id: each.conversation for each in messages}
        for name, at in moments.items():
            found[conversations[name] or ""][name].append(at)
    return defaultdict(
        list,
        {
            conversation: sorted(max(moments) for moments in messages.values() if len(moments) == len(hosts))
            for conversation, messages in found.items()
        },
    )
