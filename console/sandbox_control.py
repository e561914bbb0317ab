"""Asks the sandbox on this machine for companies, and to send webhooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shared.errors import MailroomError

if TYPE_CHECKING:
    import requests

    from shared.settings import Settings

CONNECT_SECONDS = 2.0


class SandboxAway(MailroomError):
    """The sandbox does not listen on SANDBOX_PORT."""

    code = "sandbox_away"


class NoSandbox(MailroomError):
    """Something else than a sandbox listens on SANDBOX_PORT."""

    code = "no_sandbox"


class SandboxRefused(MailroomError):
    """The sandbox does not do what it was asked for, and says why."""

    code = "sandbox_refused"


def companies(settings: Settings) -> list[str]:
    """Return the ids of the sandbox's companies, the oldest first. Raises SandboxAway, NoSandbox."""
    return [str(company["id"]) for company in _call(settings, "GET", "companies")["companies"]]


def send(settings: Settings, order: dict[str, Any], *, seconds: float | None = None) -> list[dict[str, Any]]:
    """Have webhooks sent, and return their events, each with its id and the door's answer.

    Raises SandboxAway, NoSandbox, SandboxRefused.
    """
    events: list[dict[str, Any]] = _call(settings, "POST", "send", order, seconds=seconds)["events"]
    return events


def _call(
    settings: Settings, method: str, path: str, body: object = None, *, seconds: float | None = None
) -> dict[str, Any]:
    import requests  # noqa: PLC0415 -- it takes a tenth of a second

    url = f"http://127.0.0.1:{settings.sandbox_port}/sandbox/{path}"
    try:
        with requests.Session() as session:
            session.trust_env = False
            answer = session.request(method, url, json=body, timeout=(CONNECT_SECONDS, seconds))
    except requests.RequestException as error:
        raise SandboxAway(
            f"no sandbox answers on port {settings.sandbox_port}; start one with `mailroom sandbox serve` "
            "or `mailroom up --demo`, or set SANDBOX_PORT"
        ) from error
    return _document(answer)


def _document(answer: requests.Response) -> dict[str, Any]:
    try:
        document = answer.json()
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise NoSandbox(f"{answer.url} is no sandbox: it answered {answer.status_code}")
    if not answer.ok:
        raise SandboxRefused(str(document.get("error") or document))
    return document
