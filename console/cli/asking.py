"""Asks a person before something is changed."""

from __future__ import annotations

import sys

import click


def confirm(question: str, *, yes: bool) -> None:
    """Go on after a yes; exit after a no. Raises UsageError where nobody can be asked."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError("nobody can be asked here: add --yes, or --dry-run to only see the plan")
    click.confirm(question, abort=True, err=True)
