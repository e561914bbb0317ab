"""One call of the API on its way to a handler, and the look-ups all handlers share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from sandbox.http_messages import HttpError, Response, error_response
from sandbox.models import Source
from sandbox.world import Cause

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox.front import Front
    from sandbox.grants import Grant
    from sandbox.http_messages import Request
    from sandbox.models import Company, Conversation, Key
    from sandbox.serializers import Serializer

Resource = TypeVar("Resource")


class WrongToken(HttpError):
    """The token is good, but the resource is another company's: Front says that there is none."""


class Merged(HttpError):
    """The conversation lives on under another id."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """A request with a valid token; `resource` is the id in its path."""

    front: Front
    request: Request
    grant: Grant
    at: float
    resource: str = ""

    @property
    def company(self) -> Company:
        """The company the token belongs to."""
        return self.front.world.companies[self.grant.company]

    @property
    def serializer(self) -> Serializer:
        """The printer of its resources."""
        return self.front.serializer(self.grant.company)

    @property
    def cause(self) -> Cause:
        """What Front names as the cause of a change made by this call."""
        return Cause(source=Source(type=self.grant.type), at=self.at)

    @property
    def key(self) -> Key:
        """Where the named resource is stored."""
        return (self.grant.company, self.resource)

    def find(self, kind: str, store: Mapping[Key, Resource]) -> Resource:
        """The named resource of the caller's company, or 404."""
        if (found := store.get(self.key)) is not None:
            return found
        response = error_response(404, f"Unknown {kind} ID {self.resource}")
        raise WrongToken(response) if self.front.world.belongs_elsewhere(*self.key) else HttpError(response)

    def conversation(self) -> Conversation:
        """The named conversation; 301 to the surviving one if it was merged."""
        world = self.front.world
        if self.key in world.merged:
            raise Merged(self.moved(world.surviving(self.key)[1]))
        return self.find("conversation", world.conversations)

    def moved(self, surviving_id: str) -> Response:
        """The 301 to the same path of another conversation, on the same host."""
        target = self.request.target.replace(self.resource, surviving_id, 1)
        return Response(status=301, headers={"Location": f"http://{self.request.host}{target}"})
