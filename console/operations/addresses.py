"""Export what is held of one e-mail address, and have it erased: for people who ask what is known of them.

The audit has a mask in place of the address. It is the same for the same address, so that a request and its erasure can
be told to belong together, and only the holder of SECRET_KEY can tell of which address it is.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from console.event_document import event_document
from console.json_values import as_json
from console.operations.audited import Change, Run, carry_out
from console.operations.tenants import UnknownTenant
from shared.connection.vault import TokenVault
from shared.db.accounts import accounts
from shared.db.reading import events
from shared.db.tenants import address_erasures, address_places, tenants
from shared.errors import MailroomError, MalformedEnvelope
from shared.front.envelope import load
from shared.subject_address import SubjectAddress

if TYPE_CHECKING:
    from collections.abc import Iterator

    from console.access.actor import Actor
    from shared.db.core.pool import Connection
    from shared.db.tenants.address_erasures import Erasure
    from shared.db.tenants.address_places import StoredEvent
    from shared.settings import Settings

VERB = "addresses"
EVENTS_AT_ONCE = 200


class AddressOfAccount(MailroomError):
    """Somebody logs in with this address. Disable the account first."""

    code = "address_of_account"


class UnknownErasure(MailroomError):
    """There is no such erasure, or the actor may not see it."""

    code = "unknown_erasure"


class ExportsBusy(MailroomError):
    """Other exports are running; try again when one of them has ended."""

    code = "exports_busy"


@dataclass(frozen=True, kw_only=True)
class ErasureProgress:
    """An erasure, and what it did so far: events and rows by outcome; `open` ones wait for a task that runs."""

    erasure: Erasure
    outcomes: dict[str, int]


def export(run: Run, actor: Actor, text: str, tenant_id: int | None, settings: Settings) -> Iterator[bytes]:
    """Return what is held of the address as one JSON document, in pieces. The first is made when it is asked for.

    An event is in it if the address wrote or got its message, or is mentioned anywhere in it. Raises NotAnAddress,
    NotAllowed, UnknownTenant.
    """
    address = SubjectAddress.parse(text)
    tenant_id, change = _asked(actor, address, tenant_id, settings)
    change.detail = "export"
    carry_out(run, actor, change, lambda conn: _require_tenant(conn, tenant_id), unseen=_unknown(tenant_id))
    return _pieces(run, address, text, tenant_id)


def request_erasure(run: Run, actor: Actor, text: str, tenant_id: int | None, settings: Settings) -> int:
    """Ask for the erasure of an address, and return its number; workers carry it out.

    Raises NotAnAddress, NotAllowed, UnknownTenant, and AddressOfAccount where somebody logs in with it.
    """
    address = SubjectAddress.parse(text)
    tenant_id, change = _asked(actor, address, tenant_id, settings)
    change.detail, vault = "erasure", TokenVault(settings.token_keys)

    def work(conn: Connection) -> int:
        _require_tenant(conn, tenant_id)
        account = accounts.find(conn, address.key) if tenant_id is None else None
        if account is not None and account.is_enabled:
            raise AddressOfAccount("somebody logs in to the console with this address: disable the account first")
        number = address_erasures.request(
            conn,
            tenant_id=tenant_id,
            mask=address.mask(_key(settings)),
            who=actor.name,
            seal=lambda owner: vault.seal(owner, {"address": address.key}),
        )
        change.after = {"erasure": number}
        return number

    return carry_out(run, actor, change, work, unseen=_unknown(tenant_id))


def get_erasure(run: Run, actor: Actor, number: int) -> ErasureProgress:
    """Return an erasure that the actor may see. Raises UnknownErasure."""

    def read(conn: Connection) -> ErasureProgress | None:
        found = address_erasures.get(conn, number)
        if found is None:
            return None
        return ErasureProgress(erasure=found, outcomes=address_erasures.outcomes(conn, number))

    progress = run(read)
    if progress is None or not actor.may(VERB, progress.erasure.tenant_id):
        raise UnknownErasure(f"there is no erasure {number}")
    return progress


def _asked(
    actor: Actor, address: SubjectAddress, tenant_id: int | None, settings: Settings
) -> tuple[int | None, Change]:
    """Return the tenant that is asked about, and the change. An actor of one tenant asks about that one."""
    only = actor.tenant_id if tenant_id is None else tenant_id
    return only, Change(verb=VERB, target=f"address {address.mask(_key(settings))}", tenant_id=only)


def _key(settings: Settings) -> bytes:
    return settings.require("secret_key").secret_key.get_secret_value().encode()


def _require_tenant(conn: Connection, tenant_id: int | None) -> None:
    if tenant_id is not None and not tenants.lock_against_removal(conn, tenant_id):
        raise UnknownTenant(f"there is no tenant {tenant_id}")


def _unknown(tenant_id: int | None) -> UnknownTenant | None:
    return None if tenant_id is None else UnknownTenant(f"there is no tenant {tenant_id}")


def _pieces(run: Run, address: SubjectAddress, text: str, tenant_id: int | None) -> Iterator[bytes]:
    """Yield the document. A line break keeps the connection alive while no event is found."""
    yield _json({"address": text, "tenant_id": tenant_id})[:-1] + b',"users":'
    yield _json(run(lambda conn: address_places.rows_of_owners(conn, address.key, tenant_id=tenant_id)))
    yield b',"rows":'
    yield _json(run(lambda conn: address_places.rows_of_others(conn, address.expression, tenant_id=tenant_id)))
    yield b',"events":['
    comma, after, until = b"", 0, run(address_places.last_event)
    while found := run(_reader(address, after, until, tenant_id)):
        after = found[0]
        for document in found[1]:
            yield comma + _json(document)
            comma = b",\n"
        yield b"\n"
    yield b"]}\n"


def _reader(address: SubjectAddress, after: int, until: int, tenant_id: int | None) -> Any:
    """Return the work that reads the next events: it gives the last one's id and the documents of those found."""

    def read(conn: Connection) -> tuple[int, list[dict[str, Any]]] | None:
        stored = address_places.events_after(conn, after, until=until, tenant_id=tenant_id, limit=EVENTS_AT_ONCE)
        if not stored:
            return None
        named = address_places.events_with(conn, address.expression, [each.id for each in stored])
        documents = [_document(conn, address, each) for each in stored if each.id in named or _is_in(address, each)]
        return stored[-1].id, documents

    return read


def _is_in(address: SubjectAddress, event: StoredEvent) -> bool:
    bodies = (_read(event.body), _read(event.fetched))
    return address.is_party_of(event.handles, *bodies) or any(map(address.is_in_body, filter(None, bodies)))


def _document(conn: Connection, address: SubjectAddress, stored: StoredEvent) -> dict[str, Any]:
    details = events.event_details(conn, stored.id)
    bodies = (_read(stored.body), _read(stored.fetched))
    return {
        "number": stored.id,
        "is_party": address.is_party_of(stored.handles, *bodies),
        "event": None if details is None else event_document(details),
        "body": _shown(bodies[0]),
        "fetched_message": _shown(bodies[1]),
        "notifications": address_places.notifications_of(conn, stored.id),
    }


def _read(stored: bytes | None) -> bytes | None:
    return None if stored is None else zlib.decompress(stored)


def _shown(body: bytes | None) -> Any:
    """Return a body as JSON; as text where it is none."""
    if body is None:
        return None
    try:
        return load(body)
    except MalformedEnvelope:
        return body.decode("utf-8", "replace")


def _json(value: Any) -> bytes:
    option = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS
    return orjson.dumps(value, default=as_json, option=option)
