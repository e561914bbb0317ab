"""One API call with a valid token, and what all handlers need: look-ups and paging."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlencode

from sandbox.http_messages import HttpError, Response, error_response, http_error
from sandbox.models import Source
from sandbox.world import Cause

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sandbox.front import Front
    from sandbox.grants import Grant
    from sandbox.http_messages import Request
    from sandbox.models import Company, Conversation, Key
    from sandbox.serializers import Json, Serializer

Resource = TypeVar("Resource")
Item = TypeVar("Item")


class WrongToken(HttpError):
    """The resource belongs to another company. Front answers as if it did not exist."""


class ConversationMerged(HttpError):
    """The conversation was merged into another one: a redirect to that one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """A request with a valid token. `resource` is the id in its path."""

    front: Front
    request: Request
    grant: Grant
    at: float
    resource: str = ""

    @property
    def company(self) -> Company:
        """The company of the token."""
        return self.front.world.companies[self.grant.company]

    @property
    def serializer(self) -> Serializer:
        """The serializer of the company's resources."""
        return self.front.serializer(self.grant.company)

    @property
    def cause(self) -> Cause:
        """The cause of the events that this call leads to."""
        return Cause(source=Source(type=self.grant.type), at=self.at)

    @property
    def key(self) -> Key:
        """The key of the resource."""
        return (self.grant.company, self.resource)

    def find(self, kind: str, store: Mapping[Key, Resource]) -> Resource:
        """Return the resource, or raise a 404."""
        if (found := store.get(self.key)) is not None:
            return found
        response = error_response(404, f"Unknown {kind} ID {self.resource}")
        raise WrongToken(response) if self.front.world.belongs_elsewhere(*self.key) else HttpError(response)

    def conversation(self) -> Conversation:
        """Return the conversation, or raise a 404; for a merged one, a 301 to the same path of the surviving one."""
        world = self.front.world
        if self.key in world.merged:
            surviving_id = world.surviving(self.key)[1]
            target = self.request.target.replace(self.resource, surviving_id, 1)
            location = f"{self.company.host or f'http://{self.request.host}'}{target}"
            raise ConversationMerged(Response(status=301, headers={"Location": location}))
        return self.find("conversation", world.conversations)

    def page(
        self,
        items: Sequence[Item],
        *,
        item_id: Callable[[Item], str],
        serialize: Callable[[Item], Json],
        max_limit: int = 100,
        default_limit: int = 50,
    ) -> Json:
        """Serialize the page that the request asks for: `limit`, `page_token`, and an absolute URL for the next page.

        The token names the last item seen, so that new items do not shift the pages.
        """
        limit = self._limit(max_limit, default_limit)
        start = self._start(items, item_id)
        shown = items[start : start + limit]
        has_more = start + limit < len(items)
        return {
            "_pagination": {"next": self._next_url(limit, item_id(shown[-1])) if has_more else None},
            "_links": {"self": self.serializer.base + self.request.target},
            "_results": [serialize(item) for item in shown],
        }

    def unpaged(self, results: list[Json]) -> Json:
        """A list that Front sends without pages."""
        return {"_links": {"self": self.serializer.base + self.request.path}, "_results": results}

    def _limit(self, max_limit: int, default_limit: int) -> int:
        given = self.request.first("limit")
        if given is None:
            return default_limit
        if not given.isdigit() or int(given) < 1:
            raise http_error(400, "Body did not satisfy requirements", details=["query.limit: should be number"])
        return min(int(given), max_limit)

    def _start(self, items: Sequence[Item], item_id: Callable[[Item], str]) -> int:
        token = self.request.first("page_token")
        if token is None:
            return 0
        places = (place for place, item in enumerate(items) if item_id(item) == token)
        last = next(places, None)
        if last is None:
            raise http_error(400, "Invalid page token")
        return last + 1

    def _next_url(self, limit: int, token: str) -> str:
        kept = {name: values for name, values in self.request.query.items() if name not in {"limit", "page_token"}}
        query = urlencode({**kept, "limit": limit, "page_token": token}, doseq=True, safe="[]")
        return f"{self.serializer.base}{self.request.path}?{query}"
