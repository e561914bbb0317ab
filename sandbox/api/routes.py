"""The way of every API call: route, token, limits, fault, work, ledger."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sandbox.api import company, conversations, messages, oauth, resources
from sandbox.api.call import Call, Merged, WrongToken
from sandbox.api.misbehaviour import AWAY_SECONDS, afterwards, instead, over_limit
from sandbox.http_messages import HttpError, Response, error_response
from sandbox.ledger import ApiCall

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.faults import FaultRule
    from sandbox.front import Front
    from sandbox.grants import Grant
    from sandbox.http_messages import Request
    from sandbox.rate_limits import Standing

ROUTES: tuple[tuple[str, str, Callable[[Call], Response]], ...] = (
    ("GET", "/me", company.me),
    ("GET", "/teammates", company.teammates),
    ("GET", "/inboxes", company.inboxes),
    ("GET", "/channels", company.channels),
    ("GET", "/tags", company.tags),
    ("GET", "/events", resources.listing),
    ("GET", "/events/{id}", resources.show),
    ("GET", "/messages/{id}", messages.show),
    ("GET", "/download/{id}", messages.download),
    ("GET", "/conversations/{id}", conversations.show),
    ("PATCH", "/conversations/{id}", conversations.update),
    ("GET", "/conversations/{id}/events", conversations.events),
    ("GET", "/conversations/{id}/messages", conversations.messages),
    ("POST", "/conversations/{id}/tags", conversations.add_tags),
    ("DELETE", "/conversations/{id}/tags", conversations.remove_tags),
)
OPEN: dict[tuple[str, str], Callable[[Front, Request], Response]] = {
    ("GET", "/oauth/authorize"): oauth.authorize,
    ("GET", "/oauth/consent"): oauth.consent,
    ("POST", "/oauth/token"): oauth.token,
}
PATTERNS = [(method, re.compile(route.replace("{id}", r"([^/]+)")), route, work) for method, route, work in ROUTES]
NOBODY = "nobody"


@dataclass
class Passage:
    """What is learned about a call on its way, for the ledger."""

    at: float = 0.0
    route: str = "unknown"
    resource: str = ""
    work: Callable[[Call], Response] | None = None
    grant: Grant | None = None
    fault: str | None = None
    wrong_token: bool = False
    early: bool = False


def pass_through(front: Front, request: Request) -> Response:
    """Response a call as Front would, after the time Front would take."""
    at = front.now()
    if front.settings.latency_ms:
        time.sleep(front.settings.latency_ms / 1000)
    passage = _route(request)
    passage.at = at
    try:
        response = _answer(front, request, passage)
    except HttpError as error:
        passage.wrong_token = isinstance(error, WrongToken)
        if isinstance(error, Merged):
            passage.fault = "merged_301"
        response = error.response
    front.ledger.record_call(_entry(request, passage, response))
    return response


def _route(request: Request) -> Passage:
    path = request.path
    if (request.method, path) in OPEN:
        return Passage(route=path)
    for method, pattern, route, work in PATTERNS:
        if method == request.method and (match := pattern.fullmatch(path)):
            return Passage(route=route, work=work, resource=match[1] if pattern.groups else "")
    return Passage()


def _entry(request: Request, passage: Passage, response: Response) -> ApiCall:
    return ApiCall(
        at=passage.at,
        method=request.method,
        path=request.target,
        route=passage.route,
        status=0 if response.wire_fault in {"silent", "reset"} else response.status,
        company=passage.grant.company if passage.grant else None,
        conversation=passage.resource if passage.route.startswith("/conversations/") else None,
        fault=passage.fault,
        wrong_token=passage.wrong_token,
        early=passage.early,
    )


def _answer(front: Front, request: Request, passage: Passage) -> Response:
    if (request.method, request.path) in OPEN:
        return _open(front, request, passage)
    grant = passage.grant = _grant(front, request)
    now, resource = front.now(), passage.resource or None
    passage.early = front.patience.is_early(grant.company, resource, passage.at)
    standing = front.limits.take(grant.company, resource, now)
    if standing.retry_after is not None:
        front.patience.tell(grant.company, resource if standing.is_burst else None, now, standing.retry_after)
        return over_limit(standing)
    rule = _fault(front, request, passage, grant.company)
    if rule and (response := instead(front, request, rule, standing)):
        if "retry-after" in response.headers:
            bounded = resource if rule.kind == "429_burst" else None
            front.patience.tell(grant.company, bounded, now, rule.lasting(AWAY_SECONDS))
        return response
    return _work(front, request, passage, standing, rule)


def _fault(front: Front, request: Request, passage: Passage, company_id: str) -> FaultRule | None:
    """The fault of this call. A merge is carried out here: from now on the old id is gone."""
    rule = front.faults.choose(request.method, request.path, company_id)
    if rule is None or rule.kind != "merged_301":
        passage.fault = rule.kind if rule else None
        return rule
    key, world = (company_id, passage.resource), front.world
    if key in world.conversations and passage.resource not in world.merged.values():
        world.merge(key, front.now())
    return None


def _work(front: Front, request: Request, passage: Passage, standing: Standing, rule: FaultRule | None) -> Response:
    if passage.work is None or passage.grant is None:
        return error_response(404, "No such route", headers=standing.headers())
    call = Call(front=front, request=request, grant=passage.grant, at=front.now(), resource=passage.resource)
    response = passage.work(call)
    response = replace(response, headers={**response.headers, **standing.headers()})
    return afterwards(response, rule) if rule else response


def _open(front: Front, request: Request, passage: Passage) -> Response:
    """The routes of the OAuth dance: no token, no limits, but faults."""
    rule = front.faults.choose(request.method, request.path, None)
    passage.fault = rule.kind if rule else None
    if rule and (response := instead(front, request, rule, front.limits.look(NOBODY, front.now()))):
        return response
    response = OPEN[request.method, request.path](front, request)
    return afterwards(response, rule) if rule else response


def _grant(front: Front, request: Request) -> Grant:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise HttpError(error_response(401, "JSON Web Token error"))
    grant = front.grants.holder(token.strip(), front.now())
    if grant is None or grant.company not in front.world.companies:
        raise HttpError(error_response(401, "Invalid token"))
    return grant
