"""One tenant's requests to Front: each takes from the budget, goes to the configured API only, and is noted."""

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

from shared.connection.budget import Budget
from shared.errors import (
    BudgetExhausted,
    FrontRejected,
    FrontUnavailable,
    MailroomError,
    NeedsReconnect,
    ShuttingDown,
    UnclearAnswer,
)
from shared.front.answers import Answer, Route, allowance, failure
from shared.http.destinations import origin_of, resolve_link
from shared.http.transport import Line, NoAnswer
from shared.models import Call, Token

MOST_TRIES: Final = 3
MOST_SECONDS: Final = 10.0
T = TypeVar("T")

MOST_BYTES = 32 * 2**20
#: Anything else would end in a library's error that repeats the header.
_TOKEN = re.compile(r"[\x21-\x7e]+")


# Front answers with links to either host and serves every path on both:
# https://dev.frontapp.com/docs/base-url
_FRONTS_HOSTS = re.compile(r"api2\.frontapp\.com|[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.api\.frontapp\.com")


@dataclass(frozen=True, kw_only=True)
class Api:
    """Front's API as configured. Every URL a token is sent to starts with `url`."""

    url: str

    def own_path(self, link: str, *, seen_at: str) -> str | None:
        """Path and query of a link that means this API, None when it means another place.

        Front's company hosts are this API too when it is Front's; the caller asks `url`, never the link's own host.
        """
        base, target = urlsplit(self.url), resolve_link(link, seen_at=seen_at)
        if target is None or "@" in target.netloc or ".." in unquote(target.path):
            return None
        if origin_of(target) == origin_of(base):
            path = target.path.removeprefix(base.path) if target.path.startswith(base.path) else ""
        else:
            path = target.path if _is_fronts(base) and _is_fronts(target) else ""
        if not path.startswith("/"):
            return None
        return f"{path}?{target.query}" if target.query else path


def _is_fronts(url: SplitResult) -> bool:
    scheme, host, port = origin_of(url)
    return scheme == "https" and port == 443 and _FRONTS_HOSTS.fullmatch(host or "") is not None


def patiently(ask: Callable[[], T], *, stop: threading.Event) -> T:
    """What `ask` returns, within 3 tries and 10 seconds. Never for writes: a second one may be a second change."""

    def sleep(seconds: float) -> None:
        if stop.wait(seconds):
            raise ShuttingDown("this worker is stopping; the task goes back")

    retrying = tenacity.Retrying(
        stop=tenacity.stop_after_attempt(MOST_TRIES) | tenacity.stop_before_delay(MOST_SECONDS),
        wait=tenacity.wait_random_exponential(multiplier=0.25, max=2),
        retry=tenacity.retry_if_exception(_may_pass_soon),
        sleep=sleep,
        reraise=True,
    )
    return retrying(ask)


def _may_pass_soon(error: BaseException) -> bool:
    """Front unreachable or failing, unless it has named a time itself."""
    return isinstance(error, FrontUnavailable) and not error.retry_after


class Exchange:
    """Front as one tenant sees it, on one thread. `calls` grows by one for every request that was tried."""

    def __init__(self, *, api: Api, budget: Budget, token: Token, line: Line, reserved_share: float = 0.0):
        self.api = api
        self.line = line
        self.calls: list[Call] = []
        self._budget = budget
        self._token = token
        self._reserved_share = reserved_share

    def ask(self, route: Route, path: str, *, query: Mapping[str, Any] | None = None, body: Any = None) -> Answer:
        """The whole answer: 2xx, or 301 where a merge may have moved the conversation. Any other raises what it means.

        `path` is below the API's URL and may carry a query already (a page's successor).
        """
        try:
            with self.open(route, _with_query(path, query), body=body) as response:
                return self._whole(route, response)
        except NoAnswer as exc:
            raise _silence(route, exc) from None

    @contextmanager
    def open(self, route: Route, path: str, *, body: Any = None) -> Iterator[requests.Response]:
        """The answer as soon as its headers are here, whatever its status. Raises NoAnswer."""
        self._budget.take(self._token.company_id, reserved_share=self._reserved_share)
        started = time.monotonic()
        response: requests.Response | None = None
        try:
            with self.line.open(route.method, self.api.url + path, headers=self._headers(), body=body) as response:
                self._learn(response)
                yield response
        finally:
            self.calls.append(_noted(route, path, response, started))

    def refuse(self, route: Route, answer: Answer) -> None:
        """Raise what the answer's status means; a 429 keeps the whole company waiting."""
        error = failure(route, answer, now=time.time())
        if isinstance(error, BudgetExhausted):
            self._budget.pause(self._token.company_id, error.retry_after)
        if error:
            raise error

    def _whole(self, route: Route, response: requests.Response) -> Answer:
        body = self.line.read(response, most=MOST_BYTES)
        if body is None:
            raise FrontRejected(f"Front's answer to {route} is over {MOST_BYTES} bytes; it was not read to the end")
        answer = Answer(status=response.status_code, headers=response.headers, body=body)
        self.refuse(route, answer)
        return answer

    def _headers(self) -> dict[str, str]:
        if not _TOKEN.fullmatch(self._token.access_token):
            raise NeedsReconnect("the stored token is none of Front's; connect the tenant again")
        return {
            "Authorization": f"Bearer {self._token.access_token}",
            "Accept": "application/json",
            "Accept-Encoding": "identity",  # nothing to inflate, nothing to explode
        }

    def _learn(self, response: requests.Response) -> None:
        said = allowance(response.headers)
        self._budget.learn(self._token.company_id, limit=said.limit, remaining=said.remaining, reset_at=said.reset_at)


def _with_query(path: str, query: Mapping[str, Any] | None) -> str:
    return f"{path}?{urlencode(query, doseq=True)}" if query else path


def _noted(route: Route, path: str, response: requests.Response | None, started: float) -> Call:
    return Call(
        method=route.method,
        path=path.partition("?")[0],
        status=None if response is None else response.status_code,
        milliseconds=round((time.monotonic() - started) * 1000),
        budget_left=None if response is None else allowance(response.headers).remaining,
    )


def _silence(route: Route, exc: NoAnswer) -> MailroomError:
    if route.is_write and exc.sent:
        return UnclearAnswer(f"{route} {exc}; whether it happened is read before anything is sent again")
    return FrontUnavailable(f"{route} {exc}; it is tried again later")
