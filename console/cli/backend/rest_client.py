"""A client of the REST API of a console elsewhere: pages of a list, requests that are sent twice, and refusals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

import requests
from pydantic import TypeAdapter, ValidationError

from shared.errors import MailroomError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Self

T = TypeVar("T")

LONGEST_PAGE = 500  # rows
TIMEOUTS = (5.0, 60.0)  # seconds to connect, and to wait for an answer
NOT_FOUND = 404
CHUNK_BYTES = 256 * 1024


class ConsoleAway(MailroomError):
    """No Mailroom console answers at this address."""

    code = "console_away"


class RequestRefused(MailroomError):
    """The console refuses a request; `code` is that of its problem."""

    def __init__(self, status: int, code: str, message: str):
        super().__init__(message)
        self.status = status
        self.code = code


class _Bearer(requests.auth.AuthBase):
    """Sends the token; unlike a header of the session it is not replaced by an entry of a .netrc file."""

    def __init__(self, token: str):
        self._header = f"Bearer {token}"

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = self._header
        return request


class RestClient:
    """The API of a console, asked with a token. Raises ConsoleAway, and RequestRefused with the code of the problem."""

    def __init__(self, url: str, token: str):
        self._url = url
        self._session = requests.Session()
        self._session.auth = _Bearer(token)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def rows(self, kind: type[T], path: str, member: str, query: Mapping[str, str], *, limit: int) -> T:
        """Return the first rows of a list, under this member of its pages, as this type."""
        return read_as(kind, list(self.pages(path, member, query, limit=limit)))

    def pages(self, path: str, member: str, query: Mapping[str, str], *, limit: int | None = None) -> Iterator[Any]:
        """Yield the rows of a list, page by page."""
        after: dict[str, str] = {}
        while True:
            size = LONGEST_PAGE if limit is None else min(limit, LONGEST_PAGE)
            page = self.get(path, {**query, **after, "limit": str(size)})
            yield from page[member]
            limit = None if limit is None else limit - len(page[member])
            if page["next"] is None or limit == 0:
                return
            after = {"after": str(page["next"])}

    def find(self, kind: type[T], path: str) -> T | None:
        """Return what is at this path as this type; None if there is nothing."""
        try:
            return read_as(kind, self.get(path))
        except RequestRefused as refusal:
            if refusal.status == NOT_FOUND:
                return None
            raise

    def get(self, path: str, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Return the document at this path."""
        document: dict[str, Any] = self.send("GET", path, query=query).json()
        return document

    def create(self, path: str, body: object) -> dict[str, Any]:
        """Create something, and send the request once more when its answer is lost."""
        key = uuid4().hex
        try:
            answer = self.send("POST", path, body=body, key=key)
        except ConsoleAway:
            answer = self.send("POST", path, body=body, key=key)
        document: dict[str, Any] = answer.json()
        return document

    def stream(self, method: str, path: str, *, body: object = None) -> Iterator[bytes]:
        """Send a request, and return the body of its answer in pieces. Raises ConsoleAway where it breaks off."""
        with self._ask(method, path, json=body, stream=True) as answer:
            try:
                yield from answer.iter_content(CHUNK_BYTES)
            except requests.RequestException as error:
                raise ConsoleAway(f"the answer of {self._url} broke off ({type(error).__name__}); try again") from error

    def send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: object = None,
        key: str | None = None,
    ) -> requests.Response:
        """Send a request to this path below /api/v1, and return the answer."""
        return self._ask(method, path, params=query, json=body, headers={"Idempotency-Key": key})

    def _ask(self, method: str, path: str, **options: Any) -> requests.Response:
        try:
            answer = self._session.request(
                method,
                f"{self._url}/api/v1/{path}",
                timeout=TIMEOUTS,
                allow_redirects=False,  # a token goes nowhere else
                **options,
            )
        except requests.RequestException as error:
            raise ConsoleAway(f"{self._url} does not answer ({type(error).__name__}); check --url") from error
        if not answer.ok or answer.is_redirect:
            raise _refusal(answer)
        return answer


def _refusal(answer: requests.Response) -> MailroomError:
    if answer.headers.get("Content-Type") != "application/problem+json":
        place = answer.headers.get("Location")
        return ConsoleAway(
            f"{answer.url} is no console of Mailroom: it answered {answer.status_code}"
            + (f" and leads to {place}" if place else "")
        )
    problem = answer.json()
    faults = "".join(f"; {each['detail']}" for each in problem.get("errors", ()))
    return RequestRefused(answer.status_code, problem["code"], problem["detail"] + faults)


def read_as(kind: type[T], value: object) -> T:
    """Return a part of an answer as this type. Raises ConsoleAway where the console is of another release."""
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        [first, *_] = error.errors()
        place = ".".join(map(str, first["loc"]))
        raise ConsoleAway(f"the console is of another release: {place}: {first['msg']}") from None
