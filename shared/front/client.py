"""Front's API as a tenant: reads, which are retried; writes, which are sent once; and downloads."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime
from functools import partial
from itertools import count
from typing import Any, Final, Literal, TypeVar

from shared.connection.budget import Budget, Reservation
from shared.errors import ConversationMoved, FrontRejected, UnsafeRedirect
from shared.front import answers
from shared.front.answers import MOVED, Answer, Route, parse_answer
from shared.front.download import Download, Downloads
from shared.front.envelope import front_id, parse_message
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
from shared.front.tenant_requests import Api, Exchange, with_retries
from shared.http.destinations import is_public, location
from shared.http.transport import CallDeadlines, HttpClient
from shared.models import Call, EventPage, Message, Token

MAX_PAGES: Final = 20
#: A conversation may be merged into one that was merged itself.
MAX_MERGES: Final = 3
_CONVERSATION_PATH: Final = re.compile(r"/conversations/(cnv_[A-Za-z0-9]+)(?:[/?].*)?")
Status = Literal["archived", "deleted", "open"]
T = TypeVar("T")


class FrontClient:
    """Front's API. All threads and tenants of a process share one client."""

    def __init__(
        self, api_url: str, budget: Budget, *, user_agent: str = "mailroom", deadlines: CallDeadlines | None = None
    ):
        self._api = Api(url=api_url.rstrip("/"))
        self._budget = budget
        self._user_agent = user_agent
        self._deadlines = deadlines or CallDeadlines()
        self._thread = threading.local()

    def for_tenant(
        self, token: Token, *, stop: threading.Event | None = None, reservation: Reservation | None = None
    ) -> TenantClient:
        """Return the API as this tenant, for this thread only. Setting `stop` ends waits and downloads.

        `reservation`: calls are taken from it, as long as it has any.
        """
        http, file_http = self._http_clients()
        exchange = Exchange(
            api=self._api, budget=self._budget, token=token, http=http, reservation=reservation or Reservation()
        )
        return TenantClient(exchange, file_http=file_http, deadlines=self._deadlines, stop=stop or threading.Event())

    def _http_clients(self) -> tuple[HttpClient, HttpClient]:
        """Return this thread's clients: for the API, and for files on servers with public addresses."""
        if not hasattr(self._thread, "http_clients"):
            new_client = partial(HttpClient, user_agent=self._user_agent)
            self._thread.http_clients = new_client(), new_client(is_allowed=is_public)
        clients: tuple[HttpClient, HttpClient] = self._thread.http_clients
        return clients


