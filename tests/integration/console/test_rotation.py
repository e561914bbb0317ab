"""Key rotation encrypts stored tokens with the newest key, without harm to concurrent uses and updates."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr

from console.key_rotation import BATCH, KeyUsage, key_usage, reseal
from shared.connection.vault import TokenVault
from shared.db.tenants import connections, tenants

if TYPE_CHECKING:
    from tests.integration.console.conftest import Mailroom

OLDEST, OLD, NEW = (SecretStr(Fernet.generate_key().decode()) for _ in range(3))
BOTH = TokenVault([NEW, OLD])


def token_of(tenant_id: int, token: str = "first") -> dict[str, str]:
    return {"access_token": f"{token}-{tenant_id}", "refresh_token": "refresh"}


def connect(conn: psycopg.Connection, name: str, vault: TokenVault) -> int:
    """Insert a tenant with tokens encrypted by this vault."""
    tenant_id = tenants.add(conn, name, f"cmp_{name}")
    sealed = vault.seal(tenant_id, token_of(tenant_id))
    connections.connect(conn, tenant_id, kind="oauth", secret=sealed, expires_at=datetime.now(UTC) + timedelta(hours=1))
    return tenant_id


def decrypted_tokens(conn: psycopg.Connection, tenant_id: int, vault: TokenVault) -> dict[str, str]:
    grant = connections.read(conn, tenant_id)
    assert grant
    return vault.open(tenant_id, grant.secret)


def use(environment: dict[str, str], *keys: SecretStr) -> None:
    environment["TOKEN_KEYS"] = ",".join(key.get_secret_value() for key in keys)


class BlockedRotation:
    """A rotation on a connection of its own. The constructor returns when the rotation waits for a lock."""

    def __init__(self, database: str, watcher: psycopg.Connection[Any]) -> None:
        self._found: list[int] = []
        self._thread = threading.Thread(target=self._run, args=(database,))
        self._thread.start()
        deadline = time.monotonic() + 30
        while not watcher.execute("SELECT 1 FROM pg_locks WHERE NOT granted").fetchall():
            assert time.monotonic() < deadline, "the rotation waits for nobody"
            time.sleep(0.01)

    def resealed(self) -> int:
        self._thread.join()
        return self._found[0]

    def _run(self, database: str) -> None:
        with psycopg.connect(database, autocommit=True) as conn:
            self._found.append(reseal(conn, BOTH, lambda _: None))


@pytest.fixture
def other(database: str) -> Iterator[psycopg.Connection[Any]]:
    """A second connection in autocommit mode."""
    with psycopg.connect(database, autocommit=True) as conn:
        yield conn


def test_after_rotating_the_old_key_is_not_needed_any_more(
    mailroom: Mailroom, environment: dict[str, str], conn: psycopg.Connection
) -> None:
    use(environment, NEW, OLD, OLDEST)
    old = [connect(conn, f"t{number}", TokenVault([OLD])) for number in range(3)]
    new = connect(conn, "new", BOTH)
    plan = mailroom.json("keys", "rotate", "--dry-run")
    assert (plan["resealed"], plan["older"], plan["by_key"]) == (0, 3, [1, 3, 0])
    assert plan["removable_keys"] == [3]
    done = mailroom.json("keys", "rotate")
    assert (done["already_newest"], done["resealed"], done["older"], done["unreadable"]) == (1, 3, 0, [])
    assert done["removable_keys"] == [2, 3]
    for tenant_id in (*old, new):
        assert decrypted_tokens(conn, tenant_id, TokenVault([NEW])) == token_of(tenant_id)
    again = mailroom.json("keys", "rotate")
    assert (again["already_newest"], again["resealed"]) == (4, 0)


def test_rotating_is_told_to_people_without_a_key(
    mailroom: Mailroom, environment: dict[str, str], conn: psycopg.Connection
) -> None:
    use(environment, NEW, OLD)
    connect(conn, "acme", TokenVault([OLD]))
    assert "key 2 of TOKEN_KEYS is in use" in mailroom("keys", "rotate", "--dry-run").stdout
    page = mailroom("keys", "rotate").output
    assert "1 sealed again" in page
    assert "key 2 of TOKEN_KEYS seals no token and may be removed" in page
    assert OLD.get_secret_value() not in page
    assert NEW.get_secret_value() not in page


def test_a_token_that_no_key_opens_is_named_and_the_others_are_sealed(
    mailroom: Mailroom, environment: dict[str, str], conn: psycopg.Connection
) -> None:
    use(environment, NEW, OLD)
    connect(conn, "lost", TokenVault([OLDEST]))
    kept = connect(conn, "kept", TokenVault([OLD]))
    done = mailroom.json("keys", "rotate", code=4)
    assert [each["tenant"] for each in done["unreadable"]] == ["lost"]
    assert "check TOKEN_KEYS, or connect again" in done["unreadable"][0]["reason"]
    assert decrypted_tokens(conn, kept, TokenVault([NEW])) == token_of(kept)
    found = {check["name"]: check for check in mailroom.json("doctor", code=1)["checks"]}
    assert not found["tokens"]["ok"]
    assert "lost" in found["tokens"]["found"]


def test_doctor_asks_to_rotate_while_an_older_key_is_needed(
    mailroom: Mailroom, environment: dict[str, str], conn: psycopg.Connection
) -> None:
    use(environment, NEW, OLD)
    connect(conn, "acme", TokenVault([OLD]))

    def finding() -> dict[str, Any]:
        checks = mailroom.json("doctor", code=1)["checks"]
        return next(check for check in checks if check["name"] == "token keys in use")

    assert finding() == {
        "name": "token keys in use",
        "ok": False,
        "found": "1 sealed with an older key",
        "fix": "run `mailroom keys rotate`",
    }
    mailroom("keys", "rotate")
    assert finding()["ok"]


def test_sealing_again_is_no_new_version_so_nobody_looks_stale(conn: psycopg.Connection) -> None:
    tenant_id = connect(conn, "acme", TokenVault([OLD]))
    before = connections.read(conn, tenant_id)
    assert reseal(conn, BOTH, lambda _: None) == 1
    after = connections.read(conn, tenant_id)
    assert before
    assert after
    assert (after.version, after.updated_at, after.expires_at) == (
        before.version,
        before.updated_at,
        before.expires_at,
    )
    assert after.secret != before.secret


def test_tokens_that_were_refreshed_meanwhile_are_not_overwritten(
    conn: psycopg.Connection, other: psycopg.Connection
) -> None:
    tenant_id = connect(conn, "acme", TokenVault([OLD]))
    [[seen]] = connections.sealed_batches(conn, size=BATCH)
    grant = connections.read(other, tenant_id)
    assert grant
    refreshed = BOTH.seal(tenant_id, token_of(tenant_id, "second"))
    connections.store_refreshed(other, grant, secret=refreshed, expires_at=datetime.now(UTC) + timedelta(hours=1))
    late = {tenant_id: BOTH.seal(tenant_id, token_of(tenant_id))}
    assert connections.replace_sealed(conn, {tenant_id: seen.secret}, late) == 0
    assert decrypted_tokens(conn, tenant_id, BOTH) == token_of(tenant_id, "second")


def test_a_refresh_that_commits_while_the_rotation_waits_for_its_row_wins(
    conn: psycopg.Connection, other: psycopg.Connection, database: str
) -> None:
    tenant_id = connect(conn, "acme", TokenVault([OLD]))
    grant = connections.read(other, tenant_id)
    assert grant
    with psycopg.connect(database) as watcher, other.transaction():
        refreshed = BOTH.seal(tenant_id, token_of(tenant_id, "second"))
        connections.store_refreshed(other, grant, secret=refreshed, expires_at=datetime.now(UTC) + timedelta(hours=1))
        rotating = BlockedRotation(database, watcher)
    assert rotating.resealed() == 0
    assert decrypted_tokens(conn, tenant_id, BOTH) == token_of(tenant_id, "second")


def test_a_refresh_that_began_before_the_rotation_is_stored_after_it(
    conn: psycopg.Connection, other: psycopg.Connection
) -> None:
    tenant_id = connect(conn, "acme", TokenVault([OLD]))
    grant = connections.read(other, tenant_id)
    assert grant
    assert connections.claim_refresh(other, grant, seconds=20) is True
    assert reseal(conn, BOTH, lambda _: None) == 1
    refreshed = BOTH.seal(tenant_id, token_of(tenant_id, "second"))
    connections.store_refreshed(other, grant, secret=refreshed, expires_at=datetime.now(UTC) + timedelta(hours=1))
    assert decrypted_tokens(conn, tenant_id, BOTH) == token_of(tenant_id, "second")


def test_tokens_that_a_process_without_the_new_key_sealed_meanwhile_are_told(
    mailroom: Mailroom, environment: dict[str, str], conn: psycopg.Connection
) -> None:
    use(environment, NEW, OLD)
    connect(conn, "acme", TokenVault([OLD]))
    stale = "BEGIN NEW.secret = OLD.secret; RETURN NEW; END"
    conn.execute(f"CREATE FUNCTION as_before() RETURNS trigger LANGUAGE plpgsql AS '{stale}'")
    conn.execute("CREATE TRIGGER stale BEFORE UPDATE ON connections FOR EACH ROW EXECUTE FUNCTION as_before()")
    page = mailroom("keys", "rotate", code=4).stdout
    assert "1 sealed with an older key meanwhile: restart all processes with these TOKEN_KEYS" in page


def test_a_rotation_that_was_broken_off_is_ended_by_the_next(conn: psycopg.Connection) -> None:
    many = 2 * BATCH + 1
    for number in range(many):
        connect(conn, f"t{number}", TokenVault([OLD]))

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reseal(conn, BOTH, interrupt)
    assert key_usage(conn, BOTH) == KeyUsage(by_key=(BATCH, BATCH + 1), unreadable=())
    told: list[int] = []
    assert reseal(conn, BOTH, told.append) == BATCH + 1
    assert told == [BATCH, BATCH, 1]
    assert key_usage(conn, BOTH) == KeyUsage(by_key=(many, 0), unreadable=())
