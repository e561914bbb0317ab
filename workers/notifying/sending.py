"""Sends one notification over HTTP, within a deadline, to an allowed address only, without following redirects."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from urllib.parse import urlsplit

from shared import installed_version
from shared.errors import UnsafeRedirect
from shared.host.endpoint_rules import Networks, may_connect
from shared.http.transport import HttpClient, NoAnswer
from workers.notifying.decisions import EndpointAnswer, parse_retry_after

#: Hosts can tell us from other senders by it.
USER_AGENT = f"mailroom/{installed_version() or 'source'}"
#: Of the wall clock, from the first byte sent to the whole head of the answer.
ANSWER_SECONDS = 20.0
#: So much of an answer's body is read, so that the connection can be used again. Its content means nothing.
_MOST_BODY = 64 * 1024


@dataclass(frozen=True, kw_only=True)
class SendResult:
    """The answer to a notification, and how long it took."""

    answer: EndpointAnswer
    seconds: float


class EndpointClient:
    """Sends notifications. All threads of a process share one."""

    def __init__(self, *, networks: Networks, answer_seconds: float = ANSWER_SECONDS):
        self._networks = networks
        self._answer_seconds = answer_seconds
        self._thread = threading.local()

    def send(self, url: str, body: bytes, *, headers: Mapping[str, str], until: float) -> SendResult:
        """POST the body. It ends by `until`, of the monotonic clock, or earlier: an answer that drips in is cut off."""
        began = time.monotonic()
        client = self._client(urlsplit(url).scheme)
        with client.until(min(until, began + self._answer_seconds)):
            answer = _ask(client, url, body, headers)
        return SendResult(answer=answer, seconds=time.monotonic() - began)

    def _client(self, scheme: str) -> HttpClient:
        """Return this thread's client for the scheme: plain http has fewer addresses."""
        clients: dict[str, HttpClient] = self._thread.__dict__.setdefault("clients", {})
        if scheme not in clients:
            allowed = partial(may_connect, scheme=scheme, networks=self._networks)
            clients[scheme] = HttpClient(user_agent=USER_AGENT, is_allowed=allowed, idle_seconds=self._answer_seconds)
        return clients[scheme]


def _ask(client: HttpClient, url: str, body: bytes, headers: Mapping[str, str]) -> EndpointAnswer:
    status, wish, retry_after = None, "", None
    try:
        with client.open("POST", url, headers=headers, form=body) as response:
            status = response.status_code
            wish = response.headers.get("webhook-delivery", "")
            retry_after = parse_retry_after(response.headers.get("retry-after"), now=datetime.now(UTC))
            client.read(response, max_bytes=_MOST_BODY)
    except UnsafeRedirect:
        return EndpointAnswer(problem="was not asked: its address is not public, nor in ENDPOINT_NETWORKS")
    except NoAnswer as exc:
        if status is None:
            return EndpointAnswer(problem="gave no answer in time" if exc.timed_out else f"gave no answer: it {exc}")
    return EndpointAnswer(status=status, wish=wish, retry_after=retry_after)
