"""`mailroom sandbox`: run the small Front, and make it send webhooks."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any, TextIO

import click

from console.cli.commands import PARTLY_FAILED
from console.cli.options import json_option
from console.cli.output import print_json, print_table

if TYPE_CHECKING:
    from shared.settings import Settings

MAX_ROWS = 20  # events listed one by one


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
    from shared.settings import load

    settings = load().refuse_in_production("the sandbox").require("front_signing_keys")
    try:
        from sandbox.__main__ import main as run
    except ModuleNotFoundError:
        raise click.ClickException("this installation has no sandbox; build the image with --target sandbox") from None
    run(["serve", *_sandbox_options(settings), *options])


@sandbox.command()
@click.argument("type_", metavar="[TYPE]", required=False)
@click.option(
    "--body",
    type=click.File(encoding="utf-8"),
    metavar="FILE",
    help="What to send, as `mailroom event show EVT --fixture` prints it; options change parts of it.",
)
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
def send(
    ctx: click.Context, /, type_: str | None, body: TextIO | None, handles: tuple[str, ...], as_json: bool, **order: Any
) -> None:
    """Send webhooks of a TYPE from the sandbox, as in inbound_received; `mixed` sends all types.

    Exits 4 when the door did not accept all. Example: mailroom sandbox send inbound_received --count 10 --attachments 2
    """
    from console import sandbox_control
    from shared.settings import load

    settings = load().refuse_in_production("the sandbox")
    order["type"] = type_
    order["recipients"] = [{"handle": handle, "role": "to"} for handle in handles] or None
    given = _read_order(body) if body else {}
    given |= {name: value for name, value in order.items() if value is not None}
    given.setdefault("company", next(iter(sandbox_control.companies(settings)), None))
    if not given["company"]:
        raise click.UsageError("--company is needed: the sandbox has none yet")
    if not given.get("type"):
        raise click.UsageError("name a TYPE, as in inbound_received, or a --body")
    try:
        events = sandbox_control.send(settings, given)
    except sandbox_control.SandboxRefused as refusal:
        raise click.UsageError(str(refusal)) from None
    if as_json:
        print_json({"events": events})
    else:
        _print(events)
    if not all(event["acknowledged"] for event in events):
        ctx.exit(PARTLY_FAILED)


def _read_order(file: TextIO) -> dict[str, Any]:
    try:
        order = json.load(file)
    except ValueError:
        order = None
    if not isinstance(order, dict):
        raise click.UsageError("--body takes one JSON object, as `mailroom event show EVT --fixture` prints it")
    return order


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


def _print(events: list[dict[str, Any]]) -> None:
    if len(events) <= MAX_ROWS:
        rows = [(event["event_id"], event["conversation_id"], event["status"] or "no answer") for event in events]
        print_table(("event", "conversation", "door"), rows)
    statuses = Counter(str(event["status"] or "no answer") for event in events)
    counts = ", ".join(f"{count} × {status}" for status, count in statuses.most_common())
    click.echo(f"sent {len(events):,}; the door answered {counts}")
