"""The root group of all commands: a failure ends in an exit code for scripts and one line that says what to do."""

from __future__ import annotations

from typing import Any

import click

from console.cli.output import replace_unprintable
from shared.errors import ConfigurationError, MailroomError

FAILED, NOTHING_MATCHED, PARTLY_FAILED, CONFIGURATION = 1, 3, 4, 78


class NothingMatched(click.ClickException):
    """No tenant, task or event matches the arguments."""

    exit_code = NOTHING_MATCHED


class RootGroup(click.Group):
    """Lists its commands in the order they were added, and turns Mailroom's errors into exit codes."""

    def list_commands(self, _: click.Context) -> list[str]:
        """Return the commands in the order a newcomer needs them."""
        return list(self.commands)

    def main(self, *arguments: Any, **options: Any) -> Any:
        """Run the command line. Its output is readable in any encoding."""
        replace_unprintable()
        return super().main(*arguments, **options)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; print a MailroomError as one line and exit, instead of a traceback."""
        try:
            return super().invoke(ctx)
        except ConfigurationError as error:
            click.echo(f"Configuration: {error}", err=True)
            ctx.exit(CONFIGURATION)
        except MailroomError as error:
            click.echo(f"{error.code}: {error}", err=True)
            ctx.exit(FAILED)

    @staticmethod
    def print_version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
        """Print the version and exit, where --version is given."""
        if value:
            from shared import installed_version

            version = installed_version()
            click.echo(f"mailroom {version}" if version else "mailroom, not installed: run from its source folder")
            ctx.exit()
