"""Control of companies: create them, change their tokens, teammates and inboxes."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from sandbox.http_messages import BadRequest, Response, json_response, read_fields
from sandbox.models import Inbox, Teammate

if TYPE_CHECKING:
    from sandbox.front import Front
    from sandbox.http_messages import Request
    from sandbox.models import Company

PERMANENT_TEAMMATES = 2
"""The sandbox's events are about the first two teammates, so these cannot leave."""


@dataclass(frozen=True, kw_only=True)
class TeammateChange:
    """A new teammate if it has no `id`; otherwise the changes of the teammate with that id."""

    id: str | None = None
    email: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    type: str | None = None
    is_blocked: bool | None = None
    gone: bool | None = None


@dataclass(frozen=True, kw_only=True)
class NewInbox:
    """An inbox to create, with one channel of this type at this address."""

    name: str
    address: str
    type: str = "smtp"
    is_private: bool = False


def create_company(front: Front, request: Request, _: str) -> Response:
    """Create a company, or return the existing one with this id."""
    body = request.json()
    if not isinstance(body, dict) or not isinstance(body.get("id"), str):
        raise BadRequest("a company is {id, name, api_token?, host?}")
    name, token, host = str(body.get("name") or body["id"]), body.get("api_token"), body.get("host")
    company = front.ensure_company(body["id"], name, token, host)
    token = body.get("api_token") or front.api_token(company.id)
    return json_response({**_company_json(company), "api_token": token})


def list_companies(front: Front, _request: Request, _: str) -> Response:
    """All companies, the oldest first."""
    return json_response({"companies": [_company_json(each) for each in front.world.companies.values()]})


def change_tokens(front: Front, request: Request, company_id: str) -> Response:
    """`expire` ends access tokens, `revoke` ends all tokens, `restore` brings the API token back."""
    body = request.json()
    do = body.get("do") if isinstance(body, dict) else None
    _company(front, company_id)
    match do:
        case "expire":
            front.grants.expire(company_id)
        case "revoke":
            front.grants.revoke(company_id)
        case "restore":
            token = body.get("api_token") or front.api_token(company_id)
            front.grants.add_api_token(token, company_id)
        case _:
            raise BadRequest("do is expire, revoke or restore")
    return json_response({"company": company_id, "done": do})


def change_teammates(front: Front, request: Request, company_id: str) -> Response:
    """Add, change or remove a teammate."""
    given = read_fields(request.json(), TeammateChange)
    with front.world.lock:
        company = _company(front, company_id)
        teammates = {teammate.id: teammate for teammate in company.teammates}
        teammate_id, gone = given.pop("id", None), given.pop("gone", False)
        if teammate_id is None:
            teammate_id = front.world.ids.new("tea")
            blank = Teammate(id=teammate_id, email="", first_name="", last_name="")
            teammates[teammate_id] = replace(blank, **given)
        elif teammate_id not in teammates or (gone and teammate_id in list(teammates)[:PERMANENT_TEAMMATES]):
            raise BadRequest(f"no teammate who can change like that: {teammate_id}")
        elif gone:
            del teammates[teammate_id]
        else:
            teammates[teammate_id] = replace(teammates[teammate_id], **given)
        front.world.companies[company_id] = replace(company, teammates=tuple(teammates.values()))
    return json_response({"id": teammate_id, "teammates": [asdict(each) for each in teammates.values()]})


def create_inbox(front: Front, request: Request, company_id: str) -> Response:
    """Create another inbox."""
    given = read_fields(request.json(), NewInbox)
    if not {"name", "address"} <= given.keys():
        raise BadRequest("an inbox is {name, address, type?, is_private?}")
    new, ids = NewInbox(**given), front.world.ids
    inbox = Inbox(
        id=ids.new("inb"),
        name=new.name,
        address=new.address,
        channel_id=ids.new("cha"),
        technical=f"{ids.new('in')}@in.front.example",
        channel_type=new.type,
        is_private=new.is_private,
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


def _company_json(company: Company) -> dict[str, Any]:
    return {**asdict(company), "addresses": [inbox.address for inbox in company.inboxes]}
