"""`mailroom forward` sends a stored event's notification to this machine alone, here and with a console elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from shared.host.signature import encode_secret
from tests.integration.console.api.test_messages import announce
from tests.integration.console.test_listen import tenant
from tests.integration.host.delivering import HostApplication

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from tests.integration.console.conftest import Mailroom

__all__ = ["tenant"]
SECRET, OTHER = encode_secret(b"k" * 32), encode_secret(b"o" * 32)


@pytest.fixture
def host() -> Iterator[HostApplication]:
    """A host application, in a process of its own, which judges signatures with SECRET."""
    with HostApplication() as running:
        running.behave(secrets=[SECRET])
        yield running


@pytest.fixture
def forwarding(command: Mailroom, web_environment: dict[str, str]) -> Mailroom:
    """The command with the key that signs links to files, as the console has it."""
    command.environment["SECRET_KEY"] = web_environment["SECRET_KEY"]
    return command


def test_the_notification_is_sent_signed(
    forwarding: Mailroom, tenant: int, conn: psycopg.Connection[Any], host: HostApplication
) -> None:
    number = announce(conn, tenant, 1, subject="Quay 4")
    told = forwarding("forward", "evt_1", "--to", host.url, "--secret", SECRET)
    assert told.stdout.startswith("answered 204 after ")
    assert "secret" not in told.stderr
    forwarding("forward", str(number), "--to", host.url, "--secret", OTHER)
    first, second = host.received()
    assert (first["type"], first["subject"], first["attempt"]) == ("message.received", "Quay 4", 1)
    assert (first["verified"], second["verified"]) == ([True], [False])
    assert first["id"] == first["body_id"] == second["id"]


def test_without_a_secret_a_new_one_is_shown_and_signs(
    forwarding: Mailroom, tenant: int, conn: psycopg.Connection[Any], host: HostApplication
) -> None:
    announce(conn, tenant, 1)
    secret = forwarding("forward", "evt_1", "--to", host.url).stderr.split()[-1]
    host.behave(secrets=[secret])
    forwarding("forward", "evt_1", "--to", host.url, "--secret", secret)
    assert host.received()[1]["verified"] == [True]


def test_a_refusal_and_a_host_that_is_away_exit_with_1(
    forwarding: Mailroom, tenant: int, conn: psycopg.Connection[Any], host: HostApplication
) -> None:
    announce(conn, tenant, 1)
    host.behave(status=302)
    assert "answered 302" in forwarding("forward", "evt_1", "--to", host.url, "--secret", SECRET, code=1).stdout
    host.stop()
    assert "gave no answer" in forwarding("forward", "evt_1", "--to", host.url, "--secret", SECRET, code=1).stderr


@pytest.mark.parametrize("url", ["http://10.0.0.1/x", "https://93.184.216.34/x", "ftp://localhost/x"])
def test_another_address_is_refused(forwarding: Mailroom, tenant: int, conn: psycopg.Connection[Any], url: str) -> None:
    announce(conn, tenant, 1)
    assert "--to: " in forwarding("forward", "evt_1", "--to", url, "--secret", SECRET, code=2).stderr


def test_an_event_without_a_message_is_told(
    forwarding: Mailroom, tenant: int, conn: psycopg.Connection[Any], host: HostApplication
) -> None:
    announce(conn, tenant, 1)
    conn.execute("DELETE FROM outbox")
    conn.execute("DELETE FROM notifications")
    assert "has no notification" in forwarding("forward", "evt_1", "--to", host.url, code=3).stderr
    assert "no event" in forwarding("forward", "evt_9", "--to", host.url, code=3).stderr


def test_a_secret_that_is_none_is_told(
    forwarding: Mailroom, tenant: int, conn: psycopg.Connection[Any], host: HostApplication
) -> None:
    announce(conn, tenant, 1)
    told = forwarding("forward", "evt_1", "--to", host.url, "--secret", "whsec_?", code=2).stderr
    assert "whsec_ and base64" in told
    assert "whsec_?" not in told
