"""`mailroom endpoint`: the URLs of the host application that get notifications."""

from __future__ import annotations

import shlex
import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from console.cli.backend import backend
from console.cli.commands import FAILED
from console.cli.options import Duration, Selection, Since, json_option, yes_option
from console.cli.output import print_json, print_pairs, print_table, say, say_if_empty
from console.times import format_short_time, format_time

if TYPE_CHECKING:
    from console.cli.backend import Backend
    from console.cli.options import EndpointChange
    from shared.db.host.endpoints import Endpoint
    from shared.db.reading.tasks import TaskDetails

#: A test is waited for so long: its endpoint has 20 s to answer.
TEST_SECONDS = 30.0
POLL_SECONDS = 0.3
OPEN = {"ready", "queued", "running"}

name_argument = click.argument("name", metavar="ENDPOINT")


@click.group()
def endpoint() -> None:
    """Send messages to your own application: add, test, hold and release its URLs."""


@endpoint.command()
@name_argument
@click.argument("url")
@click.option("--tenant", metavar="T", help="Only this tenant's notifications (name or company id); all without.")
@click.option("--type", "types", multiple=True, metavar="TYPE", help="Only this type, as in message.received; repeat.")
@click.option(
    "--include",
    type=click.Choice(("text", "html", "none")),
    default="text",
    show_default=True,
    help="The parts of a message inside a notification.",
)
@json_option
def add(name: str, url: str, tenant: str | None, as_json: bool, **parts: Any) -> None:
    """Add a URL that gets a signed POST for each message, and print the secret that signs, once.

    step:NAME in place of a URL runs the step NAME of a package in the workers (docs/host.md).

    Example: mailroom endpoint add app https://app.example.com/mailroom
    """
    from shared.db.host.endpoints import NewEndpoint
    from shared.host.endpoint_rules import step_name

    with backend() as mailroom:
        tenant_id = mailroom.tenant(tenant).id if tenant else None
        secret = mailroom.add_endpoint(NewEndpoint(name=name, url=url, tenant_id=tenant_id, **parts))
    if step_name(url.strip()) is None:
        _print_secret(name, secret, as_json=as_json)
    else:
        say(f"{name} is a step; `mailroom endpoint test {shlex.quote(name)}` tells whether a worker has it")


