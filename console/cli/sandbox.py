"""`mailroom sandbox`: run the small Front, and make it send webhooks."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import click

from console.cli.commands import PARTLY_FAILED
from console.cli.options import json_option
from console.cli.output import print_json, print_table
from shared.errors import MailroomError

if TYPE_CHECKING:
    import requests

    from shared.settings import Settings

MAX_ROWS = 20  # events listed one by one


class SandboxAway(MailroomError):
    """The sandbox does not listen on SANDBOX_PORT."""

    code = "sandbox_away"


@click.group()
def sandbox() -> None:
    """Run a small Front on this machine, to try everything without an account."""


@sandbox.command(context_settings={"ignore_unknown_options": True})
@click.argument("options", nargs=-1, type=click.UNPROCESSED)
def serve(options: tuple[str, ...]) -> None:
    """Run the sandbox on SANDBOX_PORT; it sends to the door on PORT, signed with the newest signing key.

    OPTIONS go to `python -m sandbox serve`, which lists them with --help.
    Example: mailroom sandbox serve --latency-ms 80
    """
    from sandbox.__main__ import main as run
    from shared.settings import load

    run(
        ["serve", *_sandbox_options(load().refuse_in_production("the sandbox").require("front_signing_keys")), *options]
    )


@sandbox.command()
@click.argument("type_", metavar="TYPE")
@click.option("--company", metavar="cmp_…", help="The company; without it the sandbox's oldest company.")
@click.option("--count", type=click.IntRange(min=1), default=1, show_default=True)
@click.option(
    "--rate", type=click.FloatRange(min=0, min_open=True), help="Events a second; without it as fast as possible."
)
@click.option("--to", "handles", multiple=True, metavar="ADDRESS", help="A recipient; may be given several times.")
@click.option("--attachments", "attachment_count", type=click.IntRange(min=0), help="Files in each message.")
@click.option("--conversation", metavar="cnv_…", help="An existing conversation.")
@click.option("--duplicates", type=click.FloatRange(0, 1), help="Share of events to deliver twice.")
@click.option("--shuffle", is_flag=True, default=None, help="Deliver them in random order.")
@click.option("--fault", help="What is wrong with them, as in bad_signature; a wrong name lists all.")
@json_option
@click.pass_context
def send(ctx: click.Context, /, type_: str, handles: tuple[str, ...], as_json: bool, **order: Any) -> None:
    """Send webhooks of a TYPE from the sandbox, as in inbound_received; `mixed` sends all types.

    Exits 4 when the door did not accept all. Example: mailroom sandbox send inbound_received --count 10 --attachments 2
    """
    from shared.settings import load

    settings = load().refuse_in_production("the sandbox")
    order["type"], order["company"] = type_, order["company"] or _first_company(settings)
    order["recipients"] = [{"handle": handle, "role": "to"} for handle in handles] or None
    answer = _call(settings, "POST", "send", {name: value for name, value in order.items() if value is not None})
    accepted = sum(1 for event in answer["events"] if event["acknowledged"])
    if as_json:
        print_json(answer)
    else:
        _print(answer["events"])
    if accepted < len(answer["events"]):
        ctx.exit(PARTLY_FAILED)


def _sandbox_options(settings: Settings) -> list[str]:
    options = {
        "--port": str(settings.sandbox_port),
        "--door": f"http://127.0.0.1:{settings.port}/webhooks/front",
        "--signing-key": settings.signing_keys[0].decode(),
        "--data": str(settings.mailroom_data / "sandbox"),
        "--client-id": settings.front_client_id,
        "--client-secret": settings.front_client_secret.get_secret_value(),
    }
    return [part for name, value in options.items() if value for part in (name, value)]


def _first_company(settings: Settings) -> str:
    for company in _call(settings, "GET", "companies")["companies"]:
        return str(company["id"])
    raise click.UsageError("--company is needed: the sandbox has none yet")


def _call(settings: Settings, method: str, path: str, body: object = None) -> dict[str, Any]:
    import requests

    url = f"http://127.0.0.1:{settings.sandbox_port}/sandbox/{path}"
    try:
        with requests.Session() as session:
            session.trust_env = False
            answer = session.request(method, url, json=body, timeout=(2, None))
    except requests.ConnectionError as error:
        raise SandboxAway(
            f"no sandbox listens on port {settings.sandbox_port}; start one with `mailroom sandbox serve` "
            "or `mailroom up --demo`, or set SANDBOX_PORT"
        ) from error
    return _document(answer)


def _document(answer: requests.Response) -> dict[str, Any]:
    try:
        document = answer.json()
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise click.ClickException(f"{answer.url} is no sandbox: it answered {answer.status_code}")
    if not answer.ok:
        raise click.UsageError(str(document.get("error") or document))
    return document


def _print(events: list[dict[str, Any]]) -> None:
    if len(events) <= MAX_ROWS:
        rows = [(event["event_id"], event["conversation_id"], event["status"] or "no answer") for event in events]
        print_table(("event", "conversation", "door"), rows)
    statuses = Counter(str(event["status"] or "no answer") for event in events)
    counts = ", ".join(f"{count} × {status}" for status, count in statuses.most_common())
    click.echo(f"sent {len(events):,}; the door answered {counts}")