class TenantClient:
    """Front's API with one tenant's token. Every method raises errors of shared.errors only."""

    def __init__(self, exchange: Exchange, *, file_http: HttpClient, deadlines: CallDeadlines, stop: threading.Event):
        self._exchange = exchange
        self._downloads = Downloads(exchange, file_http=file_http, deadlines=deadlines, stop=stop)
        self._deadlines = deadlines
        self._stop = stop

    @property
    def calls(self) -> list[Call]:
        """Return the requests tried so far, in order."""
        return self._exchange.calls

    def reserve(self, calls: int) -> float:
        """Reserve all of the next calls at once. Raises BudgetExhausted, and then reserves none.

        Returns the seconds for which the company's backlog should rest, 0 for none.
        """
        return self._exchange.reserve(calls)

    def release(self, *, wasted: int = 0) -> None:
        """Give back the reserved calls that were not made, and note so many of the others as made in vain."""
        self._exchange.release(wasted=wasted)

    def until(self, deadline: float) -> AbstractContextManager[None]:
        """Set a deadline, a time of the monotonic clock: nothing inside is sent or waited for later."""
        return self._exchange.http.until(deadline)

    def me(self) -> Identity:
        """Return the company that the token belongs to."""
        return parse_answer(answers.ME, parse_identity, self._read(answers.ME, answers.ME.path))

    def conversation(self, conversation_id: str) -> Conversation:
        """Return the conversation as it is now, or the surviving one when it was merged."""
        answer = self._read_conversation(answers.CONVERSATION, conversation_id)
        return parse_answer(answers.CONVERSATION, parse_conversation, answer)

    def conversation_events(self, conversation_id: str, *, since: datetime) -> list[ConversationEvent]:
        """Return the conversation's events from `since` on, newest first. Events without a time are included."""
        route, events = answers.CONVERSATION_EVENTS, list[ConversationEvent]()
        with self._exchange.http.within(self._deadlines.pages):
            first = self._read_conversation(route, conversation_id, limit=100)
            for page in self._pages(route, first, max_pages=MAX_PAGES):
                found = [event for event in map(parse_event, page) if event]
                events += [event for event in found if event.emitted_at is None or event.emitted_at >= since]
                if any(event.emitted_at and event.emitted_at < since for event in found):
                    break
        return events

    def inboxes(self) -> list[Inbox]:
        """Return all inboxes that the token can see, private ones included."""
        return self._all(answers.INBOXES, parse_inbox)

    def channels(self) -> list[Channel]:
        """Return all channels that the token can see, private ones included."""
        return self._all(answers.CHANNELS, parse_channel)

    def teammates(self) -> list[Teammate]:
        """Return all teammates, bots and blocked people included."""
        return self._all(answers.TEAMMATES, parse_teammate)

    def events(
        self, *, types: Sequence[str], after: datetime, before: datetime, inboxes: Sequence[str] = ()
    ) -> EventPage:
        """Return the first page of the company's events, oldest first. Without `inboxes`, all inboxes count."""
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

    def more_events(self, next_path: str) -> EventPage:
        """Return the page that follows another. Raises FrontRejected when Front has forgotten it."""
        return self._event_page(self._read(answers.EVENTS, next_path))

    def _event_page(self, answer: Answer) -> EventPage:
        found, link = parse_answer(answers.EVENTS, parse_page, answer)
        return EventPage(events=tuple(found), next_path=self._page_path(answers.EVENTS, link) if link else None)

    def message(self, message_id: str) -> Message:
        """Return the message with its recipients and attachments."""
        answer = self._read(answers.MESSAGE, answers.MESSAGE.path.format(id=front_id(message_id)))
        return parse_answer(answers.MESSAGE, _message, answer)

    def latest_message(self, conversation_id: str) -> Message:
        """Return the conversation's latest message. Raises FrontRejected when it has none."""
        route = answers.CONVERSATION_MESSAGES
        answer = self._read_conversation(route, conversation_id, limit=1)
        messages, _ = parse_answer(route, parse_page, answer)
        if not messages:
            raise FrontRejected(f"Front's answer to {route} holds no message; there is nothing to read")
        return _fetched(messages[0])

    def set_status(self, conversation_id: str, status: Status) -> None:
        """Archive, trash (`deleted`) or reopen, once. Raises UnclearAnswer; after ConversationMoved nothing changed."""
        self._write(answers.SET_STATUS, conversation_id, {"status": status})

    def add_tag(self, conversation_id: str, tag_id: str) -> None:
        """Add one tag, once. Raises UnclearAnswer; after ConversationMoved nothing changed."""
        self._write(answers.ADD_TAG, conversation_id, {"tag_ids": [front_id(tag_id)]})

    def remove_tag(self, conversation_id: str, tag_id: str) -> None:
        """Remove one tag, once. Raises UnclearAnswer; after ConversationMoved nothing changed."""
        self._write(answers.REMOVE_TAG, conversation_id, {"tag_ids": [front_id(tag_id)]})

    def download(
        self, attachment_id: str, *, max_bytes: int, announced: int | None = None
    ) -> AbstractContextManager[Download]:
        """Return the file's bytes as they arrive. `announced`: the size that its message names, if it does.

        Raises AttachmentTooLarge, SizeMismatch, and DownloadIncomplete when they end early.
        """
        return self._downloads.open(attachment_id, max_bytes=max_bytes, announced=announced)

    def _read(self, route: Route, path: str, **query: Any) -> Answer:
        with self._exchange.http.within(self._deadlines.call):
            return with_retries(lambda: self._exchange.send(route, path, query=query), stop=self._stop)

    def _read_conversation(self, route: Route, conversation_id: str, **query: Any) -> Answer:
        """Read the conversation, or the one that it was merged into."""
        with self._exchange.http.within(self._deadlines.call):
            path = route.path.format(id=front_id(conversation_id))
            for _ in range(MAX_MERGES + 1):
                answer = self._read(route, path, **query)
                if answer.status != MOVED:
                    return answer
                path = route.path.format(id=self._surviving_id(route, path, answer))
        raise UnsafeRedirect(f"{route} was redirected {MAX_MERGES + 1} times; it was not followed further")

    def _write(self, route: Route, conversation_id: str, body: dict[str, Any]) -> None:
        """Send the change once. A merge is not followed, because the caller decides what it means for the change."""
        with self._exchange.http.within(self._deadlines.call):
            path = route.path.format(id=front_id(conversation_id))
            answer = self._exchange.send(route, path, body=body)
            if answer.status == MOVED:
                surviving_id = self._surviving_id(route, path, answer)
                raise ConversationMoved(
                    f"{route} says that the conversation was merged into {surviving_id}",
                    merged_id=conversation_id,
                    surviving_id=surviving_id,
                )

    def _surviving_id(self, route: Route, path: str, answer: Answer) -> str:
        """Return the id of the conversation that a redirect names. Raises UnsafeRedirect when it names no other one."""
        link = location(answer.headers.get("location", ""))
        target = self._exchange.api.path_of(link, base_url=self._exchange.api.url + path) or ""
        found = _CONVERSATION_PATH.fullmatch(target)
        if found is None or target == path:
            raise UnsafeRedirect(
                f"{route} was redirected to something that is no other conversation of this API; it was not followed"
            )
        return found.group(1)

    def _all(self, route: Route, parse: Callable[[Any], T | None]) -> list[T]:
        """Return all elements of a list. Front does not page it today, but pages would be followed."""
        pages = self._pages(route, self._read(route, route.path), max_pages=MAX_PAGES)
        return [element for page in pages for element in map(parse, page) if element]

    def _pages(self, route: Route, answer: Answer, *, max_pages: int) -> Iterator[list[dict[str, Any]]]:
        """Follow a list from page to page. The configured API is asked for each page, whatever host a link names."""
        for number in count(1):
            elements, link = parse_answer(route, parse_page, answer)
            yield elements
            if link is None:
                return
            if number == max_pages:
                raise FrontRejected(f"{route} goes on after {max_pages} pages; it was not read to the end")
            answer = self._read(route, self._page_path(route, link))

    def _page_path(self, route: Route, link: str) -> str:
        path = self._exchange.api.path_of(link, base_url=self._exchange.api.url)
        if path is None:
            raise UnsafeRedirect(f"the next page of {route} is at a place that is not this API; it was not asked")
        return path


def _message(raw: Any) -> Message | None:
    return _fetched(raw) if isinstance(raw, dict) else None


def _fetched(raw: dict[str, Any]) -> Message:
    return replace(parse_message(raw), fetched=json.dumps(raw).encode())
