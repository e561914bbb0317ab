"""Run the demo of `mailroom up --demo`: a customer with users, and mail that keeps coming to it."""

from __future__ import annotations

import itertools
import random
import shlex
import sys
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any

import requests

from console.access.actor import command_line_actor
from console.cli.tenant.connecting import seal_and_store
from console.operations.accounts import add_account, make_link, require_account
from console.operations.audited import in_transaction
from console.operations.endpoints import add_endpoint, remove_endpoint, rotate_secret
from console.up.runner import EXIT_CONFIGURATION
from shared.addresses import match_key
from shared.connection.vault import TokenVault
from shared.db.accounts import accounts
from shared.db.core.pool import Connection
from shared.db.core.session import session
from shared.db.host import endpoints
from shared.db.host.endpoints import NewEndpoint
from shared.db.reading import events
from shared.db.tenants import tenants
from shared.db.users import users
from shared.errors import ConfigurationError, MailroomError, StoreUnavailable
from shared.process import stopping
from shared.settings import Settings, load

# The tenant's company, and a company that no tenant has.
COMPANY, UNCLAIMED_COMPANY = "cmp_harbour", "cmp_lighthouse"
TENANT = "Harbour Goods"
ENDPOINT = "demo"
ADMIN = "admin@demo.example"
TOKEN_FILE = "lighthouse.token"  # noqa: S105 -- a file's name
# By external id: name, addresses, and an action in place of the tenant's.
USERS = {
    "u-100": ("Ines Moreau", ("ines.moreau@harbour.example", "ines@harbour.example"), None),
    "u-101": ("Tomasz Brandt", ("tomasz.brandt@harbour.example",), None),
    "u-102": ("Accounts payable", ("invoices@harbour.example",), "trash"),
}
SENDER = {"handle": "office@supplier.example", "role": "from"}
INVOICE = {"filename": "Invoice 2026-118.pdf", "size": 184_233, "content_type": "application/pdf"}
PHOTO = {"filename": "quay at dawn.jpg", "size": 2_400_000, "content_type": "image/jpeg"}
MEAN_PAUSE = 4.0  # seconds between two messages


def login_path(conn: Connection) -> str:
    """Return the path of a link that logs the demo's admin in to the console, once."""
    run, actor = in_transaction(conn), command_line_actor("the demo")
    admin = accounts.find(conn, ADMIN)
    if admin is None:
        add_account(run, actor, email=ADMIN, name="Admin of the demo", role="admin")
        admin = require_account(conn, ADMIN)
    return make_link(run, actor, admin, "login").path


def add_endpoint_of_host(conn: Connection, settings: Settings) -> str:
    """Have the tenant's messages sent to the demo's host application, and return the secret that signs them.

    It is a new secret at each start, as stored ones are never given out. Raises BadEndpoint.
    """
    run, actor = in_transaction(conn), command_line_actor("the demo")
    vault, url = TokenVault(settings.token_keys), f"http://127.0.0.1:{settings.demo_host_port}/mailroom"
    found = endpoints.find(conn, ENDPOINT)
    if found and found.url == url:
        return rotate_secret(run, actor, found.id, vault, overlap=timedelta()).secret
    if found:  # on another port
        remove_endpoint(run, actor, found.id)
    new = NewEndpoint(name=ENDPOINT, url=url, tenant_id=_ensure_tenant(conn))
    return add_endpoint(run, actor, new, vault, settings.endpoint_networks).secret


def recipient(handle: str, role: str = "to") -> dict[str, str]:
    """Make a recipient as Front's messages have it."""
    return {"handle": handle, "role": role}


#: The webhooks of the demo, over and over: one for each kind of case that Mailroom distinguishes.
MAIL: tuple[dict[str, Any], ...] = (
    {
        "recipients": [SENDER, recipient("Ines@harbour.example"), recipient("partner@quay.example", "cc")],
        "attachments": [INVOICE, PHOTO],
    },
    {"recipients": [SENDER, recipient("orders@harbour.example"), recipient("tomasz.brandt@harbour.example", "cc")]},
    {"recipients": [SENDER, recipient("invoices@harbour.example")], "attachments": [INVOICE]},
    {"recipients": [SENDER, recipient("nobody@harbour.example")]},
    {"type": "tag_added"},
    {"type": "outbound_sent"},
    {"recipients": [SENDER, recipient("ines.moreau@harbour.example")], "fault": "preview", "attachments": [INVOICE]},
    {"recipients": [SENDER, recipient("keeper@lighthouse.example")], "company": UNCLAIMED_COMPANY},
)


