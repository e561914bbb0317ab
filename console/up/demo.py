"""The demo of `mailroom up --demo`: a customer with people, and mail that keeps coming to it."""

from __future__ import annotations

import itertools
import random
import shlex
import sys
from http import HTTPStatus
from pathlib import Path
from typing import Any

import requests

from console.cli.tenant.connecting import seal_and_store
from shared.addresses import match_key
from shared.db.core.pool import Connection
from shared.db.core.session import session
from shared.db.reading import events
from shared.db.tenants import tenants
from shared.db.users import users
from shared.errors import MailroomError, StoreUnavailable
from shared.process import stopping
from shared.settings import Settings, load

COMPANY, STRANGER = "cmp_harbour", "cmp_lighthouse"
TENANT = "Harbour Goods"
TOKEN_FILE = "lighthouse.token"  # noqa: S105 -- a file's name
PEOPLE = {
    "u-100": ("Ines Moreau", ("ines.moreau@harbour.example", "ines@harbour.example"), None),
    "u-101": ("Tomasz Brandt", ("tomasz.brandt@harbour.example",), None),
    "u-102": ("Accounts payable", ("invoices@harbour.example",), "trash"),
}
SENDER = {"handle": "office@supplier.example", "role": "from"}
INVOICE = {"filename": "Invoice 2026-118.pdf", "size": 184_233, "content_type": "application/pdf"}
PHOTO = {"filename": "quay at dawn.jpg", "size": 2_400_000, "content_type": "image/jpeg"}
EVERY_SECONDS = 4.0


def to(handle: str, role: str = "to") -> dict[str, str]:
    """A recipient."""
    return {"handle": handle, "role": role}


#: What comes in, over and over: a variety of what Mailroom tells apart.
MAIL: tuple[dict[str, Any], ...] = (
    {
        "recipients": [SENDER, to("Ines@harbour.example"), to("partner@quay.example", "cc")],
        "attachments": [INVOICE, PHOTO],
    },
    {"recipients": [SENDER, to("orders@harbour.example"), to("tomasz.brandt@harbour.example", "cc")]},
    {"recipients": [SENDER, to("invoices@harbour.example")], "attachments": [INVOICE]},
    {"recipients": [SENDER, to("nobody@harbour.example")]},
    {"type": "tag_added"},
    {"type": "outbound_sent"},
    {"recipients": [SENDER, to("ines.moreau@harbour.example")], "fault": "preview", "attachments": [INVOICE]},
    {"recipients": [SENDER, to("keeper@lighthouse.example")], "company": STRANGER},
)


def seed(conn: Connection, token: str) -> None:
    """Make the demo's tenant and users, once; connect it with the token."""
    with conn.transaction():
        known = tenants.find(conn, TENANT)
        tenant_id = known.id if known else tenants.add(conn, TENANT, COMPANY)
        if not known:
            tenants.set_policy(conn, tenant_id, tenants.PolicyChange(action="archive"))
            for external_id, (name, handles, action) in PEOPLE.items():
                keys = [users.Address(key=match_key(handle) or handle, as_given=handle) for handle in handles]
                user = users.NewUser(external_id=external_id, name=name, action=action, addresses=tuple(keys))
                users.add(conn, tenant_id, user)
        seal_and_store(conn, tenant_id, token)


class Sandbox:
    """The small Front's control, as soon as it listens."""

    def __init__(self, settings: Settings, stop: stopping.Stop):
        self._url = f"http://127.0.0.1:{settings.sandbox_port}/sandbox"
        self._stop = stop

    def tell(self, what: str, body: dict[str, Any]) -> Any:
        """POST something; waits while nothing listens yet."""
        while not self._stop.is_set():
            try:
                answer = requests.post(f"{self._url}/{what}", json=body, timeout=60)
                answer.raise_for_status()
                return answer.json()
            except requests.ConnectionError:
                self._stop.wait(0.2)
        raise SystemExit(0)


def play(settings: Settings, stop: stopping.Stop) -> None:
    """Set the demo up, then send mail until stopped."""
    sandbox = Sandbox(settings, stop)
    token = sandbox.tell("companies", {"id": COMPANY, "name": TENANT})["api_token"]
    stranger = sandbox.tell("companies", {"id": STRANGER, "name": "Lighthouse Keepers"})["api_token"]
    (settings.mailroom_data / TOKEN_FILE).write_text(f"{stranger}\n", encoding="utf-8")
    with session(settings.database_url.get_secret_value()) as conn:
        seed(conn, token)
    while not stop.is_set() and sandbox.tell("challenge", {})["status"] != HTTPStatus.OK:
        stop.wait(0.2)  # the door is still opening
    for number, mail in enumerate(itertools.cycle(MAIL)):
        order = {"type": "inbound_received", "company": COMPANY, **mail}
        [event] = sandbox.tell("send", order)["events"]
        _say(f"sent {event['event_id']}  {described(order)}")
        if number == 0:
            _tell_when_done(settings, event["event_id"], stop)
        if stop.wait(EVERY_SECONDS * random.uniform(0.5, 1.5)):  # noqa: S311 -- mail does not come by the clock
            return


def described(order: dict[str, Any]) -> str:
    """What is sent, in a line."""
    handles = [recipient["handle"] for recipient in order.get("recipients", ()) if recipient["role"] != "from"]
    files = len(order.get("attachments", ()))
    parts = (order["type"], f"to {', '.join(handles)}" if handles else "", f"files: {files}" if files else "")
    return "  ".join(part for part in parts if part)


def _tell_when_done(settings: Settings, event_id: str, stop: stopping.Stop) -> None:
    """Say once what became of the first message."""
    with session(settings.database_url.get_secret_value()) as conn:
        for _ in range(100):
            if any(event.state == "done" for event in events.find_by_any_id(conn, event_id)):
                token_file = as_typed(settings.mailroom_data / TOKEN_FILE)
                _say(
                    f"the first message went all the way: matched, files stored, conversation archived.\n"
                    f"  ./run event show {event_id}\n"
                    f"mail for a company that no tenant has is parked, until somebody connects it:\n"
                    f"  ./run tenant add Lighthouse\n"
                    f"  ./run user add --tenant Lighthouse --id 1 --name Keeper --email keeper@lighthouse.example\n"
                    f"  ./run tenant connect Lighthouse      prints a link: open it in a browser and allow access\n"
                    f"  ./run tenant connect Lighthouse --api-token-file {token_file}      is the same without one"
                )
                return
            if stop.wait(0.1):
                return


def as_typed(path: Path) -> str:
    """The path as one word for a shell, from here where it is below."""
    here = Path.cwd()
    return shlex.quote(str(path.relative_to(here) if path.is_relative_to(here) else path))


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> int:
    """Run until TERM or Ctrl-C."""
    stop = stopping.on_signals()
    while not stop.is_set():
        try:
            play(load(), stop)
        except StoreUnavailable as exc:
            _say(f"the demo waits: {exc}")
            stop.wait(1.0)
        except requests.HTTPError:
            _say("the sandbox was killed and has forgotten its mail; setting it up again")
            stop.wait(1.0)
        except (MailroomError, requests.RequestException) as exc:
            _say(f"the demo stopped: {exc}")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
