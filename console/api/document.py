"""Completes the OpenAPI document with what the library does not say."""

from __future__ import annotations

from typing import Any

ABOUT = (
    "Send a token with each request: `Authorization: Bearer mr_…`; `mailroom api-token create` makes one. "
    "Errors are problem details (RFC 9457) with a stable `code`. Every answer has the id of its request in "
    "`X-Request-ID`: yours, if you send one of 8 to 64 letters, digits, dots, dashes or underscores."
)
HEADERS = {
    "401": ("WWW-Authenticate", "How to authenticate (RFC 6750)"),
    "403": ("WWW-Authenticate", "Which scope it takes"),
    "503": ("Retry-After", "Seconds after which to send it again"),
}


def complete(document: dict[str, Any]) -> dict[str, Any]:
    """The document with plain descriptions, and with the headers that answers carry."""
    document["info"]["description"] = ABOUT
    for operations in document["paths"].values():
        for operation in operations.values():
            _complete(operation)
    return document


def _complete(operation: dict[str, Any]) -> None:
    if "description" in operation:
        operation["description"] = operation["description"].replace("<br/>", " ").strip()
    for status, (name, meaning) in HEADERS.items():
        operation["responses"][status]["headers"] = {name: {"description": meaning, "schema": {"type": "string"}}}