def main() -> int:
    """Run until TERM or Ctrl-C (0), or until something fails that waiting does not mend (1; 78 for settings)."""
    stop = stopping.on_signals()
    while not stop.is_set():
        try:
            play(load().refuse_in_production("the demo"), stop)
        except StoreUnavailable as exc:
            _print(f"the demo waits: {exc}")
            stop.wait(1.0)
        except ConfigurationError as exc:
            _print(f"the demo stopped: {exc}")
            return EXIT_CONFIGURATION
        except requests.HTTPError:
            _print("the sandbox was killed and has forgotten its mail; setting it up again")
            stop.wait(1.0)
        except (MailroomError, requests.RequestException) as exc:
            _print(f"the demo stopped: {exc}")
            return 1
    return 0


def play(settings: Settings, stop: stopping.Stop) -> None:
    """Set up the sandbox and the tenant, then send mail until `stop`."""
    sandbox = Sandbox(settings, stop)
    _set_up(sandbox, settings)
    while not stop.is_set() and sandbox.post("challenge", {})["status"] != HTTPStatus.OK:
        stop.wait(0.2)  # the door is still starting
    for number, mail in enumerate(itertools.cycle(MAIL)):
        order = {"type": "inbound_received", "company": COMPANY, **mail}
        [event] = sandbox.post("send", order)["events"]
        _print(f"sent {event['event_id']}  {describe(order)}")
        if number == 0:
            _report_when_done(settings, event["event_id"], stop)
        if stop.wait(MEAN_PAUSE * random.uniform(0.5, 1.5)):  # noqa: S311 -- mail does not come by the clock
            return


class Sandbox:
    """Controls the sandbox, which may not listen yet."""

    def __init__(self, settings: Settings, stop: stopping.Stop):
        self._url = f"http://127.0.0.1:{settings.sandbox_port}/sandbox"
        self._stop = stop

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """POST the body and return the answer's document; wait until somebody listens. Raises SystemExit on stop."""
        while not self._stop.is_set():
            try:
                answer = requests.post(f"{self._url}/{path}", json=body, timeout=60)
                answer.raise_for_status()
                return answer.json()
            except requests.ConnectionError:
                self._stop.wait(0.2)
        raise SystemExit(0)


def describe(order: dict[str, Any]) -> str:
    """Describe a webhook in a line: its type, its recipients and the number of its files."""
    handles = [each["handle"] for each in order.get("recipients", ()) if each["role"] != "from"]
    files = len(order.get("attachments", ()))
    parts = (order["type"], f"to {', '.join(handles)}" if handles else "", f"files: {files}" if files else "")
    return "  ".join(part for part in parts if part)


def shell_word(path: Path) -> str:
    """Quote the path as one word of a shell command; relative, if it is below the current folder."""
    here = Path.cwd()
    return shlex.quote(str(path.relative_to(here) if path.is_relative_to(here) else path))


def _set_up(sandbox: Sandbox, settings: Settings) -> None:
    token = sandbox.post("companies", {"id": COMPANY, "name": TENANT})["api_token"]
    unclaimed = sandbox.post("companies", {"id": UNCLAIMED_COMPANY, "name": "Lighthouse Keepers"})["api_token"]
    (settings.mailroom_data / TOKEN_FILE).write_text(f"{unclaimed}\n", encoding="utf-8")
    with session(settings.database_url.get_secret_value()) as conn, conn.transaction():
        seal_and_store(conn, _ensure_tenant(conn), token)


def _ensure_tenant(conn: Connection) -> int:
    tenant = tenants.find(conn, TENANT)
    if tenant:
        return tenant.id
    with conn.transaction():
        return _add_tenant(conn)


def _add_tenant(conn: Connection) -> int:
    tenant_id = tenants.add(conn, TENANT, COMPANY)
    tenants.set_policy(conn, tenant_id, tenants.PolicyChange(action="archive"))
    for external_id, (name, handles, action) in USERS.items():
        addresses = tuple(users.Address(key=match_key(handle) or handle, as_given=handle) for handle in handles)
        user = users.NewUser(external_id=external_id, name=name, action=action, addresses=addresses)
        users.add(conn, tenant_id, user)
    return tenant_id


def _report_when_done(settings: Settings, event_id: str, stop: stopping.Stop) -> None:
    """Wait up to 10 s for the first event, and say what to try next when it is done."""
    with session(settings.database_url.get_secret_value()) as conn:
        for _ in range(100):
            if any(event.state == "done" for event in events.find_by_any_id(conn, event_id)):
                _print(_next_steps(event_id, settings.mailroom_data / TOKEN_FILE))
                return
            if stop.wait(0.1):
                return


def _next_steps(event_id: str, token_file: Path) -> str:
    return (
        "the first message went all the way: matched, files stored, conversation archived.\n"
        f"  ./run event show {event_id}\n"
        "mail for a company without a tenant is parked until somebody connects the company:\n"
        "  ./run tenant add Lighthouse\n"
        "  ./run user add --tenant Lighthouse --id 1 --name Keeper --email keeper@lighthouse.example\n"
        "  ./run tenant connect Lighthouse      prints a link: open it in a browser and allow access\n"
        f"  ./run tenant connect Lighthouse --api-token-file {shell_word(token_file)}      connects without a browser"
    )


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
