"""Read the filter words that people type, such as `state:failed tenant:Acme since:2h`: pure.

The same words work in the console, in the REST API and on the command line, and stand in the address of a page.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from console.times import parse_since
from shared.db.reading.filters import Filter
from shared.errors import MailroomError
from shared.text import clean

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

LONGEST = 500  # characters of all words together
LONGEST_VALUE = 100
MOST_DIGITS = 18  # of a bigint
#: What each word narrows, as its help says it.
WORDS: Mapping[str, str] = {
    "tenant": "name or company id",
    "state": "state of the event or task",
    "code": "cause of a failure",
    "kind": "kind of task",
    "type": "type of event",
    "conversation": "Front's cnv_ id",
    "group": "number of a group of failures",
    "endpoint": "number of an endpoint of the host application",
    "since": "2h, 7d or a time",
    "until": "2h, 7d or a time",
}
#: What narrows nothing where it stands for one of these values; it is looked up among the names of the whole list.
TIMES = frozenset({"since", "until"})


class BadFilter(MailroomError):
    """The filter words cannot be read."""

    code = "bad_filter"


@dataclass(frozen=True, kw_only=True)
class Words:
    """The words of a filter; `tenant` is a name or a company id that is still to be looked up."""

    tenant: str | None = None
    state: str | None = None
    code: str | None = None
    kind: str | None = None
    type: str | None = None
    conversation: str | None = None
    group: str | None = None
    endpoint: str | None = None
    since: str | None = None
    until: str | None = None
    name: str | None = None  # a word without a colon: the id of an event, a task, a delivery or a conversation

    def filter(self, *, tenant_id: int | None, now: datetime, before_id: int | None = None) -> Filter:
        """Return the filter of these words, with the tenant looked up. Raises BadFilter."""
        return Filter(
            tenant_id=tenant_id,
            state=self.state,
            code=self.code,
            kind=self.kind,
            type=self.type,
            conversation_id=self.conversation,
            group=_number(self.group, "a group"),
            endpoint=_number(self.endpoint, "an endpoint"),
            since=_moment(self.since, now),
            until=_moment(self.until, now),
            before_id=before_id,
        )

    def text(self) -> str:
        """Return the words as somebody would type them."""
        named = ((each.name, getattr(self, each.name)) for each in fields(self))
        return " ".join(
            _quoted(value) if name == "name" else f"{name}:{_quoted(value)}"
            for name, value in named
            if value is not None
        )


def read_words(text: str, *, allowed: Collection[str], states: Collection[str] = ()) -> Words:
    """Read the words that a list allows. Raises BadFilter, which says what to type instead."""
    if len(text) > LONGEST:
        raise BadFilter(f"a filter has up to {LONGEST} characters")
    found: dict[str, str] = {}
    for word in _split(clean(text, LONGEST)):
        name, value = _name_and_value(word, allowed)
        if name in found:
            raise BadFilter(f"{name} is there twice")
        found[name] = value[:LONGEST_VALUE]
    if states and "state" in found and found["state"] not in states:
        raise BadFilter(f"there is no state {found['state']!r}; the states are {', '.join(states)}")
    for name in TIMES & found.keys():
        _moment(found[name], datetime.now(UTC))
    return Words(**found)


def _name_and_value(word: str, allowed: Collection[str]) -> tuple[str, str]:
    name, colon, value = word.partition(":")
    if not colon:
        return "name", word
    if name not in allowed:
        raise BadFilter(f"there is no word {name!r} here; the words are {', '.join(allowed)}")
    if not value:
        raise BadFilter(f"{name}: is followed by its value, as in {_example(name)}")
    return name, value


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        raise BadFilter("a quotation mark has no end") from None


def _moment(text: str | None, now: datetime) -> datetime | None:
    try:
        return None if text is None else parse_since(text, now)
    except (ValueError, OverflowError) as problem:
        raise BadFilter(str(problem)) from None


def _number(text: str | None, what: str) -> int | None:
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > MOST_DIGITS:
        raise BadFilter(f"{text!r} is no number of {what}")
    return int(text)


def _quoted(value: str) -> str:
    return shlex.quote(value)


def _example(name: str) -> str:
    return {"since": "since:2h", "until": "until:1d", "state": "state:failed"}.get(name, f"{name}:…")
