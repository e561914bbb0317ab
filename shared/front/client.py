"""Calls Front's API as a tenant: reads that may be tried again, writes that are sent once, downloads."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from functools import partial
from itertools import count
from typing import Any, Final, Literal, TypeVar

from shared.connection.budget import Budget
from shared.errors import ConversationMoved, FrontRejected, UnsafeRedirect
from shared.front import answers
from shared.front.answers import MOVED, Answer, Route, expected
from shared.front.download import Download, Downloads
from shared.front.envelope import front_id, parse_message
from shared.front.exchange import Api, Exchange, patiently
from shared.front.objects import (
    Channel,
    Conversation,
    ConversationEvent,
    Identity,
    Inbox,
    Teammate,
    parse_channel,
    parse_conversation,
    parse_event,
    parse_identity,
    parse_inbox,
    parse_page,
    parse_teammate,
)
from shared.http.destinations import is_public
from shared.http.transport import CallDeadlines, Line
from shared.models import Call, EventPage, Message, Token

MOST_PAGES: Final = 20
#: A conversation may be merged into one that was merged itself.
MOST_MERGES: Final = 3
_CONVERSATION_PATH: Final = re.compile(r"/conversations/(cnv_[A-Za-z0-9]+)(?:[/?].*)?")
Status = Literal["archived", "deleted", "open"]
T = TypeVar("T")


class FrontClient:
    """Front's API; one for a process, for all its threads and tenants."""

    def __init__(
        self, api_url: str, budget: Budget, *, user_agent: str = "mailroom", deadlines: CallDeadlines | None = None
    ):
        self._api = Api(url=api_url.rstrip("/"))
        self._budget = budget
        self._user_agent = user_agent
        self._deadlines = deadlines or CallDeadlines()
        self._of_thread = threading.local()

    def for_tenant(
        self, token: Token, *, stop: threading.Event | None = None, reserved_share: float = 0.0
    ) -> TenantClient:
        """Front as this tenant sees it, for use on this thread; a set `stop` ends waits and downloads.

        `reserved_share`: the share of the company's budget that these calls leave to others.
        """
        line, elsewhere = self._lines()
        exchange = Exchange(api=self._api, budget=self._budget, token=token, line=line, reserved_share=reserved_share)
        return TenantClient(exchange, elsewhere=elsewhere, deadlines=self._deadlines, stop=stop or threading.Event())

    def _lines(self) -> tuple[Line, Line]:
        """This thread's connections: to the API, and to public addresses a file may lie at."""
        if not hasattr(self._of_thread, "lines"):
            line = partial(Line, user_agent=self._user_agent)
            self._of_thread.lines = line(), line(may_reach=is_public)
        lines: tuple[Line, Line] = self._of_thread.lines
        return lines


