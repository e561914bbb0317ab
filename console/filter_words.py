"""Read the filter words that people type, such as `state:failed tenant:Acme since:2h`: pure.

The same words work in the console, in the REST API and on the command line, and stand in the address of a page.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from console.times import parse_since
from shared.errors import MailroomError
from shared.models import EVENT_STATES, GROUP_STATES, TASK_KINDS, TASK_STATES
from shared.text import clean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.db.reading.filters import Filter, KnownValues

LONGEST = 500  # characters of all words together
LONGEST_VALUE = 100
MOST_DIGITS = 18  # of a bigint
#: What each word narrows, as its help says it.
WORDS: Mapping[str, str] = {
    "tenant": "name or company id",
    "state": "state of the event, task or group",
    "code": "cause of a failure, as in front_unavailable",
    "kind": "kind of task, as in store_attachment",
    "type": "type of event, as in inbound_received",
    "conversation": "Front's cnv_ id",
    "email": "address of a recipient, or of a user who was one",
    "group": "number of a group of failures",
    "endpoint": "number of an endpoint of the host application",
    "job": "number of a job",
    "since": "2h, 7d or a time",
    "until": "2h, 7d or a time",
}
#: No index knows an address, so the list of events is narrowed by one of these first.
BESIDE_EMAIL = ("since", "tenant", "conversation")


class BadFilter(MailroomError):
    """The filter words cannot be read."""

    code = "bad_filter"


@dataclass(frozen=True, kw_only=True)
class FilteredList:
    """A list that filter words narrow: its words and states, and where the command line and the API have it."""

    name: str
    words: tuple[str, ...]
    states: tuple[str, ...]
    command: str
    path: str
    finds_ids: bool = False  # whether an id alone, without a word before it, stands for its row


EVENT_LIST: Final = FilteredList(
    name="events",
    words=("tenant", "state", "code", "kind", "type", "conversation", "email", "since", "until"),
    states=EVENT_STATES,
    command="event list",
    path="events",
    finds_ids=True,
)
# Jobs keep the words of their filter, and no address is kept in those: hence no `email`.
TASK_LIST: Final = FilteredList(
    name="tasks",
    words=("tenant", "state", "code", "kind", "type", "conversation", "group", "endpoint", "job", "since", "until"),
    states=TASK_STATES,
    command="task list",
    path="tasks",
    finds_ids=True,
)
GROUP_LIST: Final = FilteredList(
    name="groups",
    words=("tenant", "state", "code", "kind", "since", "until"),
    states=GROUP_STATES,
    command="task groups",
    path="failure-groups",
)
LISTS: Final = (EVENT_LIST, TASK_LIST, GROUP_LIST)


@dataclass(frozen=True, kw_only=True)
class Words:
    """The words of a filter; `tenant` is a name or a company id that is still to be looked up."""

    tenant: str | None = None
    state: str | None = None
    code: str | None = None
    kind: str | None = None
    type: str | None = None
    conversation: str | None = None
    email: str | None = None
    group: str | None = None
    endpoint: str | None = None
    job: str | None = None
    since: str | None = None
    until: str | None = None
    name: str | None = None  # a word without a colon: the id of an event, a task, a delivery or a conversation

    @property
    def is_open(self) -> bool:
        """Whether there is no word at all."""
        return not self.given

    @property
    def given(self) -> dict[str, str]:
        """Return the words that are there, with their values."""
        named = ((each.name, getattr(self, each.name)) for each in fields(self))
        return {name: value for name, value in named if value is not None}

    def filter(self, *, tenant_id: int | None, now: datetime, before_id: int | None = None) -> Filter:
        """Return the filter of these words, with the tenant looked up. Raises BadFilter."""
        from shared.db.reading.filters import Filter  # noqa: PLC0415 -- the command line lists its options without a database

        return Filter(
            tenant_id=tenant_id,
            state=self.state,
            code=self.code,
            kind=self.kind,
            type=self.type,
            conversation_id=self.conversation,
            email=self.email,
            group=_number("group", self.group),
            job=_number("job", self.job),
            endpoint=_number("endpoint", self.endpoint),
            since=_moment(self.since, now),
            until=_moment(self.until, now),
            before_id=before_id,
        )

    def with_zone(self, zone: tzinfo) -> Words:
        """Return the words with the offset of this zone at each time that names none."""
        return replace(self, since=_with_zone(self.since, zone), until=_with_zone(self.until, zone))

    def text(self) -> str:
        """Return the words as somebody would type them."""
        return " ".join(
            shlex.quote(value) if name == "name" else f"{name}:{shlex.quote(value)}"
            for name, value in self.given.items()
        )

    def as_command(self, listed: FilteredList) -> str:
        """Return the command that prints this list, quoted for a shell."""
        return command_line(listed.command, {name: value for name, value in self.given.items() if name != "name"})

    def as_address(self, listed: FilteredList) -> str:
        """Return the path and query at which the REST API has this list."""
        return api_address(listed.path, {name: value for name, value in self.given.items() if name != "name"})


def command_line(command: str, options: Mapping[str, str | None]) -> str:
    """Return a command of ours with these options, quoted for a shell; None leaves one out."""
    given = (f"--{name} {shlex.quote(value)}" for name, value in options.items() if value is not None)
    return " ".join(["mailroom", command, *given])


def api_address(path: str, query: Mapping[str, str | None]) -> str:
    """Return the path and query of a list of the REST API; None leaves a parameter out."""
    text = urlencode({name: value for name, value in query.items() if value is not None})
    return f"/api/v1/{path}" + (f"?{text}" if text else "")


def read_words(text: str, listed: FilteredList) -> Words:
    """Read the words that a list allows. Raises BadFilter, which says what to type instead."""
    if len(text) > LONGEST:
        raise BadFilter(f"a filter has up to {LONGEST} characters")
    found: dict[str, str] = {}
    for word in _split(clean(text, LONGEST)):
        name, value = _name_and_value(word, listed)
        if name in found:
            raise BadFilter(f"{name} is there twice")
        found[name] = value[:LONGEST_VALUE]
    return checked(Words(**found), listed)


def checked(words: Words, listed: FilteredList) -> Words:
    """Return the words if the list can be narrowed by them. Raises BadFilter."""
    if words.state is not None and words.state not in listed.states:
        raise BadFilter(f"there is no state {words.state!r}; the states are {', '.join(listed.states)}")
    if words.email is not None and not words.given.keys() & set(BESIDE_EMAIL):
        beside = ", ".join(f"{name}:" for name in BESIDE_EMAIL)
        raise BadFilter(f"email: goes together with one of {beside}, as in email:jane@example.com since:1d")
    if words.name is not None and not listed.finds_ids:
        raise BadFilter(f"{words.name!r} is no filter word; the words are {', '.join(f'{n}:' for n in listed.words)}")
    words.filter(tenant_id=None, now=datetime.now(UTC))
    return words


def values_of(listed: FilteredList, known: KnownValues) -> dict[str, list[str]]:
    """Return the values that each word of the list can be given, as far as they are known."""
    values = {
        "tenant": known.tenants,
        "state": list(listed.states),
        "code": known.codes,
        "kind": list(TASK_KINDS),
        "type": known.types,
        "since": ["1h", "1d", "7d"],
        "until": ["1h", "1d", "7d"],
    }
    return {name: values.get(name, []) for name in listed.words}


def suggestions(listed: FilteredList, known: KnownValues) -> list[str]:
    """Return what somebody may type next, each a word with its value, or alone where no value is known."""
    return [
        f"{name}:{shlex.quote(value)}" if value else f"{name}:"
        for name, values in values_of(listed, known).items()
        for value in values or [""]
        if value.isprintable()
    ]


def _name_and_value(word: str, listed: FilteredList) -> tuple[str, str]:
    name, colon, value = word.partition(":")
    if not colon:
        return "name", word
    if name not in listed.words:
        raise BadFilter(f"there is no word {name!r} here; the words are {', '.join(listed.words)}")
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


def _with_zone(text: str | None, zone: tzinfo) -> str | None:
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:  # a length of time, or nothing
        return text
    return text if moment.tzinfo else moment.replace(tzinfo=zone).isoformat()


def _number(name: str, text: str | None) -> int | None:
    if text is None:
        return None
    digits = text[1:] if name == "job" and text[:1] in {"J", "j"} else text
    if not is_number(digits):
        raise BadFilter(f"{text!r} is no number of {'an' if name == 'endpoint' else 'a'} {name}")
    return int(digits)


def is_number(text: str) -> bool:
    """Whether a text is a number that a row of ours can have."""
    return text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS


def _example(name: str) -> str:
    return {"since": "since:2h", "until": "until:1d", "state": "state:failed"}.get(name, f"{name}:…")
