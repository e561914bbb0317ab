"""Try a webhook URL as Front does when an app is saved: send a signed challenge, which leaves nothing at the door."""

from __future__ import annotations

import json
import secrets
import socket
import ssl
import time
from collections.abc import Iterator
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from console.finding import Finding
from shared.front.signature import CHALLENGE_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, sign
from shared.http.transport import HttpClient, NoAnswer

if TYPE_CHECKING:
    from shared.settings import Settings

ANSWER_SECONDS = 10.0
MAX_ANSWER_BYTES = 65_536
#: Certificates are usually renewed 30 days before they end.
SHORTEST_DAYS = 14
DAY_SECONDS = 86_400
BODY = b"{}"

#: What to do for each code with which the door refuses the challenge.
FIXES = {
    "missing_signature": "let the proxy in front of the door pass on the headers that begin with X-Front-",
    "invalid_signature": "give door and doctor the same FRONT_SIGNING_KEYS, and let no proxy change the body",
    "stale_timestamp": "set the clocks of this machine and of the door's by NTP",
    "not_found": "take the whole URL, whose path is /webhooks/front, or correct the path in the proxy",
    "method_not_allowed": "let the proxy pass on POST as it is, without a redirect",
}
OTHER_FIX = "look at the proxy in front of the door: it answers by itself, or leads to another program"
NO_ANSWER_FIX = "see that the name leads to the proxy, that it listens there, and that it passes requests to the door"


def check_webhook_url(settings: Settings, url: str) -> Iterator[Finding]:
    """Yield what the door answers at `url` to a challenge, and for https the days that the certificate is valid.

    The door counts a refusal among the rejected requests.
    """
    if not settings.signing_keys:
        yield Finding(
            name="webhook url", ok=False, found="cannot be tried", fix="set FRONT_SIGNING_KEYS, with which Front signs"
        )
        return
    yield _try(url, settings.signing_keys[0])
    if urlsplit(url).scheme == "https":
        yield from _certificate(url)


def _try(url: str, key: bytes) -> Finding:
    challenge, timestamp = secrets.token_hex(16), str(int(time.time() * 1000))
    headers = {
        "Content-Type": "application/json",
        TIMESTAMP_HEADER: timestamp,
        SIGNATURE_HEADER: sign(BODY, timestamp=timestamp, key=key),
        CHALLENGE_HEADER: challenge,
    }
    http = HttpClient(user_agent="mailroom doctor")
    try:
        with http.within(ANSWER_SECONDS), http.open("POST", url, headers=headers, form=BODY) as answer:
            status, body = answer.status_code, http.read(answer, max_bytes=MAX_ANSWER_BYTES)
    except NoAnswer as exc:
        return Finding(name="webhook url", ok=False, found=f"no answer: the request {exc}", fix=NO_ANSWER_FIX)
    document = _document(body)
    if status == HTTPStatus.OK and document.get("challenge") == challenge:
        return Finding(name="webhook url", ok=True, found="the door answers a signed challenge")
    code = str(document.get("code", ""))
    found = f"answered {status} instead of the challenge" + (f": {code}" if code in FIXES else "")
    return Finding(name="webhook url", ok=False, found=found, fix=FIXES.get(code, OTHER_FIX))


def _document(body: bytes | None) -> dict[str, Any]:
    try:
        document = json.loads(body or b"")
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _certificate(url: str) -> Iterator[Finding]:
    """Say for how long the certificate is valid. One that cannot be trusted has failed the challenge already."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        with (
            socket.create_connection((host, parts.port or 443), timeout=ANSWER_SECONDS) as plain,
            ssl.create_default_context().wrap_socket(plain, server_hostname=host) as secured,
        ):
            certificate = secured.getpeercert() or {}
    except OSError:
        return
    days = int(ssl.cert_time_to_seconds(str(certificate["notAfter"])) - time.time()) // DAY_SECONDS
    fix = "renew the certificate of the proxy: Front sends nothing to a host whose certificate has ended"
    yield Finding(name="webhook certificate", ok=days >= SHORTEST_DAYS, found=f"valid for {days} days", fix=fix)
