"""How the door says no: problem details (RFC 9457) with our code, and nothing of what was sent."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from flask import Response
from werkzeug.exceptions import HTTPException

from shared.errors import ComeBack, DoorFull, Refused

if TYPE_CHECKING:
    from flask import Flask

RETRY_AFTER = "5"  # seconds


def problem(status: int, code: str, detail: str) -> Response:
    """An answer that people and programs can read."""
    body = {"type": "about:blank", "status": status, "title": code.replace("_", " "), "code": code, "detail": detail}
    return Response(json.dumps(body), status, content_type="application/problem+json")


def register_problems(app: Flask) -> None:
    """Answer every error with a problem."""
    app.register_error_handler(Refused, refused)
    app.register_error_handler(ComeBack, come_back)
    app.register_error_handler(HTTPException, of_http)


def refused(exc: Refused) -> Response:
    """The sender must change something."""
    return problem(exc.status, exc.code, str(exc))


def come_back(exc: ComeBack) -> Response:
    """The sender should send it again. The stores' own words stay in the log."""
    detail = str(exc) if isinstance(exc, DoorFull) else "neither Redis nor PostgreSQL took the delivery; send it again"
    answer = problem(503, exc.code, detail)
    answer.headers["Retry-After"] = RETRY_AFTER
    return answer


def of_http(exc: HTTPException) -> Response:
    """What HTTP itself has a name for; a bug is a 500 that says nothing of itself."""
    code = exc.name.lower().replace(" ", "_")
    answer = problem(exc.code or 500, code, exc.description or exc.name)
    for name, value in exc.get_headers():
        if name != "Content-Type":
            answer.headers[name] = value  # Allow, for example
    return answer
