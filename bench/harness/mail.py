"""Mail to the desks of companies: a stream of it, and one message that is timed."""

from __future__ import annotations

import itertools
import threading
import time
from typing import TYPE_CHECKING, Any, Self

from bench.harness.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.harness.small_front import SmallFront

#: Between two orders to the small Front.
SECONDS = 0.5
PAUSE_SECONDS = 0.5
GIVES_UP_AFTER = 60.0


def desk(company: str) -> str:
    """Return the address of this company's desk."""
    return f"desk@{company.replace('_', '-')}.example"


def order(company: str, **how: Any) -> dict[str, Any]:
    """Return an order for mail to a company's desk, whose conversation is to be archived."""
    return {"recipients": [{"handle": desk(company), "role": "to"}], "expect": "archived", **how}


class Mail:
    """Sends `per_second` messages to the desks of these companies in turns, as a context manager.

    An order is the mail of half a second to one company. Every `files_each`-th order brings files, and every
    `same_conversation_each`-th is about one conversation; 0: none is.
    """

    def __init__(
        self,
        front: SmallFront,
        companies: Sequence[str],
        *,
        per_second: float,
        files_each: int = 5,
        same_conversation_each: int = 0,
        **order: Any,
    ) -> None:
        self._front = front
        self._companies = itertools.cycle(companies)
        self._per_second = per_second
        self._files_each = files_each
        self._same_conversation_each = same_conversation_each
        self._order = order
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._send, name="mail", daemon=True)
        self._failure: Exception | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        if self._failure:
            raise self._failure

    def _send(self) -> None:
        try:
            for number in itertools.count():
                self._send_batch(number)
                if self._stop.wait(SECONDS):
                    return
        except Exception as error:  # noqa: BLE001 -- raised again where the run waits
            self._failure = error

    def _send_batch(self, number: int) -> None:
        company = next(self._companies)
        is_same = self._same_conversation_each and number % self._same_conversation_each == 0
        same = {"conversation": f"cnv_{company.removeprefix('cmp_')}x{number}"} if is_same else {}
        self._front.send(
            "inbound_received",
            company,
            **order(
                company,
                wait=False,
                count=max(1, round(self._per_second * SECONDS)),
                rate=self._per_second,
                attachment_count=int(number % self._files_each == 0),
                **same,
                **self._order,
            ),
        )


def seconds_to_change(front: SmallFront, company: str) -> float:
    """Send one message after a pause; return the seconds until its conversation was seen to be archived."""
    time.sleep(PAUSE_SECONDS)
    began = time.monotonic()
    [event] = front.send("inbound_received", company, **order(company))["events"]
    conversation = event["conversation_id"]
    wait_until(lambda: front.conversation(conversation)["status"] == "archived", GIVES_UP_AFTER, every=0.02)
    return time.monotonic() - began
