"""Add, test, hold, release and remove the endpoints of the host application, and change their secrets."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from console.operations.audited import Change, Run, carry_out
from shared.db.host import endpoints, outbox
from shared.db.host.endpoints import Endpoint, NewEndpoint
from shared.errors import MailroomError, StoreUnavailable
from shared.host import signature
from shared.host.endpoint_rules import (
    BadEndpoint,
    shown_url,
    step_name,
    validated_name,
    validated_types,
    validated_url,
)
from shared.host.notification import MESSAGE_TYPES

if TYPE_CHECKING:
    from collections.abc import Callable

    from console.access.actor import Actor
    from shared.connection.vault import TokenVault
    from shared.db.core.pool import Connection
    from shared.host.endpoint_rules import Networks

T = TypeVar("T")

#: After a rotation the secret before signs as well for so long: time to bring the new one to the host application.
PREVIOUS_VALID_FOR = timedelta(hours=24)
#: A test waits for its number through so many numberings.
NUMBERINGS = 100
LONGEST_OVERLAP = timedelta(days=30)


class UnknownEndpoint(MailroomError):
    """There is no such endpoint."""

    code = "unknown_endpoint"


class EndpointMovedOn(MailroomError):
    """The endpoint is held already, or open already."""

    code = "endpoint_moved_on"


@dataclass(frozen=True, kw_only=True)
class NewSecret:
    """A secret as it is given out; it cannot be read again."""

    endpoint: Endpoint
    secret: str


def add_endpoint(run: Run, actor: Actor, new: NewEndpoint, vault: TokenVault, networks: Networks) -> NewSecret:
    """Add an endpoint, and return it with its secret. Raises NotAllowed, BadEndpoint, EndpointTaken.

    A step gets notifications about messages, unless others are named.
    """
    is_step = step_name(new.url.strip()) is not None
    if is_step and actor.tenant_id is not None:
        raise BadEndpoint("a step is the installation's own; only a token for all tenants may add one")
    checked = NewEndpoint(
        name=validated_name(new.name),
        url=validated_url(new.url, networks),
        tenant_id=new.tenant_id,
        types=validated_types(new.types or (MESSAGE_TYPES if is_step else ())),
        include=new.include,
    )
    secret = signature.encode_secret(secrets.token_bytes(signature.SECRET_BYTES))
    after = {"url": shown_url(checked.url), "types": checked.types, "include": checked.include}
    change = Change(
        verb="endpoints", target=f"endpoint {checked.name}", tenant_id=new.tenant_id, after=after, detail="added"
    )

    def work(conn: Connection) -> Endpoint:
        endpoint_id = endpoints.next_id(conn)
        endpoints.add(conn, endpoint_id, checked, sealed=_sealed(vault, endpoint_id, secret))
        return _found(endpoints.get(conn, endpoint_id), endpoint_id)

    return NewSecret(endpoint=carry_out(run, actor, change, work), secret=secret)


def rotate_secret(
    run: Run, actor: Actor, endpoint_id: int, vault: TokenVault, *, overlap: timedelta = PREVIOUS_VALID_FOR
) -> NewSecret:
    """Give an endpoint a new secret and return it; the one before signs as well for the time of the overlap.

    Raises NotAllowed, UnknownEndpoint.
    """
    secret = signature.encode_secret(secrets.token_bytes(signature.SECRET_BYTES))

    def work(conn: Connection, _: Endpoint, change: Change) -> Endpoint:
        sealed = _sealed(vault, endpoint_id, secret)
        endpoints.set_secret(conn, endpoint_id, sealed=sealed, previous_valid_for=min(overlap, LONGEST_OVERLAP))
        change.detail = "a new secret"
        return _found(endpoints.get(conn, endpoint_id), endpoint_id)

    return NewSecret(endpoint=_change(run, actor, endpoint_id, work), secret=secret)


def hold_endpoint(run: Run, actor: Actor, endpoint_id: int) -> Endpoint:
    """Hold an endpoint until somebody releases it. Raises NotAllowed, UnknownEndpoint, EndpointMovedOn."""

    def work(conn: Connection, found: Endpoint, change: Change) -> Endpoint:
        if not endpoints.hold_for_good(conn, endpoint_id, "person"):
            raise EndpointMovedOn(f"{found.name} is held already, until somebody releases it")
        change.before, change.after = {"state": found.state}, {"state": "held"}
        return _found(endpoints.get(conn, endpoint_id), endpoint_id)

    return _change(run, actor, endpoint_id, work)


def release_endpoint(run: Run, actor: Actor, endpoint_id: int) -> Endpoint:
    """Send an endpoint what waits for it, the oldest first. Raises NotAllowed, UnknownEndpoint, EndpointMovedOn."""

    def work(conn: Connection, found: Endpoint, change: Change) -> Endpoint:
        if not endpoints.release(conn, endpoint_id):
            raise EndpointMovedOn(f"{found.name} is not held")
        change.before, change.after = {"state": "held", "cause": found.held_cause}, {"state": "open"}
        return _found(endpoints.get(conn, endpoint_id), endpoint_id)

    return _change(run, actor, endpoint_id, work)


def test_endpoint(run: Run, actor: Actor, endpoint_id: int) -> int:
    """Have a `ping` sent to an endpoint, also while it is held; return the number of the task that sends it.

    Raises NotAllowed, UnknownEndpoint, and StoreUnavailable when the notification got no number in time.
    """

    def work(conn: Connection, found: Endpoint, change: Change) -> None:
        endpoints.add_test(conn, found)
        change.detail = "a test"

    before = run(lambda conn: endpoints.latest_test(conn, endpoint_id))
    _change(run, actor, endpoint_id, work)
    for _ in range(NUMBERINGS):
        run(outbox.number)
        task_id = run(lambda conn: endpoints.latest_test(conn, endpoint_id))
        if task_id is not None and task_id != before:
            return task_id
        time.sleep(0.05)  # another process numbers at this moment
    raise StoreUnavailable("the test was noted, but it got no number yet; the endpoint's page will show it")


def remove_endpoint(run: Run, actor: Actor, endpoint_id: int) -> Endpoint:
    """Remove an endpoint with all that waits for it; return it as it was. Raises NotAllowed, UnknownEndpoint."""

    def work(conn: Connection, found: Endpoint, change: Change) -> Endpoint:
        endpoints.remove(conn, endpoint_id)
        change.before, change.detail = {"url": shown_url(found.url), "waiting": found.waiting}, "removed"
        return found

    return _change(run, actor, endpoint_id, work)


def get_endpoint(run: Run, actor: Actor, endpoint_id: int) -> Endpoint:
    """Return an endpoint that the actor may see. Raises UnknownEndpoint."""
    found = run(lambda conn: endpoints.get(conn, endpoint_id))
    if found is None or not actor.may("read", found.tenant_id):
        raise _unknown(endpoint_id)
    return found


def possible_changes(endpoint: Endpoint) -> list[str]:
    """Return what can be done with an endpoint in its state: pure."""
    is_held_for_good = endpoint.state == "held" and endpoint.held_cause != "failures"
    ways = {"hold": not is_held_for_good, "release": endpoint.state == "held"}
    return ["test", "rotate", *(way for way, possible in ways.items() if possible), "remove"]


def _change(run: Run, actor: Actor, endpoint_id: int, make: Callable[[Connection, Endpoint, Change], T]) -> T:
    seen = run(lambda conn: endpoints.get(conn, endpoint_id))
    found = _found(seen, endpoint_id)
    change = Change(verb="endpoints", target=f"endpoint {found.name}", tenant_id=found.tenant_id)

    def work(conn: Connection) -> T:
        return make(conn, _found(endpoints.lock(conn, endpoint_id), endpoint_id), change)

    return carry_out(run, actor, change, work, unseen=_unknown(endpoint_id))


def _found(endpoint: Endpoint | None, endpoint_id: int) -> Endpoint:
    if endpoint is None:
        raise _unknown(endpoint_id)
    return endpoint


def _unknown(endpoint_id: int) -> UnknownEndpoint:
    return UnknownEndpoint(f"there is no endpoint {endpoint_id}")


def _sealed(vault: TokenVault, endpoint_id: int, secret: str) -> bytes:
    return vault.seal(endpoints.secret_owner(endpoint_id), {"secret": secret})
