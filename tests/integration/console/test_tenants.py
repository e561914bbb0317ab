"""The command adds tenants, connects them with a token that Front confirms, and configures and pauses them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from shared.connection.vault import TokenVault
from shared.db.tenants import connections

if TYPE_CHECKING:
    from pathlib import Path

    import psycopg

    from sandbox.server import RunningSandbox
    from tests.integration.console.conftest import Mailroom


@pytest.fixture
def token_file(front: RunningSandbox, tmp_path: Path) -> Path:
    """A file with the token of cmp_4k2p9."""
    front.front.ensure_company("cmp_4k2p9", "Acme", "acme-front-token")
    file = tmp_path / "token"
    file.write_text("acme-front-token\n")
    return file


def test_a_tenant_is_connected_when_front_says_the_token_is_its_own(
    mailroom: Mailroom, token_file: Path, environment: dict[str, str], conn: psycopg.Connection
) -> None:
    mailroom("tenant", "add", "Acme", "--company", "cmp_4k2p9", "--api-token-file", token_file)
    shown = mailroom.json("tenant", "show", "Acme")
    assert (shown["connection"], shown["connection_version"], shown["parked_cause"]) == ("api_token", 1, None)
    assert shown["connected_at"]
    grant = connections.read(conn, shown["id"])
    vault = TokenVault([SecretStr(environment["TOKEN_KEYS"])])
    assert grant
    assert vault.open(shown["id"], grant.secret) == {"access_token": "acme-front-token"}


def test_the_token_of_another_company_is_refused(mailroom: Mailroom, token_file: Path) -> None:
    result = mailroom("tenant", "add", "Other", "--company", "cmp_other", "--api-token-file", token_file, code=1)
    assert "wrong_token: the token belongs to cmp_4k2p9 (Acme), not to cmp_other" in result.stderr
    assert mailroom.json("tenant", "list") == []


def test_a_token_front_does_not_know_is_refused(mailroom: Mailroom, front: RunningSandbox, tmp_path: Path) -> None:
    (tmp_path / "bad").write_text("no-such-token")
    result = mailroom("tenant", "add", "Acme", "--company", "cmp_4k2p9", "--api-token-file", tmp_path / "bad", code=1)
    assert "wrong_token" in result.stderr
    assert "no-such-token" not in result.output


def test_nothing_is_stored_while_front_is_away(mailroom: Mailroom, environment: dict[str, str], tmp_path: Path) -> None:
    environment["FRONT_API_URL"] = "http://127.0.0.1:9"
    (tmp_path / "token").write_text("a-front-token")
    add = ("tenant", "add", "Acme", "--company", "cmp_4k2p9", "--api-token-file", tmp_path / "token")
    assert "--no-check" in mailroom(*add, code=1).stderr
    assert mailroom.json("tenant", "list") == []
    mailroom(*add, "--no-check")
    assert [tenant["name"] for tenant in mailroom.json("tenant", "list")] == ["Acme"]


@pytest.mark.parametrize("content", ["", "two tokens", "token\nother", "schlüssel-schlüssel"])
def test_a_file_without_one_token_is_refused(mailroom: Mailroom, tmp_path: Path, content: str) -> None:
    (tmp_path / "token").write_text(content)
    result = mailroom("tenant", "add", "A", "--company", "cmp_a", "--api-token-file", tmp_path / "token", code=2)
    assert "does not hold one API token" in result.stderr


def test_a_company_has_one_tenant(mailroom: Mailroom) -> None:
    mailroom("tenant", "add", "Acme", "--company", "cmp_4k2p9")
    result = mailroom("tenant", "add", "Twin", "--company", "cmp_4k2p9", code=1)
    assert "cmp_4k2p9 belongs to the tenant 'Acme'" in result.stderr


def test_a_name_has_one_tenant(mailroom: Mailroom) -> None:
    mailroom("tenant", "add", "Acme", "--company", "cmp_4k2p9")
    assert "there is a tenant 'Acme' already" in mailroom("tenant", "add", "Acme", "--company", "cmp_b", code=1).stderr


@pytest.mark.parametrize("company", ["4k2p9", "cmp_", "cmp_a/../b", "cmp_ä"])
def test_an_invalid_company_id_is_a_usage_error(mailroom: Mailroom, company: str) -> None:
    mailroom("tenant", "add", "Acme", "--company", company, code=2)


def test_a_tenant_without_a_token_waits_for_one(mailroom: Mailroom) -> None:
    mailroom("tenant", "add", "Acme", "--company", "cmp_4k2p9")
    shown = mailroom.json("tenant", "show", "cmp_4k2p9")
    assert (shown["connection"], shown["connected_at"], shown["parked_cause"]) == (None, None, "needs_reconnect")


@pytest.mark.parametrize("cause", ["needs_reconnect", "missing_scope"])
def test_a_new_token_counts_up_the_version_and_clears_the_cause(
    mailroom: Mailroom, acme: str, conn: psycopg.Connection, tmp_path: Path, cause: str
) -> None:
    before = mailroom.json("tenant", "show", acme)["connected_at"]
    conn.execute("UPDATE tenants SET parked_cause = %s, parked_at = now()", (cause,))
    mailroom("tenant", "connect", acme, "--api-token-file", tmp_path / "acme.token", "--no-check")
    shown = mailroom.json("tenant", "show", acme)
    assert (shown["connection_version"], shown["parked_cause"], shown["parked_at"]) == (2, None, None)
    assert shown["connected_at"] == before


def test_a_new_token_does_not_resume_a_paused_tenant(mailroom: Mailroom, acme: str, tmp_path: Path) -> None:
    mailroom("tenant", "pause", acme)
    mailroom("tenant", "connect", acme, "--api-token-file", tmp_path / "acme.token", "--no-check")
    assert mailroom.json("tenant", "show", acme)["parked_cause"] == "paused"


def test_without_an_oauth_client_connecting_says_what_to_set_and_what_works(mailroom: Mailroom, acme: str) -> None:
    told = mailroom("tenant", "connect", acme, code=78).stderr
    assert [word for word in ("FRONT_CLIENT_ID", "FRONT_CLIENT_SECRET", "--api-token-file") if word not in told] == []


def test_a_tenant_without_a_company_gets_that_of_the_token(mailroom: Mailroom, token_file: Path) -> None:
    mailroom("tenant", "add", "Acme")
    assert mailroom.json("tenant", "show", "Acme")["company_id"] is None
    mailroom("tenant", "connect", "Acme", "--api-token-file", token_file)
    assert mailroom.json("tenant", "show", "Acme")["company_id"] == "cmp_4k2p9"


def test_a_company_is_not_given_to_a_second_tenant_by_its_token(mailroom: Mailroom, token_file: Path) -> None:
    mailroom("tenant", "add", "Acme", "--api-token-file", token_file)
    mailroom("tenant", "add", "Other")
    assert "company_taken" in mailroom("tenant", "connect", "Other", "--api-token-file", token_file, code=1).stderr
    other = mailroom.json("tenant", "show", "Other")
    assert (other["company_id"], other["connection"]) == (None, None)


def test_somebody_has_to_say_whose_token_it_is(mailroom: Mailroom, token_file: Path) -> None:
    mailroom("tenant", "add", "Acme", "--api-token-file", token_file, "--no-check", code=2)
    assert mailroom.json("tenant", "list") == []


def test_one_customer_may_have_several_tenants(mailroom: Mailroom) -> None:
    for name, customer in (("Acme East", "4711"), ("Acme West", "4711"), ("Birch", "4712")):
        mailroom("tenant", "add", name, "--customer", customer)
    listed = mailroom.json("tenant", "list", "--customer", "4711")
    assert [(each["name"], each["customer"]) for each in listed] == [("Acme East", "4711"), ("Acme West", "4711")]
    assert "4711" in mailroom("tenant", "show", "Acme West").stdout


def test_pause_and_resume(mailroom: Mailroom, acme: str) -> None:
    assert mailroom("tenant", "pause", acme).stdout == "paused Acme\n"
    assert mailroom("tenant", "pause", acme).stdout == "Acme was paused already\n"
    assert mailroom("tenant", "resume", acme).stdout == "resumed Acme\n"
    assert mailroom.json("tenant", "show", acme)["parked_cause"] is None


def test_resuming_does_not_connect(mailroom: Mailroom) -> None:
    mailroom("tenant", "add", "Acme", "--company", "cmp_4k2p9")
    mailroom("tenant", "pause", "Acme")
    assert mailroom("tenant", "resume", "Acme").stdout == "resumed Acme; it still waits: needs_reconnect\n"


def test_the_policy_is_set_part_by_part(mailroom: Mailroom, acme: str) -> None:
    mailroom("tenant", "policy", acme, "--action", "tag:tag_3vq81c", "--always", "--fold-plus", "--act-within", "36h")
    mailroom("tenant", "policy", acme, "--wait-for", "settled", "--no-fold-plus")
    shown = mailroom.json("tenant", "show", acme)
    policy = {name: shown[name] for name in ("action", "only_when_matched", "fold_plus", "wait_for", "act_within")}
    assert policy == {
        "action": "tag:tag_3vq81c",
        "only_when_matched": False,
        "fold_plus": False,
        "wait_for": "settled",
        "act_within": 36 * 3600,
    }


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--action", "mark_read"), "Front's API cannot"),
        (("--action", "delete"), "choose none, archive, trash or tag:TAG_ID"),
        (("--action", "tag:urgent"), "choose none"),
        (("--action", "trash", "--wait-for", "settled"), "trash always waits"),
    ],
)
def test_an_invalid_policy_is_refused(mailroom: Mailroom, acme: str, options: tuple[str, ...], words: str) -> None:
    result = mailroom("tenant", "policy", acme, *options, code=1)
    assert "invalid_policy" in result.stderr
    assert words in result.stderr
    assert mailroom.json("tenant", "show", acme)["action"] == "none"


@pytest.mark.parametrize("command", [("show",), ("pause",), ("resume",), ("policy",)])
def test_an_unknown_tenant_matches_nothing(mailroom: Mailroom, command: tuple[str, ...]) -> None:
    assert "mailroom tenant list" in mailroom("tenant", *command, "Nobody", code=3).stderr


def test_tenants_are_listed_for_people(mailroom: Mailroom, acme: str) -> None:
    assert "Acme" in mailroom("tenant", "list").stdout
    assert "api_token, version 1" in mailroom("tenant", "show", acme).stdout


def test_a_policy_is_narrowed_to_inboxes_and_widened_again(mailroom: Mailroom, acme: str) -> None:
    narrowed = mailroom.json("tenant", "policy", acme, "--only-inbox", "inb_2", "--only-inbox", "inb_1")
    assert narrowed["only_inboxes"] == ["inb_2", "inb_1"]
    assert "only inb_2, inb_1" in mailroom("tenant", "policy", acme).stdout
    assert mailroom.json("tenant", "policy", acme, "--action", "archive")["only_inboxes"] == ["inb_2", "inb_1"]
    assert mailroom.json("tenant", "policy", acme, "--all-inboxes")["only_inboxes"] is None


def test_narrowing_and_widening_at_once_is_a_usage_error(mailroom: Mailroom, acme: str) -> None:
    mailroom("tenant", "policy", acme, "--only-inbox", "inb_1", "--all-inboxes", code=2)
    assert "no inbox" in mailroom("tenant", "policy", acme, "--only-inbox", "Invoices", code=1).stderr


def test_a_dry_run_is_told_wherever_somebody_looks(mailroom: Mailroom, acme: str) -> None:
    assert mailroom.json("status")["dry_run"] == []
    assert mailroom.json("tenant", "policy", acme, "--dry-run")["dry_run"] is True
    assert mailroom.json("status")["dry_run"] == ["Acme"]
    assert "Acme: nothing is changed in Front" in mailroom("status").stdout
    assert "nothing is changed in Front" in mailroom("tenant", "show", acme).stdout
    assert "none (dry run)" in mailroom("tenant", "list").stdout
    assert mailroom.json("tenant", "policy", acme, "--no-dry-run")["dry_run"] is False


@pytest.mark.parametrize("entrance", ["tenant", "user"])
def test_mark_read_is_refused_at_every_entrance(mailroom: Mailroom, acme: str, entrance: str) -> None:
    words = {
        "tenant": ("tenant", "policy", acme),
        "user": ("user", "add", "--tenant", acme, "--id", "1", "--name", "Nora", "--email", "nora@acme.example"),
    }[entrance]
    assert "Front's API cannot" in mailroom(*words, "--action", "mark_read", code=1).stderr


@pytest.mark.parametrize(("size", "stored"), [("500", 500), ("2k", 2_048), ("3M", 3 << 20), ("10G", 10 << 30)])
def test_a_quota_is_given_in_bytes_or_larger_units(mailroom: Mailroom, acme: str, size: str, stored: int) -> None:
    mailroom("tenant", "policy", acme, "--max-stored", size, "--max-events-a-day", 9)
    shown = mailroom.json("tenant", "show", acme)
    assert (shown["max_stored_bytes"], shown["max_events_a_day"]) == (stored, 9)
    assert f"0 of {stored:,} bytes used" in mailroom("tenant", "show", acme).stdout
    mailroom("tenant", "policy", acme, "--max-stored", 0, "--max-events-a-day", 0)
    assert "quota" not in mailroom("tenant", "show", acme).stdout


@pytest.mark.parametrize("size", ["-1", "10 apples", "1P", "999999999999999T"])
def test_what_is_no_size_is_refused(mailroom: Mailroom, acme: str, size: str) -> None:
    mailroom("tenant", "policy", acme, f"--max-stored={size}", code=2)


def test_a_quota_that_is_used_up_is_named(mailroom: Mailroom, acme: str, conn: psycopg.Connection[Any]) -> None:
    conn.execute("UPDATE tenants SET files_held = 'stored_bytes', files_held_at = now()")
    [held] = mailroom.json("status")["over_quota"]
    assert (held["tenant"], held["quota"]) == (acme, "stored_bytes")
    assert f"quota of {acme}" in mailroom("status").stdout
    findings = {check["name"]: check["ok"] for check in mailroom.json("doctor", code=1)["checks"]}
    assert findings["quotas"] is False