@endpoint.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the endpoints, whether they are held, and how much waits for them."""
    with backend() as mailroom:
        found = mailroom.list_endpoints()
    if as_json:
        print_json([_document(each) for each in found])
        return
    rows = [
        (each.name, _shown_url(each), each.tenant or "every tenant", _state(each), each.waiting, _last_success(each))
        for each in found
    ]
    columns = ("endpoint", "URL", "tenant", "state", "waiting", "last 2xx (UTC)")
    print_table(columns, rows, right=("waiting",), unwrapped=("endpoint", "last 2xx (UTC)"))
    say_if_empty(found, "endpoints")


@endpoint.command()
@name_argument
@json_option
def show(name: str, as_json: bool) -> None:
    """Show one endpoint; `mailroom task list --kind notify` lists what is sent."""
    with backend() as mailroom:
        found = mailroom.endpoint(name)
    if as_json:
        print_json(_document(found))
        return
    pairs = [
        ("endpoint", f"{found.name} ({found.id})"),
        ("URL", _shown_url(found)),
        ("tenant", found.tenant or "every tenant"),
        ("types", ", ".join(found.types) if found.types else "all but those about single files"),
        ("includes", found.include),
        ("state", _state(found)),
        ("held since", found.held_at and format_time(found.held_at)),
        ("failures", found.failures or None),
        ("last failure", found.last_failure),
        ("last 2xx", _last_success(found)),
        ("waiting", f"{found.waiting:,}"),
        ("oldest", found.oldest_at and format_time(found.oldest_at)),
        ("old secret", found.previous_until and f"signs until {format_time(found.previous_until)}"),
    ]
    print_pairs((label, value) for label, value in pairs if value is not None)


@endpoint.command()
@name_argument
@json_option
@click.pass_context
def test(ctx: click.Context, name: str, as_json: bool) -> None:
    """Send a `ping` through a worker, and say what the endpoint answered. It is tried once, also while it is held."""
    with backend() as mailroom:
        found = mailroom.endpoint(name)
        details = _wait_for_test(mailroom, mailroom.test_endpoint(found.id))
    if as_json:
        print_json(details)
    elif details.task.state == "done":
        click.echo(f"{name} took the test: {_answer(details)}")
    elif details.task.state in OPEN:
        say(f"the test of {name} is not sent yet: does a worker run? `mailroom task show {details.task.id}` goes on")
    else:
        say(f"{name} did not take the test: it {details.task.detail}")
    if details.task.state != "done":
        ctx.exit(FAILED)


@endpoint.command()
@name_argument
@click.option("--overlap", type=Duration(), default="24h", show_default=True, help="So long the old secret signs, too.")
@json_option
def rotate(name: str, overlap: timedelta, as_json: bool) -> None:
    """Make a new secret and print it once; for a while both sign."""
    with backend() as mailroom:
        secret = mailroom.rotate_secret(mailroom.endpoint(name).id, overlap=overlap)
    _print_secret(name, secret, as_json=as_json)


def _change_command(change: EndpointChange, done: str, text: str) -> None:
    @endpoint.command(change, help=text)
    @name_argument
    def command(name: str) -> None:
        with backend() as mailroom:
            mailroom.change_endpoint(mailroom.endpoint(name).id, change)
        click.echo(f"{name} is {done}")


_change_command("hold", "held", "Let all that is for an endpoint wait, until somebody releases it.")
_change_command("release", "open", "Send a held endpoint what waits for it, the oldest first.")


@endpoint.command()
@name_argument
@yes_option
def remove(name: str, yes: bool) -> None:
    """Remove an endpoint with all that waits for it."""
    with backend() as mailroom:
        found = mailroom.endpoint(name)
        if not yes:
            click.confirm(f"Remove {name}, and {found.waiting:,} notifications that wait for it?", abort=True)
        mailroom.change_endpoint(found.id, "remove")
    click.echo(f"removed {name}")


@endpoint.command()
@name_argument
@click.option("--since", type=Since(), required=True, metavar="2h|7d|TIME", help="What was noted since then.")
@yes_option
def recover(name: str, since: datetime, yes: bool) -> None:
    """Send an endpoint again what it got, or was to get, since then, under the same ids: as a job.

    Example: mailroom endpoint recover app --since 6h
    """
    from console.cli.job import watch_job
    from console.filter_words import Words

    with backend() as mailroom:
        number = mailroom.endpoint(name).id
        wanted = Selection(words=Words(kind="notify", endpoint=str(number), since=since.isoformat()))
        count = sum(group.count for group in mailroom.count_tasks("recover", wanted))
        if not count:
            say("nothing was sent since then, nor failed")
            return
        if not yes:
            click.confirm(f"Send {count:,} notifications again?", abort=True)
        job = mailroom.plan_job("recover", wanted, reason="", accept_size=False)
        mailroom.step_job(job, "start")
        watch_job(mailroom, job)


def _wait_for_test(mailroom: Backend, task_id: int) -> TaskDetails:
    until = time.monotonic() + TEST_SECONDS
    while True:
        details = mailroom.task(task_id)
        if details is None:
            raise click.ClickException("the endpoint was removed meanwhile")
        if details.task.state not in OPEN or time.monotonic() > until:
            return details
        time.sleep(POLL_SECONDS)


def _answer(details: TaskDetails) -> str:
    calls = details.attempts[-1].calls if details.attempts else []
    return f"{calls[-1]['status']} after {calls[-1]['ms']} ms" if calls else "a worker has the step"


def _state(found: Endpoint) -> str:
    causes = {
        "failures": "held: it fails, and is probed",
        "gone": "held: it answered 410",
        "disabled": "held: it asked for that",
        "person": "held by a person",
    }
    return causes[found.held_cause] if found.held_cause else "open"


def _last_success(found: Endpoint) -> str:
    return format_short_time(found.last_success_at) if found.last_success_at else "never"


def _shown_url(found: Endpoint) -> str:
    from shared.host.endpoint_rules import shown_url

    return shown_url(found.url)


def _document(found: Endpoint) -> dict[str, object]:
    hidden = {"not_before", "probe_at"}
    return {name: value for name, value in vars(found).items() if name not in hidden} | {"url": _shown_url(found)}


def _print_secret(name: str, secret: str, *, as_json: bool) -> None:
    say(f"the secret of {name} is shown only now; the application verifies the header webhook-signature with it")
    if as_json:
        print_json({"name": name, "secret": secret})
    else:
        click.echo(secret)
