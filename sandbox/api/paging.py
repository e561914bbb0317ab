"""Front's pages: `limit`, `page_token`, and an absolute `next` that repeats the query."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlencode

from sandbox.http_messages import http_error

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sandbox.http_messages import Request

Item = TypeVar("Item")
Json = dict[str, Any]


def page(  # noqa: PLR0913 - a page has that many sides
    base: str,
    request: Request,
    items: Sequence[Item],
    *,
    mark: Callable[[Item], str],
    body: Callable[[Item], Json],
    most: int = 100,
    usual: int = 50,
) -> Json:
    """The page a request asks for. A token names the last item seen, so newcomers do not shift pages."""
    limit = _limit(request, most, usual)
    start = _start(request, items, mark)
    shown = items[start : start + limit]
    more = start + limit < len(items)
    following = _address(base, request, limit, mark(shown[-1])) if more else None
    return {
        "_pagination": {"next": following},
        "_links": {"self": base + request.target},
        "_results": [body(item) for item in shown],
    }


def _limit(request: Request, most: int, usual: int) -> int:
    given = request.first("limit")
    if given is None:
        return usual
    if not given.isdigit() or int(given) < 1:
        raise http_error(400, "Body did not satisfy requirements", details=["query.limit: should be number"])
    return min(int(given), most)


def _start(request: Request, items: Sequence[Item], mark: Callable[[Item], str]) -> int:
    token = request.first("page_token")
    if token is None:
        return 0
    places = (place for place, item in enumerate(items) if mark(item) == token)
    last = next(places, None)
    if last is None:
        raise http_error(400, "Invalid page token")
    return last + 1


def _address(base: str, request: Request, limit: int, token: str) -> str:
    kept = {name: values for name, values in request.query.items() if name not in {"limit", "page_token"}}
    query = urlencode({**kept, "limit": limit, "page_token": token}, doseq=True, safe="[]")
    return f"{base}{request.path}?{query}"


def whole(base: str, request: Request, results: list[Json]) -> Json:
    """A list that Front does not page."""
    return {"_links": {"self": base + request.path}, "_results": results}
