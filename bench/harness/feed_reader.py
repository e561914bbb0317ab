"""Follows the feed over the REST API, as a host application without an endpoint does, through all outages."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import requests

from bench.harness.processes import expect

if TYPE_CHECKING:
    from bench.harness.mailroom import Mailroom

CATCHES_UP_WITHIN = 120.0
PAUSE_SECONDS = 0.5
OK, GONE = 200, 410


@dataclass(frozen=True, kw_only=True)
class FeedItem:
    """A notification as the feed has it. `event` is Front's id; `endpoint_id` is that of one about an endpoint."""

    id: str
    type: str
    event: str | None
    position: str
    endpoint_id: int | None = None


class FeedReader:
    """Reads the feed in a thread, page after page, as a context manager; `items` has what it read."""

    def __init__(self, mailroom: Mailroom) -> None:
        self.items: list[FeedItem] = []
        #: Answers that a reader must never get.
        self.problems: list[str] = []
        self.failed_calls = 0
        self._mailroom = mailroom
        self._session = requests.Session()
        self._session.headers["Authorization"] = f"Bearer {mailroom.api_token('feed')}"
        self._after: str | None = None
        self._empty_since = float("inf")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="feed-reader", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._session.close()

    def catch_up(self) -> None:
        """Wait until a page is empty that was asked for after this call. Raises AssertionError without any in time."""
        began = time.monotonic()
        expect(lambda: began < self._empty_since < float("inf"), CATCHES_UP_WITHIN, "the feed is read to its end")

    def _follow(self) -> None:
        while not self._stop.is_set():
            try:
                self._read_page()
            except requests.RequestException:
                self.failed_calls += 1
                self._stop.wait(PAUSE_SECONDS)

    def _read_page(self) -> None:
        asked = time.monotonic()
        query: dict[str, Any] = {"limit": 200, "wait": 1, "include": "none", "after": self._after}  # None is left out
        answer = self._session.get(f"{self._mailroom.console_url}/api/v1/messages", params=query, timeout=30)
        if answer.status_code == GONE:
            self.problems.append(f"the feed refused a good cursor: {answer.json()['code']}")
            self._stop.set()
        answer.raise_for_status()
        page = answer.json()
        self.items += map(_item, page["messages"])
        self._after = page["next"]
        self._empty_since = asked if not page["messages"] and not page["has_more"] else float("inf")


def _item(content: dict[str, Any]) -> FeedItem:
    data = content["data"]
    return FeedItem(
        id=content["id"],
        type=content["type"],
        event=(data.get("front") or {}).get("event_id"),
        position=content["position"],
        endpoint_id=data.get("endpoint_id"),
    )
