"""Reads a JSON body before anything looks into it: small enough, really JSON, and an object."""

from __future__ import annotations

from flask import current_app, request
from werkzeug.exceptions import BadRequest

from console.api.refusals import MalformedJson, NotJson

#: Endpoints whose bodies may be larger than the application's MAX_CONTENT_LENGTH, in bytes.
LARGER = {"api.put_users_of_list": 4 * 2**20}


def read_body() -> None:
    """Read the body where the view wants one. Raises NotJson, MalformedJson, or what HTTP has for too large."""
    view = current_app.view_functions[request.endpoint or ""]
    if request.method == "OPTIONS" or "body" not in view.__annotations__:
        return
    if request.endpoint in LARGER:
        request.max_content_length = LARGER[request.endpoint]
    if not request.is_json or request.headers.get("Content-Encoding", "identity") != "identity":
        raise NotJson("send the body as plain JSON with Content-Type: application/json")
    try:
        body = request.get_json()
    except BadRequest:
        raise MalformedJson("the body is no JSON") from None
    except RecursionError:
        raise MalformedJson("the body is nested too deeply") from None
    if not isinstance(body, dict):
        raise MalformedJson("the body is no JSON object")
