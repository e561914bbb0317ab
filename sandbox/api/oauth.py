"""The OAuth endpoints: a page where an admin consents, and the token endpoint."""

from __future__ import annotations

import base64
import html
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from sandbox.grants import InvalidGrant
from sandbox.http_messages import Response, json_response

if TYPE_CHECKING:
    from sandbox.front import Front
    from sandbox.grants import Tokens
    from sandbox.http_messages import Request

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Allow access?</title></head>
<body><main><h1>Allow this app to act for your company?</h1>
<form method="get" action="/oauth/consent">
{hidden}
<label for="company">Company</label>
<select id="company" name="company">{options}</select>
<button name="decision" value="allow">Allow</button>
<button name="decision" value="deny">Deny</button>
</form></main></body></html>
"""
HIDDEN_FIELDS = ("redirect_uri", "state")


def show_consent_page(front: Front, request: Request) -> Response:
    """Show the page where an admin allows or denies access."""
    if request.first("client_id") != front.settings.client_id or request.first("response_type") != "code":
        return json_response({"error": "invalid_request"}, 400)
    if not request.first("redirect_uri"):
        return json_response({"error": "invalid_request"}, 400)
    hidden = "\n".join(
        f'<input type="hidden" name="{name}" value="{html.escape(request.first(name) or "")}">'
        for name in HIDDEN_FIELDS
    )
    options = "".join(
        f'<option value="{html.escape(company.id)}">{html.escape(company.name)}</option>'
        for company in front.world.companies.values()
    )
    page = PAGE.format(hidden=hidden, options=options)
    return Response(headers={"Content-Type": "text/html; charset=utf-8"}, body=page.encode())


def redirect_after_consent(front: Front, request: Request) -> Response:
    """Redirect to the app with a code, or with a denial."""
    company, redirect_uri = request.first("company"), request.first("redirect_uri")
    if company not in front.world.companies or company is None or not redirect_uri:
        return json_response({"error": "invalid_request"}, 400)
    result = {"error": "access_denied"}
    if request.first("decision") == "allow":
        result = {"code": front.grants.issue_code(company, redirect_uri, front.now())}
    if state := request.first("state"):
        result["state"] = state
    separator = "&" if "?" in redirect_uri else "?"
    return Response(status=302, headers={"Location": f"{redirect_uri}{separator}{urlencode(result)}"})


def issue_tokens(front: Front, request: Request) -> Response:
    """Issue tokens for a code or a refresh token. The client authenticates with HTTP Basic."""
    if request.headers.get("authorization") != _client_authorization(front):
        return json_response({"error": "invalid_client"}, 401)
    try:
        return _token_response(_granted_tokens(front, request.parameters))
    except InvalidGrant:
        return json_response({"error": "invalid_grant"}, 400)
    except KeyError:
        return json_response({"error": "invalid_request"}, 400)


def _client_authorization(front: Front) -> str:
    pair = f"{front.settings.client_id}:{front.settings.client_secret}"
    return f"Basic {base64.b64encode(pair.encode()).decode()}"


def _granted_tokens(front: Front, given: dict[str, Any]) -> Tokens:
    if given["grant_type"] == "authorization_code":
        return front.grants.exchange(given["code"], given["redirect_uri"], front.now())
    if given["grant_type"] == "refresh_token":
        return front.grants.refresh(given["refresh_token"], front.now())
    raise KeyError(given["grant_type"])


def _token_response(tokens: Tokens) -> Response:
    return json_response(
        {
            "access_token": tokens.access_token,
            "refresh_token": tokens.refresh_token,
            "expires_at": int(tokens.expires_at),
            "token_type": "Bearer",
        }
    )
