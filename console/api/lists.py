"""Lists that go on page by page: filter words and parameters that narrow them, and cursors that belong to one list."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from flask import request
from pydantic import Field

from console.api.blueprint import bound_tenant, current_actor
from console.api.problems import Fault, Invalid
from console.api.schemas import Parameters, ResponseBody
from console.filter_words import LONGEST, BadFilter, Words, read_words
from shared.db.tenants import tenants

if TYPE_CHECKING:
    from console.filter_words import FilteredList
    from shared.db.core.pool import Connection
    from shared.db.reading.filters import Filter

Row = TypeVar("Row")

LONGEST_PAGE = 500  # rows
LONGEST_CURSOR = 1_000  # characters
PAGING = frozenset({"limit", "after"})  # parameters that do not change what a list has


class ListQuery(Parameters):
    """A page of a list."""

    limit: int = Field(50, ge=1, le=LONGEST_PAGE, description="Most rows on a page")
    after: str | None = Field(None, max_length=LONGEST_CURSOR, description="`next` of the previous page")


class FilteredQuery(ListQuery):
    """A page of a list that filter words narrow. Each word is a parameter as well."""

    q: str = Field("", max_length=LONGEST, description="Filter words, as in `state:failed tenant:Acme since:2h`")
    tenant: str | None = Field(None, description="Only this tenant: its name or company id")
    state: str | None = Field(None, description="Only this state")
    code: str | None = Field(None, description="Only with this cause, as in front_unavailable")
    kind: str | None = Field(None, description="Only this kind of task, as in store_attachment")
    since: str | None = Field(None, description="Only from then on: 2h, 7d or a time")
    until: str | None = Field(None, description="Only before: 2h, 7d or a time")


class WorkQuery(FilteredQuery):
    """A page of a list of events or tasks."""

    type: str | None = Field(None, description="Only this type of event, as in inbound_received")
    conversation: str | None = Field(None, description="Only this conversation: Front's cnv_ id")


class ListPage(ResponseBody):
    """A page of a list."""

    next: str | None = Field(description="Where the next page begins; null: this is the last")


def read_filter(conn: Connection, query: FilteredQuery, listed: FilteredList) -> Filter:
    """Return the filter of a request, whose words are in `q` and in parameters.

    A token of one tenant sees that tenant alone. Raises BadFilter.
    """
    given = {name: value for name in listed.words if (value := getattr(query, name, None)) is not None}
    parts = [query.q, *(f"{name}:{shlex.quote(value)}" for name, value in given.items())]
    _, wanted = filter_of(conn, " ".join(parts), listed)
    return wanted


def filter_of(conn: Connection, text: str, listed: FilteredList) -> tuple[Words, Filter]:
    """Return the words of a text, and the filter that they stand for in this request. Raises BadFilter."""
    words = read_words(text, replace(listed, finds_ids=False))
    tenant_id = bound_tenant()
    if words.tenant is not None:
        found = tenants.find(conn, words.tenant)
        if found is None or not current_actor().sees(found.id):
            raise BadFilter(f"there is no tenant {words.tenant!r}")
        tenant_id = found.id
    return words, words.filter(tenant_id=tenant_id, now=datetime.now(UTC))


def cut(
    rows: Sequence[Row], limit: int, place: Callable[[Row], Sequence[str | int]]
) -> tuple[Sequence[Row], str | None]:
    """Return one page of rows of which one more than `limit` was read, and the cursor of the next page.

    `place` says after which keys the next page begins.
    """
    page = rows[:limit]
    return page, cursor(place(page[-1])) if len(rows) > len(page) else None


def cursor(place: Sequence[str | int]) -> str:
    """Return the cursor of this place in the list of the current request."""
    text = json.dumps([_list_digest(), *place], ensure_ascii=False)  # escapes would make an id of emoji thrice as long
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def place_after(after: str | None, *kinds: type) -> list[Any] | None:
    """Return the keys after which to go on, of these kinds; None at the beginning.

    Raises Invalid for a cursor of another list, of another filter or of nobody.
    """
    if after is None:
        return None
    try:
        place: list[Any]
        digest, *place = json.loads(base64.urlsafe_b64decode(after + "=" * (-len(after) % 4)))
    except (ValueError, TypeError, binascii.Error, RecursionError):
        digest, place = None, []
    if digest != _list_digest() or [type(each) for each in place] != list(kinds):
        raise _bad_cursor()
    return place


def number_after(after: str | None) -> int | None:
    """Return the number after which to go on; None at the beginning. Raises Invalid."""
    place = place_after(after, int)
    if place and not 0 <= place[0] < 2**63:
        raise _bad_cursor()
    return place and int(place[0])  # type: ignore[return-value]


def moment_after(after: str | None) -> tuple[datetime, int] | None:
    """Return the time and the number after which to go on; None at the beginning. Raises Invalid."""
    place = place_after(after, str, int)
    if place is None:
        return None
    try:
        moment = datetime.fromisoformat(place[0])
    except ValueError:
        raise _bad_cursor() from None
    if moment.tzinfo is None or not 0 <= place[1] < 2**63:
        raise _bad_cursor()
    return moment, place[1]


def _bad_cursor() -> Invalid:
    fault = Fault(code="bad_cursor", detail="no cursor of this list; send `next` as you got it", parameter="after")
    return Invalid("the list cannot be continued there", faults=[fault])


def _list_digest() -> str:
    """Return what tells this list from every other one: its route, its filter, and the token's tenant."""
    given = sorted((name, value) for name, value in request.args.items(multi=True) if name not in PAGING)
    parts = [request.endpoint, sorted((request.view_args or {}).items()), given, bound_tenant()]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
