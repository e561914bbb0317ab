"""`mailroom forward`: send a stored event's notification to an application on the developer's machine."""

from __future__ import annotations

import json
import secrets
import time
from typing import TYPE_CHECKING

import click

from console.cli.backend import backend
from console.cli.commands import FAILED, NothingMatched
from console.cli.event import event_number
from console.cli.output import say

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.host.endpoint_rules import Networks

ANSWER_SECONDS = 20.0
#: So much of the answer is printed.
LONGEST_ANSWER = 4_096
LOOPBACK = ("127.0.0.0/8", "::1/128")


@click.command()
@click.argument("evt")
@click.option("--to", "url", required=True, metavar="URL", help="As in http://localhost:5000/mailroom.")
@click.option(
    "--secret", envvar="WEBHOOK_SECRET", metavar="whsec_…", help="Signs; also WEBHOOK_SECRET. Else a new one."
)
@click.option("--tenant", metavar="T", help="The event's tenant, where two companies have the same id.")
@click.option("--company", metavar="cmp_…", help="The same, by company id.")
@click.pass_context
def forward(ctx: click.Context, /, evt: str, url: str, secret: str | None, **where: str | None) -> None:
    """Send the notification of a stored event to an application on this machine, once.

    Another address must be in ENDPOINT_NETWORKS. Nothing is noted: neither an attempt nor the answer.

    Example: mailroom forward evt_4rk1x0bw --to http://localhost:5000/mailroom
    """
    from shared.host import signature
    from shared.host.endpoint_rules import BadEndpoint, validated_url

    if secret is None:
        secret = signature.encode_secret(secrets.token_bytes(signature.SECRET_BYTES))
        say(f"signed with a new secret: {secret}")
    networks = _networks()
    try:
        url = validated_url(url, networks)
    except BadEndpoint as error:
        raise click.UsageError(f"--to: {error}") from None
    with backend() as mailroom:
        number = event_number(mailroom.find_events(evt, tenant=where["tenant"], company=where["company"]), evt)
        body = mailroom.notification_of_event(number)
    if body is None:
        raise NothingMatched(f"{evt} has no notification: its files are not stored yet, or it is about no message")
    try:
        headers = signature.signed_headers(json.loads(body)["id"], int(time.time()), body, [secret])
    except ValueError:
        raise click.UsageError("--secret: a secret is whsec_ and base64 after it") from None
    if not _send(url, body, headers, networks):
        ctx.exit(FAILED)


def _networks() -> Networks:
    from ipaddress import ip_network

    from shared.settings import load

    return [*map(ip_network, LOOPBACK), *load().endpoint_networks]


def _send(url: str, body: bytes, headers: Mapping[str, str], networks: Networks) -> bool:
    """POST the body, say what was answered, and return whether that was a 2xx."""
    from shared.errors import UnsafeRedirect
    from shared.host.endpoint_rules import is_listed
    from shared.http.transport import HttpClient, NoAnswer
    from shared.text import printable

    client = HttpClient(user_agent="mailroom forward", is_allowed=lambda address: is_listed(address, networks))
    sent = {"Content-Type": "application/json", "mailroom-attempt": "1", **headers}
    began = time.monotonic()
    try:
        with client.within(ANSWER_SECONDS), client.open("POST", url, headers=sent, form=body) as response:
            answer = client.read(response, max_bytes=LONGEST_ANSWER)
    except UnsafeRedirect:
        raise click.UsageError("--to: that is not this machine; ENDPOINT_NETWORKS lists what else is allowed") from None
    except NoAnswer as error:
        say(f"{url} gave no answer: it {error}")
        return False
    click.echo(f"answered {response.status_code} after {1000 * (time.monotonic() - began):.0f} ms")
    if answer:
        click.echo(printable(answer.decode(errors="replace")))
    return 200 <= response.status_code < 300
