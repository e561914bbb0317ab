"""`mailroom doctor`: run every check and print what to fix. `mailroom health`: say whether one process lives."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from console.cli.commands import FAILED
from console.cli.options import database, json_option, require_no_remote
from console.cli.output import print_json, safe_text, stdout_page
from shared.errors import ConfigurationError

if TYPE_CHECKING:
    from console.finding import Finding


@click.command()
@click.option(
    "--webhook-url", metavar="URL", help="Also try the URL at which Front reaches the door, by a signed challenge."
)
@json_option
@click.pass_context
def doctor(ctx: click.Context, webhook_url: str | None, as_json: bool) -> None:
    """Check settings, servers, storage and tokens; exits 1 when something must be fixed.

    Example: mailroom doctor --webhook-url https://your.host/webhooks/front
    """
    if webhook_url is not None:
        _require_http_url(webhook_url)
    findings = list(_findings(webhook_url))
    healthy = all(finding.ok for finding in findings)
    if as_json:
        print_json({"ok": healthy, "checks": findings})
    else:
        _print(findings)
    if not healthy:
        ctx.exit(FAILED)


@click.command()
@click.argument("kind", type=click.Choice(["recorder", "worker", "sweeper", "console"]))
@click.pass_context
def health(ctx: click.Context, kind: str) -> None:
    """Say whether this host's process of a kind lives; exits 1 when it has been silent for 15 seconds.

    For the health checks of containers. Example: mailroom health worker
    """
    from shared.db.tasks.capacity import is_alive

    with database() as conn:
        alive = is_alive(conn, kind, socket.gethostname())
    click.echo(f"the {kind} on {socket.gethostname()} {'lives' if alive else 'has been silent for 15 seconds'}")
    if not alive:
        ctx.exit(FAILED)


def _require_http_url(value: str) -> None:
    from shared.setting_values import checked_http_url

    try:
        checked_http_url(value)
    except ValueError as error:
        raise click.UsageError(f"--webhook-url: {error}") from None


def _findings(webhook_url: str | None) -> Iterator[Finding]:
    from console.checks import run_checks
    from console.finding import Finding
    from shared.settings import load

    try:
        settings = load()
    except ConfigurationError as error:
        for mistake in str(error).splitlines():
            yield Finding(name="settings", ok=False, found=mistake, fix="correct the environment")
        return
    require_no_remote()
    yield Finding(name="settings", ok=True, found="can be read")
    yield from run_checks(settings)
    if webhook_url is not None:
        from console.webhook_check import check_webhook_url

        yield from check_webhook_url(settings, webhook_url)


def _print(findings: Sequence[Finding]) -> None:
    from rich.text import Text

    page = stdout_page()
    for finding in findings:
        mark = Text("ok    ", "green") if finding.ok else Text("WRONG ", "red")
        page.print(mark + safe_text(f"{finding.name}: {finding.found}"), soft_wrap=True)
        if not finding.ok:
            page.print(Text(f"      fix: {finding.fix}"), soft_wrap=True)
