"""One tenant's requests to Front: each counts in the budget, goes to the configured API only, and is recorded."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from urllib.parse import SplitResult, unquote, urlencode, urlsplit

import requests
import tenacity

from shared.connection.budget import Budget, Reservation
from shared.errors import (
    BudgetExhausted,
    FrontRejected,
    FrontUnavailable,
    MailroomError,
    NeedsReconnect,
    ShuttingDown,
    UnclearAnswer,
)
from shared.front.answers import Answer, Route, failure, rate_limit
from shared.http.destinations import origin_of, resolve_link
from shared.http.transport import HttpClient, NoAnswer
from shared.models import Call, Token
from shared.process import tracing

MAX_TRIES: Final = 3
MAX_RETRY_SECONDS: Final = 10.0
MAX_ANSWER_BYTES: Final = 32 * 2**20
#: With any other character in a token, a library's error would repeat the header.
_TOKEN = re.compile(r"[\x21-\x7e]+")
#: Front answers with links to either host and serves every path on both: https://dev.frontapp.com/docs/base-url
_FRONT_HOSTS = re.compile(r"api2\.frontapp\.com|[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.api\.frontapp\.com")
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Api:
    """Front's API as configured. A token is sent only to URLs that begin with `url`."""

    url: str

    def path_of(self, link: str, *, base_url: str) -> str | None:
        """Return path and query of a link into this API, None when it leads to another place.

        When `url` is Front's, a link to a company's host of Front leads into this API too. The caller sends the request
        to `url`, and never to the host in the link.
        """
        base, target = urlsplit(self.url), resolve_link(link, base_url=base_url)
        if target is None or "@" in target.netloc or ".." in unquote(target.path):
            return None
        if origin_of(target) == origin_of(base):
            path = target.path.removeprefix(base.path) if target.path.startswith(base.path) else ""
        else:
            path = target.path if _is_front_host(base) and _is_front_host(target) else ""
        if not path.startswith("/"):
            return None
        return f"{path}?{target.query}" if target.query else path


class Exchange:
    """Front's API for one tenant, on one thread. `calls` has an entry for every request that was tried."""

    def __init__(self, *, api: Api, budget: Budget, token: Token, http: HttpClient, reservation: Reservation):
        self.api = api
        self.http = http
        self.calls: list[Call] = []
        self._budget = budget
        self._token = token
        self._reservation = reservation

    def reserve(self, calls: int) -> float:
        """Do what `Budget.reserve` does for the tenant's company."""
        return self._budget.reserve(self._token.company_id, self._reservation, calls)

    def release(self, *, wasted: int) -> None:
        """Give unused calls back, and note so many used ones as made in vain."""
        self._budget.release(self._token.company_id, self._reservation)
        if wasted:
            self._budget.note_wasted(self._token.company_id, wasted)

    def send(self, route: Route, path: str, *, query: Mapping[str, Any] | None = None, body: Any = None) -> Answer:
        """Return the whole answer: 2xx, or 301 where a merge may have moved the conversation. Raises for any other.

        `path` is relative to the API's URL, and may have a query already, as the path of a next page does.
        """
        try:
            with self.open(route, _with_query(path, query), body=body) as response:
                return self._read_answer(route, response)
        except NoAnswer as exc:
            raise _no_answer_error(route, exc) from None

    @contextmanager
    def open(self, route: Route, path: str, *, body: Any = None) -> Iterator[requests.Response]:
        """Return the answer as soon as its headers have arrived, whatever its status. Raises NoAnswer."""
        self._budget.use(self._token.company_id, self._reservation)
        started = time.monotonic()
        response: requests.Response | None = None
        try:
            with (
                tracing.part("front.call", method=route.method, route=route.path) as span,
                self.http.open(route.method, self.api.url + path, headers=self._headers(route), body=body) as response,
            ):
                span.note(status=response.status_code)
                self._learn(response)
                yield response
        finally:
            self.calls.append(_call(route, path, response, started))

    def raise_for_status(self, route: Route, answer: Answer) -> None:
        """Raise the error that the answer's status stands for. A 429 pauses the whole company."""
        error = failure(route, answer, now=time.time())
        if isinstance(error, BudgetExhausted):
            self._budget.pause(self._token.company_id, error.retry_after)
        if error:
            raise error

    def _read_answer(self, route: Route, response: requests.Response) -> Answer:
        body = self.http.read(response, max_bytes=MAX_ANSWER_BYTES)
        if body is None:
            raise FrontRejected(
                f"Front's answer to {route} is over {MAX_ANSWER_BYTES} bytes; it was not read to the end"
            )
        answer = Answer(status=response.status_code, headers=response.headers, body=body)
        self.raise_for_status(route, answer)
        return answer

    def _headers(self, route: Route) -> dict[str, str]:
        if not _TOKEN.fullmatch(self._token.access_token):
            raise NeedsReconnect("the stored token is none of Front's; connect the tenant again")
        return {
            "Authorization": f"Bearer {self._token.access_token}",
            "Accept": route.accept,
            "Accept-Encoding": "identity",  # a compressed answer could expand without limit
        }

    def _learn(self, response: requests.Response) -> None:
        seen = rate_limit(response.headers)
        self._budget.learn(self._token.company_id, limit=seen.limit, remaining=seen.remaining, reset_at=seen.reset_at)


def with_retries(read: Callable[[], T], *, stop: threading.Event) -> T:
    """Return the result of `read`, with up to 3 tries in 10 seconds. Raises ShuttingDown when `stop` ends a wait.

    Not for writes: a second write may be a second change.
    """

    def sleep(seconds: float) -> None:
        if stop.wait(seconds):
            raise ShuttingDown("this worker is stopping; the task goes back")

    retrying = tenacity.Retrying(
        stop=tenacity.stop_after_attempt(MAX_TRIES) | tenacity.stop_before_delay(MAX_RETRY_SECONDS),
        wait=tenacity.wait_random_exponential(multiplier=0.25, max=2),
        retry=tenacity.retry_if_exception(_may_succeed_soon),
        sleep=sleep,
        reraise=True,
    )
    return retrying(read)


def _may_succeed_soon(error: BaseException) -> bool:
    """Whether Front cannot be reached or fails, and has not said how long to wait."""
    return isinstance(error, FrontUnavailable) and not error.retry_after


def _is_front_host(url: SplitResult) -> bool:
    scheme, host, port = origin_of(url)
    return scheme == "https" and port == 443 and _FRONT_HOSTS.fullmatch(host or "") is not None


def _with_query(path: str, query: Mapping[str, Any] | None) -> str:
    return f"{path}?{urlencode(query, doseq=True)}" if query else path


def _call(route: Route, path: str, response: requests.Response | None, started: float) -> Call:
    return Call(
        method=route.method,
        path=path.partition("?")[0],
        status=None if response is None else response.status_code,
        milliseconds=round((time.monotonic() - started) * 1000),
        budget_left=None if response is None else rate_limit(response.headers).remaining,
    )


def _no_answer_error(route: Route, exc: NoAnswer) -> MailroomError:
    if route.is_write and exc.sent:
        return UnclearAnswer(f"{route} {exc}; whether it happened is read before anything is sent again")
    return FrontUnavailable(f"{route} {exc}; it is tried again later")
