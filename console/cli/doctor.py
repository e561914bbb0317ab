"""`mailroom doctor`: every check with its fix."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from console.cli.commands import FAILED
from console.cli.options import json_option
from shared.errors import ConfigurationError

if TYPE_CHECKING:
    from console.cli.checks import Finding


@click.command()
@json_option
@click.pass_context
def doctor(ctx: click.Context, as_json: bool) -> None:
    """Check settings, servers, storage and tokens; exits 1 when something needs mending."""
    from console.cli.output import print_json

    findings = _findings()
    healthy = all(finding.ok for finding in findings)
    if as_json:
        print_json({"ok": healthy, "checks": findings})
    else:
        _print(findings)
    if not healthy:
        ctx.exit(FAILED)


def _findings() -> list[Finding]:
    from console.cli.checks import Finding, examine
    from shared.settings import load

    try:
        settings = load()
    except ConfigurationError as error:
        return [Finding(name="settings", ok=False, found=str(error), fix="correct the environment")]
    return [Finding(name="settings", ok=True, found="can be read"), *examine(settings)]


def _print(findings: list[Finding]) -> None:
    from rich.text import Text

    from console.cli.output import screen, shown

    page = screen()
    for finding in findings:
        mark = Text("ok    ", "green") if finding.ok else Text("WRONG ", "red")
        page.print(mark + shown(f"{finding.name}: {finding.found}"), soft_wrap=True)
        if not finding.ok:
            page.print(Text(f"      fix: {finding.fix}"), soft_wrap=True)
