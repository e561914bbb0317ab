"""Ends every command the same way: an exit code scripts can rely on, and one line that says what to do."""

from __future__ import annotations

from typing import Any

import click

from shared.errors import ConfigurationError, MailroomError

FAILED, NOTHING_MATCHED, PARTLY_FAILED, CONFIGURATION = 1, 3, 4, 78


class NothingMatched(click.ClickException):
    """What was asked for does not exist."""

    exit_code = NOTHING_MATCHED


class Commands(click.Group):
    """The root of all commands."""

    def list_commands(self, _: click.Context) -> list[str]:
        """The commands in the order somebody new needs them."""
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; our own errors become a line and an exit code instead of a traceback."""
        try:
            return super().invoke(ctx)
        except ConfigurationError as error:
            click.echo(f"Configuration: {error}", err=True)
            ctx.exit(CONFIGURATION)
        except MailroomError as error:
            click.echo(f"{error.code}: {error}", err=True)
            ctx.exit(FAILED)

    @staticmethod
    def show_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
        """Print the version and stop."""
        if wanted:
            from console import installed

            found = installed()
            click.echo(f"mailroom {found}" if found else "mailroom, not installed: run from its source folder")
            ctx.exit()
