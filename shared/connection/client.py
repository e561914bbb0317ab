"""A tenant's connection to Front for one attempt or command, with a newer token when Front refuses the first."""

from __future__ import annotations

from shared.connection.budget import Reservation
from shared.connection.tokens import FrontResources, current_token, decrypted_token
from shared.connection.vault import UnreadableSecret
from shared.db.tenants import connections
from shared.front.client import TenantClient
from shared.models import Call, Grant, Token


class TenantConnection:
    """The tenant's token and the client that uses it. Both are made when they are first needed.

    `reservation` says how the calls take part in Front's budget. A caller that has just read the tenant's `grant`
    passes it on.
    """

    def __init__(
        self,
        resources: FrontResources,
        tenant_id: int,
        *,
        reservation: Reservation | None = None,
        grant: Grant | None = None,
    ):
        self._resources = resources
        self._reservation = reservation or Reservation()
        self._tenant_id = tenant_id
        self._grant = grant
        self._front: TenantClient | None = None
        self._token: Token | None = None
        self._calls_before: list[Call] = []

    @property
    def calls(self) -> list[Call]:
        """Return the requests that were sent to Front so far."""
        return self._calls_before + (self._front.calls if self._front else [])

    @property
    def token_version(self) -> int:
        """Return the version of the token in use, 0 when none was needed yet."""
        return self._token.version if self._token else 0

    def front(self) -> TenantClient:
        """Return Front's API as the tenant. Raises NeedsReconnect when it has no token, TokenUnavailable."""
        return self._front or self._use(current_token(self._resources, self._tenant_id, grant=self._grant))

    def front_as_another_tenant(self) -> TenantClient | None:
        """Return Front's API as some other tenant, to test whether Front answers. None when there is no such tenant."""
        grant = self._resources.pool.run(lambda conn: connections.grant_of_another_tenant(conn, self._tenant_id))
        try:
            return self._client(decrypted_token(self._resources, grant), Reservation()) if grant else None
        except UnreadableSecret:
            return None

    def renew(self) -> bool:
        """Replace the token that Front refused. False when there is no other one."""
        if self._token is None:
            return False
        token = current_token(self._resources, self._tenant_id, refused=self._token.version)
        if token.version == self._token.version:
            return False
        self._use(token)
        return True

    def release(self, *, wasted: int) -> None:
        """Give back the calls to Front that were reserved and not made; so many of the others were made in vain."""
        if self._front:
            self._front.release(wasted=wasted)

    def _use(self, token: Token) -> TenantClient:
        self._calls_before = self.calls
        self._token = token
        self._front = self._client(token, self._reservation)
        return self._front

    def _client(self, token: Token, reservation: Reservation) -> TenantClient:
        return self._resources.front.for_tenant(token, stop=self._resources.stop, reservation=reservation)
