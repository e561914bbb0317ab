"""What every answer of the console tells browsers: load nothing of others, run nothing, keep nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask, Response

POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",  # a connect link's address is a secret
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
HTTPS_ONLY = {"Strict-Transport-Security": "max-age=31536000"}


def guard(app: Flask, *, https: bool) -> None:
    """Send these headers with every answer."""
    headers = HEADERS | (HTTPS_ONLY if https else {})

    @app.after_request
    def add(response: Response) -> Response:
        response.headers.update(headers)
        return response
