"""The routes of the API, and the steps of every call: route, token, rate limits, fault, handler, ledger."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sandbox.api import conversations, oauth, resources
from sandbox.api.call import Call, ConversationMerged, WrongToken
from sandbox.faults import RETRY_AFTER_SECONDS, FaultRule, replace_response, spoil_response
from sandbox.http_messages import HttpError, Response, error_response
from sandbox.ledger import ApiCall
from sandbox.rate_limits import too_many_requests

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.front import Front
    from sandbox.grants import Grant
    from sandbox.http_messages import Request
    from sandbox.rate_limits import RateLimitState

ROUTES: tuple[tuple[str, str, Callable[[Call], Response]], ...] = (
    ("GET", "/me", resources.show_me),
    ("GET", "/teammates", resources.list_teammates),
    ("GET", "/inboxes", resources.list_inboxes),
    ("GET", "/channels", resources.list_channels),
    ("GET", "/tags", resources.list_tags),
    ("GET", "/events", resources.list_events),
    ("GET", "/events/{id}", resources.show_event),
    ("GET", "/messages/{id}", resources.show_message),
    ("GET", "/download/{id}", resources.download_attachment),
    ("GET", "/conversations/{id}", conversations.show_conversation),
    ("PATCH", "/conversations/{id}", conversations.update_conversation),
    ("GET", "/conversations/{id}/events", conversations.list_conversation_events),
    ("GET", "/conversations/{id}/messages", conversations.list_conversation_messages),
    ("POST", "/conversations/{id}/tags", conversations.add_tags),
    ("DELETE", "/conversations/{id}/tags", conversations.remove_tags),
)
OAUTH_ROUTES: dict[tuple[str, str], Callable[[Front, Request], Response]] = {
    ("GET", "/oauth/authorize"): oauth.show_consent_page,
    ("GET", "/oauth/consent"): oauth.redirect_after_consent,
    ("POST", "/oauth/token"): oauth.issue_tokens,
}
PATTERNS = [
    (method, re.compile(route.replace("{id}", r"([^/]+)")), route, handler) for method, route, handler in ROUTES
]
NO_COMPANY = "nobody"


@dataclass
class RoutedCall:
    """The facts about a call, filled in step by step for the ledger."""

    at: float = 0.0
    route: str = "unknown"
    resource: str = ""
    handler: Callable[[Call], Response] | None = None
    grant: Grant | None = None
    fault: str | None = None
    wrong_token: bool = False
    early: bool = False


def handle_api_request(front: Front, request: Request) -> Response:
    """Respond as Front would, after the latency in the settings, and record the call in the ledger."""
    at = front.now()
    if front.settings.latency_ms:
        time.sleep(front.settings.latency_ms / 1000)
    routed = _route(request)
    routed.at = at
    try:
        response = _respond(front, request, routed)
    except HttpError as error:
        routed.wrong_token = isinstance(error, WrongToken)
        if isinstance(error, ConversationMerged):
            routed.fault = "merged_301"
        response = error.response
    front.ledger.record_call(_ledger_record(request, routed, response))
    return response


def _route(request: Request) -> RoutedCall:
    path = request.path
    if (request.method, path) in OAUTH_ROUTES:
        return RoutedCall(route=path)
    for method, pattern, route, handler in PATTERNS:
        if method == request.method and (match := pattern.fullmatch(path)):
            return RoutedCall(route=route, handler=handler, resource=match[1] if pattern.groups else "")
    return RoutedCall()


def _ledger_record(request: Request, routed: RoutedCall, response: Response) -> ApiCall:
    return ApiCall(
        at=routed.at,
        method=request.method,
        path=request.target,
        route=routed.route,
        status=0 if response.wire_fault in {"silent", "reset"} else response.status,
        company=routed.grant.company if routed.grant else None,
        conversation=routed.resource if routed.route.startswith("/conversations/") else None,
        fault=routed.fault,
        wrong_token=routed.wrong_token,
        early=routed.early,
    )


def _respond(front: Front, request: Request, routed: RoutedCall) -> Response:
    if (request.method, request.path) in OAUTH_ROUTES:
        return _respond_to_oauth(front, request, routed)
    grant = routed.grant = _grant(front, request)
    now, resource = front.now(), routed.resource or None
    monitor = front.retry_after_monitor
    routed.early = monitor.is_early(grant.company, resource, routed.at)
    limits = front.rate_limits.take(grant.company, resource, now)
    if limits.retry_after is not None:
        monitor.note_refusal(grant.company, resource if limits.is_burst else None, now, limits.retry_after)
        return too_many_requests(limits)
    rule = _fault(front, request, routed, grant.company)
    if rule and (response := replace_response(rule, request, limits, front.now(), front.elsewhere)):
        if "retry-after" in response.headers:
            refused = resource if rule.kind == "429_burst" else None
            monitor.note_refusal(grant.company, refused, now, rule.seconds_or(RETRY_AFTER_SECONDS))
        return response
    return _handle(front, request, routed, limits, rule)


def _grant(front: Front, request: Request) -> Grant:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise HttpError(error_response(401, "JSON Web Token error"))
    grant = front.grants.holder(token.strip(), front.now())
    if grant is None or grant.company not in front.world.companies:
        raise HttpError(error_response(401, "Invalid token"))
    return grant


def _fault(front: Front, request: Request, routed: RoutedCall, company_id: str) -> FaultRule | None:
    """Choose the fault of this call. A merge happens here, and the handler then finds the old id gone."""
    rule = front.faults.choose(request, company_id) or _fault_of_file(front, request, routed, company_id)
    if rule is None or rule.kind != "merged_301":
        routed.fault = rule.kind if rule else None
        return rule
    key, world = (company_id, routed.resource), front.world
    if key in world.conversations and routed.resource not in world.merged.values():
        world.merge(key, front.now())
    return None


def _fault_of_file(front: Front, request: Request, routed: RoutedCall, company_id: str) -> FaultRule | None:
    """The fault that every download of this attachment has."""
    attachment = front.world.attachments.get((company_id, routed.resource))
    if attachment is None or attachment.fault is None:
        return None
    rule = FaultRule(kind=attachment.fault)
    return rule if rule.matches(request, company_id) else None


def _handle(
    front: Front, request: Request, routed: RoutedCall, limits: RateLimitState, rule: FaultRule | None
) -> Response:
    if routed.handler is None or routed.grant is None:
        return error_response(404, "No such route", headers=limits.headers())
    call = Call(front=front, request=request, grant=routed.grant, at=front.now(), resource=routed.resource)
    response = routed.handler(call)
    response = replace(response, headers={**response.headers, **limits.headers()})
    return spoil_response(rule, response) if rule else response


def _respond_to_oauth(front: Front, request: Request, routed: RoutedCall) -> Response:
    """Respond on an OAuth route, which has no access token and no rate limits, but can have faults."""
    rule = front.faults.choose(request, _company_of_refresh(front, request))
    routed.fault = rule.kind if rule else None
    limits = front.rate_limits.peek(NO_COMPANY, front.now())
    if rule and (response := replace_response(rule, request, limits, front.now(), front.elsewhere)):
        return response
    response = OAUTH_ROUTES[request.method, request.path](front, request)
    return spoil_response(rule, response) if rule else response


def _company_of_refresh(front: Front, request: Request) -> str | None:
    refresh_token = request.parameters.get("refresh_token") if request.method == "POST" else None
    return front.grants.owner(refresh_token) if isinstance(refresh_token, str) else None
