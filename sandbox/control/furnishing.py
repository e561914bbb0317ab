"""Changing who works at a company and which inboxes it has."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from sandbox.http_messages import BadRequest, Response, json_response, read_fields
from sandbox.models import Inbox, Teammate

if TYPE_CHECKING:
    from sandbox.front import Front
    from sandbox.http_messages import Request
    from sandbox.models import Company

ACTORS = 2
"""The events of the sandbox are about the first two teammates: they cannot leave."""


@dataclass(frozen=True, kw_only=True)
class Staffing:
    """Somebody new without an `id`; else what changes about the teammate with it."""

    id: str | None = None
    email: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    type: str | None = None
    is_blocked: bool | None = None
    gone: bool | None = None


@dataclass(frozen=True, kw_only=True)
class NewInbox:
    """An inbox to open, with a channel of this type at this address."""

    name: str
    address: str
    type: str = "smtp"
    is_private: bool = False


def teammates(front: Front, request: Request, company_id: str) -> Response:
    """Let somebody come, change or go."""
    given = read_fields(request.json(), Staffing)
    with front.world.lock:
        company = _company(front, company_id)
        there = {teammate.id: teammate for teammate in company.teammates}
        teammate_id, gone = given.pop("id", None), given.pop("gone", False)
        if teammate_id is None:
            teammate_id = front.world.ids.new("tea")
            newcomer = Teammate(id=teammate_id, email="", first_name="", last_name="")
            there[teammate_id] = replace(newcomer, **given)
        elif teammate_id not in there or (gone and teammate_id in list(there)[:ACTORS]):
            raise BadRequest(f"no teammate who can change like that: {teammate_id}")
        elif gone:
            del there[teammate_id]
        else:
            there[teammate_id] = replace(there[teammate_id], **given)
        front.world.companies[company_id] = replace(company, teammates=tuple(there.values()))
    return json_response({"id": teammate_id, "teammates": [asdict(each) for each in there.values()]})


def inboxes(front: Front, request: Request, company_id: str) -> Response:
    """Open another inbox."""
    given = read_fields(request.json(), NewInbox)
    if not {"name", "address"} <= given.keys():
        raise BadRequest("an inbox is {name, address, type?, is_private?}")
    wanted, ids = NewInbox(**given), front.world.ids
    inbox = Inbox(
        id=ids.new("inb"),
        name=wanted.name,
        address=wanted.address,
        channel_id=ids.new("cha"),
        technical=f"{ids.new('in')}@in.front.example",
        channel_type=wanted.type,
        is_private=wanted.is_private,
    )
    with front.world.lock:
        company = _company(front, company_id)
        front.world.companies[company_id] = replace(company, inboxes=(*company.inboxes, inbox))
    return json_response(asdict(inbox))


def _company(front: Front, company_id: str) -> Company:
    company = front.world.companies.get(company_id)
    if company is None:
        raise BadRequest(f"no such company: {company_id}")
    return company
