"""`mailroom doctor` looks at clocks and waiting work, and tries a webhook URL as Front does when an app is saved."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest
import redis

from shared.intake.client import STREAM
from tests.integration.door.door_process import running_door
from tests.integration.front.peers import Peer, answer
from tests.integration.start.redis_peers import tls_relay

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import psycopg

    from tests.integration.console.conftest import Mailroom
    from tests.integration.door.door_process import Door

URL, CERTIFICATE = "webhook url", "webhook certificate"


@pytest.fixture
def door(database: str, redis_db: str, tmp_path: Path) -> Iterator[Door]:
    with running_door(database, redis_db, tmp_path / "door.log", FRONT_SIGNING_KEYS="a-signing-key") as door:
        yield door


def findings(mailroom: Mailroom, *options: str) -> dict[str, dict[str, Any]]:
    found = mailroom.json("doctor", *options, code=1)["checks"]  # the Redis of the tests is not durable
    assert "canary" not in str(found)
    return {check["name"]: check for check in found}


def tried(mailroom: Mailroom, url: str) -> dict[str, Any]:
    found: dict[str, Any] = findings(mailroom, "--webhook-url", url)[URL]
    return found


def test_the_door_answers_and_keeps_nothing(
    mailroom: Mailroom, door: Door, environment: dict[str, str | None], redis_db: str, conn: psycopg.Connection
) -> None:
    url = f"http://127.0.0.1:{door.port}/webhooks/front"
    found = findings(mailroom, "--webhook-url", url)
    assert (found[URL]["ok"], CERTIFICATE in found) == (True, False)
    environment["FRONT_SIGNING_KEYS"] = "another-key"
    assert (tried(mailroom, url)["ok"], "FRONT_SIGNING_KEYS" in tried(mailroom, url)["fix"]) == (False, True)
    found = tried(mailroom, f"http://127.0.0.1:{door.port}/webhooks")
    assert (found["ok"], "404" in found["found"], "/webhooks/front" in found["fix"]) == (False, True, True)
    with redis.Redis.from_url(redis_db) as client:
        assert client.xlen(STREAM) == 0
    assert conn.execute("SELECT count(*) FROM spooled_deliveries").fetchone() == (0,)


@pytest.mark.parametrize(
    ("script", "says", "fix"),
    [
        (answer("401 Unauthorized", json.dumps({"code": "missing_signature"}).encode()), "401", "X-Front-"),
        (answer("401 Unauthorized", json.dumps({"code": "stale_timestamp"}).encode()), "401", "NTP"),
        (answer("301 Moved", Location="https://canary.example/webhooks/front"), "301", "proxy"),
        (answer("502 Bad Gateway", b"<h1>canary</h1>"), "502", "proxy"),
        (answer(body=b"<h1>canary</h1>"), "200", "another program"),
        (answer(body=b'{"challenge": "canary"}'), "200", "another program"),
        (answer(body=b'{"code": ["canary"]}'), "200", "another program"),
        (answer(body=b"[" * 100_000), "200", "another program"),
        (b"", "no answer", "listens"),
    ],
)
def test_what_stands_before_the_door_is_told(mailroom: Mailroom, script: bytes, says: str, fix: str) -> None:
    with Peer(script) as peer:
        found = tried(mailroom, f"{peer.url}/webhooks/front")
    assert (found["ok"], says in found["found"], fix in found["fix"]) == (False, True, True)


def test_a_certificate_that_ends_soon_or_that_nobody_trusts_is_told(
    mailroom: Mailroom, door: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tls_relay(f"http://127.0.0.1:{door.port}", tmp_path, name="localhost") as (_, port, certificate):
        url = f"https://localhost:{port}/webhooks/front"
        found = findings(mailroom, "--webhook-url", url)
        assert ("SSLCertVerificationError" in found[URL]["found"], CERTIFICATE in found) == (True, False)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        found = findings(mailroom, "--webhook-url", url)
    assert (found[CERTIFICATE]["ok"], found[CERTIFICATE]["found"]) == (False, "valid for 0 days")


def test_an_address_that_is_none_is_refused(mailroom: Mailroom) -> None:
    assert "--webhook-url" in mailroom("doctor", "--webhook-url", "your.host", code=2).stderr


def test_without_a_signing_key_nothing_is_sent(mailroom: Mailroom, environment: dict[str, str | None]) -> None:
    environment["FRONT_SIGNING_KEYS"] = None
    assert tried(mailroom, "http://127.0.0.1:9/webhooks/front")["fix"].startswith("set FRONT_SIGNING_KEYS")


def test_clocks_that_are_apart_are_named(mailroom: Mailroom, monkeypatch: pytest.MonkeyPatch) -> None:
    found = findings(mailroom)["clocks"]
    assert (found["ok"], found["found"]) == (True, "within 5 s of PostgreSQL and Redis")
    real = time.time
    monkeypatch.setattr("console.checks.time.time", lambda: real() - 60)
    found = findings(mailroom)["clocks"]
    assert (found["ok"], found["found"]) == (
        False,
        "this machine's is 60 s behind PostgreSQL's and 60 s behind Redis's",
    )


def test_work_that_waits_too_long_is_told(mailroom: Mailroom, redis_db: str, conn: psycopg.Connection) -> None:
    found = findings(mailroom)
    assert [found[name]["found"] for name in ("oldest delivery", "oldest task")] == ["none waits", "none waits"]
    conn.execute(
        "INSERT INTO spooled_deliveries (id, received_at, body) VALUES (%s, now() - interval '2 min', '')",
        ("0" * 32,),
    )
    conn.execute("DELETE FROM shared_figures")
    found = findings(mailroom)
    assert (found["oldest delivery"]["ok"], found["oldest delivery"]["found"]) == (False, "waits for 2 min")
    assert found["oldest task"]["ok"]