class TenantClient:
    """Front with one tenant's token. Every method raises classes of shared.errors and nothing else."""

    def __init__(self, exchange: Exchange, *, elsewhere: Line, deadlines: CallDeadlines, stop: threading.Event):
        self._exchange = exchange
        self._downloads = Downloads(exchange, elsewhere=elsewhere, deadlines=deadlines, stop=stop)
        self._deadlines = deadlines
        self._stop = stop

    @property
    def calls(self) -> list[Call]:
        """Every request tried so far, in order."""
        return self._exchange.calls

    def until(self, moment: float) -> AbstractContextManager[None]:
        """Have nothing inside leave or be waited for after this moment of the monotonic clock, not even late."""
        return self._exchange.line.until(moment)

    def me(self) -> Identity:
        """The company the token belongs to."""
        return expected(answers.ME, parse_identity, self._read(answers.ME, answers.ME.path))

    def conversation(self, conversation_id: str) -> Conversation:
        """The conversation as it stands; the surviving one when it was merged."""
        answer = self._read_conversation(answers.CONVERSATION, conversation_id)
        return expected(answers.CONVERSATION, parse_conversation, answer)

    def conversation_events(self, conversation_id: str, *, since: datetime) -> list[ConversationEvent]:
        """What happened to the conversation at `since` or later, newest first; events without a time are included."""
        route, events = answers.CONVERSATION_EVENTS, list[ConversationEvent]()
        with self._exchange.line.within(self._deadlines.pages):
            first = self._read_conversation(route, conversation_id, limit=100)
            for page in self._pages(route, first, most=MOST_PAGES):
                found = [event for event in map(parse_event, page) if event]
                events += [event for event in found if event.emitted_at is None or event.emitted_at >= since]
                if any(event.emitted_at and event.emitted_at < since for event in found):
                    break
        return events

    def inboxes(self) -> list[Inbox]:
        """All inboxes that the token can see, private ones included."""
        return self._every(answers.INBOXES, parse_inbox)

    def channels(self) -> list[Channel]:
        """All channels that the token can see, private ones included."""
        return self._every(answers.CHANNELS, parse_channel)

    def teammates(self) -> list[Teammate]:
        """All people, bots and blocked people included."""
        return self._every(answers.TEAMMATES, parse_teammate)

    def events(
        self, *, types: Sequence[str], after: datetime, before: datetime, inboxes: Sequence[str] = ()
    ) -> EventPage:
        """The first page of the company's events, oldest first; only of these inboxes, or of all without any."""
        query = {
            "limit": 15,  # Front's maximum for this list
            "sort_by": "created_at",
            "sort_order": "asc",
            "q[types][]": list(types),
            "q[inboxes][]": list(inboxes),
            "q[after]": f"{after.timestamp():.3f}",
            "q[before]": f"{before.timestamp():.3f}",
        }
        return self._event_page(self._read(answers.EVENTS, answers.EVENTS.path, **query))

    def more_events(self, page: str) -> EventPage:
        """The page that another one named as its next; Front may have forgotten it (FrontRejected)."""
        return self._event_page(self._read(answers.EVENTS, page))

    def _event_page(self, answer: Answer) -> EventPage:
        found, link = expected(answers.EVENTS, parse_page, answer)
        return EventPage(events=tuple(found), next_path=self._own_path(answers.EVENTS, link) if link else None)

    def message(self, message_id: str) -> Message:
        """The message with its recipients and attachments."""
        answer = self._read(answers.MESSAGE, answers.MESSAGE.path.format(id=front_id(message_id)))
        return expected(answers.MESSAGE, _message, answer)

    def latest_message(self, conversation_id: str) -> Message:
        """The conversation's newest message."""
        route = answers.CONVERSATION_MESSAGES
        answer = self._read_conversation(route, conversation_id, limit=1)
        messages, _ = expected(route, parse_page, answer)
        if not messages:
            raise FrontRejected(f"Front's answer to {route} holds no message; there is nothing to read")
        return parse_message(messages[0])

    def set_status(self, conversation_id: str, status: Status) -> None:
        """Archive, trash (`deleted`) or reopen, once. Raises UnclearAnswer; ConversationMoved, and then nothing was."""
        self._write(answers.SET_STATUS, conversation_id, {"status": status})

    def add_tag(self, conversation_id: str, tag_id: str) -> None:
        """Add one tag, once. Raises UnclearAnswer; ConversationMoved, and then nothing was added."""
        self._write(answers.ADD_TAG, conversation_id, {"tag_ids": [front_id(tag_id)]})

    def remove_tag(self, conversation_id: str, tag_id: str) -> None:
        """Take one tag off, once. Raises UnclearAnswer; ConversationMoved, and then nothing was taken off."""
        self._write(answers.REMOVE_TAG, conversation_id, {"tag_ids": [front_id(tag_id)]})

    def download(self, attachment_id: str, *, max_bytes: int) -> AbstractContextManager[Download]:
        """The file's bytes as they come. AttachmentTooLarge over `max_bytes`, DownloadIncomplete when cut."""
        return self._downloads.open(attachment_id, max_bytes=max_bytes)

    def _read(self, route: Route, path: str, **query: Any) -> Answer:
        with self._exchange.line.within(self._deadlines.call):
            return patiently(lambda: self._exchange.ask(route, path, query=query), stop=self._stop)

    def _read_conversation(self, route: Route, conversation_id: str, **query: Any) -> Answer:
        """Ask, and again at the conversation this one was merged into."""
        with self._exchange.line.within(self._deadlines.call):
            path = route.path.format(id=front_id(conversation_id))
            for _ in range(MOST_MERGES + 1):
                answer = self._read(route, path, **query)
                if answer.status != MOVED:
                    return answer
                path = route.path.format(id=self._survivor(route, path, answer))
        raise UnsafeRedirect(f"{route} was redirected {MOST_MERGES + 1} times; it was not followed further")

    def _write(self, route: Route, conversation_id: str, body: dict[str, Any]) -> None:
        """Ask once. What a merge means for the change is for the caller to decide: it is not followed here."""
        with self._exchange.line.within(self._deadlines.call):
            path = route.path.format(id=front_id(conversation_id))
            answer = self._exchange.ask(route, path, body=body)
            if answer.status == MOVED:
                survivor = self._survivor(route, path, answer)
                raise ConversationMoved(
                    f"{route} says that the conversation was merged into {survivor}",
                    merged_id=conversation_id,
                    surviving_id=survivor,
                )

    def _survivor(self, route: Route, path: str, answer: Answer) -> str:
        link = answer.headers.get("location", "")
        target = self._exchange.api.own_path(link, seen_at=self._exchange.api.url + path) or ""
        found = _CONVERSATION_PATH.fullmatch(target)
        if found is None or target == path:
            raise UnsafeRedirect(
                f"{route} was redirected to something that is no other conversation of this API; it was not followed"
            )
        return found.group(1)

    def _every(self, route: Route, parse: Callable[[Any], T | None]) -> list[T]:
        """The elements of a list that Front does not page; were it to begin, nobody would be missing."""
        pages = self._pages(route, self._read(route, route.path), most=MOST_PAGES)
        return [element for page in pages for element in map(parse, page) if element]

    def _pages(self, route: Route, answer: Answer, *, most: int | None = None) -> Iterator[list[dict[str, Any]]]:
        """The pages of a list, by its own links; each is asked of the configured API, wherever the link points."""
        for number in count(1):
            elements, link = expected(route, parse_page, answer)
            yield elements
            if link is None:
                return
            if number == most:
                raise FrontRejected(f"{route} goes on after {most} pages; it was not read to the end")
            answer = self._read(route, self._own_path(route, link))

    def _own_path(self, route: Route, link: str) -> str:
        path = self._exchange.api.own_path(link, seen_at=self._exchange.api.url)
        if path is None:
            raise UnsafeRedirect(f"the next page of {route} is at a place that is not this API; it was not asked")
        return path


def _message(raw: Any) -> Message | None:
    return parse_message(raw) if isinstance(raw, dict) else None
