"""Founding companies, and taking their tokens away again."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sandbox.http_messages import BadRequest, Response, json_response

if TYPE_CHECKING:
    from sandbox.front import Front
    from sandbox.http_messages import Request
    from sandbox.models import Company


def found(front: Front, request: Request, _: str) -> Response:
    """Found a company, or find it as it is."""
    body = request.json()
    if not isinstance(body, dict) or not isinstance(body.get("id"), str):
        raise BadRequest("a company is {id, name, api_token?}")
    company = front.found(body["id"], str(body.get("name") or body["id"]), body.get("api_token"))
    token = body.get("api_token") or front.api_token(company.id)
    return json_response({**_described(company), "api_token": token})


def listing(front: Front, _request: Request, _: str) -> Response:
    """All companies."""
    return json_response({"companies": [_described(each) for each in front.world.companies.values()]})


def change_tokens(front: Front, request: Request, company_id: str) -> Response:
    """`expire` ends access tokens, `revoke` all tokens, `restore` brings the API token back."""
    body = request.json()
    do = body.get("do") if isinstance(body, dict) else None
    if company_id not in front.world.companies:
        raise BadRequest(f"no such company: {company_id}")
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


def _described(company: Company) -> dict[str, Any]:
    return {
        **asdict(company),
        "addresses": [inbox.address for inbox in company.inboxes],
    }
