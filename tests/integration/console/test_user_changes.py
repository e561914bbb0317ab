"""Users leave, return and change by list and by command, also with a sync from Front."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import requests

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox.server import RunningSandbox
    from tests.integration.console.conftest import Mailroom

T = ("--tenant", "Acme")
SYNC = ("tenant", "sync-teammates", "Acme")


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    return tmp_path / "people.csv"


@pytest.fixture
def teammate(front: RunningSandbox, acme: str, mailroom: Mailroom) -> str:
    """The id of a teammate in Front who is already a user."""
    found = front.front.ensure_company("cmp_acme", acme, "acme-api-token")
    mailroom(*SYNC)
    return found.teammates[1].id


def import_users(mailroom: Mailroom, csv: Path, text: str, *options: str, code: int = 0) -> dict[str, Any]:
    csv.write_text(text, encoding="utf-8")
    return mailroom.json("user", "import", csv, *T, *options, code=code)


def user(mailroom: Mailroom, external_id: str) -> dict[str, Any]:
    [found] = [each for each in mailroom.json("user", "list", *T) if each["external_id"] == external_id]
    return found


def block(front: RunningSandbox, teammate: str, *, blocked: bool) -> None:
    words = {"id": teammate, "is_blocked": blocked}
    assert requests.post(f"{front.url}/sandbox/companies/cmp_acme/teammates", json=words, timeout=10).ok


@pytest.mark.usefixtures("acme")
def test_a_list_sets_users_inactive_and_active_and_an_empty_cell_leaves_them(mailroom: Mailroom, csv: Path) -> None:
    line = "external_id,name,email,active\n1,Nora,nora@acme.example,{}\n"
    seen = []
    for cell in ("", "no", "", "yes"):
        import_users(mailroom, csv, line.format(cell))
        seen.append(user(mailroom, "1")["active"])
    assert seen == [True, False, False, True]


@pytest.mark.usefixtures("acme")
def test_addresses_move_from_users_whom_the_list_does_not_name_when_asked(mailroom: Mailroom, csv: Path) -> None:
    header = "external_id,name,email\n"
    import_users(mailroom, csv, header + "9,Ann,ap@acme.example\n")
    heir = header + "1,Nora,AP@acme.example\n"
    assert import_users(mailroom, csv, heir, "--move-addresses", "--dry-run")["moved"] == 1
    assert user(mailroom, "9")["addresses"] == ["ap@acme.example"]
    told = mailroom("user", "import", csv, *T, "--move-addresses")
    assert "AP@acme.example moves from user 9 to user 1" in told.stderr
    assert "1 moved" in told.stdout
    assert (user(mailroom, "9")["addresses"], user(mailroom, "1")["addresses"]) == ([], ["AP@acme.example"])


@pytest.mark.usefixtures("acme")
def test_a_user_is_deactivated_and_activated(mailroom: Mailroom) -> None:
    mailroom("user", "add", *T, "--id", "17", "--name", "Nora", "--email", "nora@acme.example")
    assert mailroom("user", "deactivate", "17", *T).stdout == "deactivated 17\n"
    assert not user(mailroom, "17")["active"]
    assert mailroom("user", "activate", "17", *T).stdout == "activated 17\n"
    assert user(mailroom, "17")["active"]


@pytest.mark.usefixtures("acme")
@pytest.mark.parametrize("command", [("deactivate",), ("activate",), ("policy", "--no-action")])
def test_nobody_is_told_where_to_look(mailroom: Mailroom, command: tuple[str, ...]) -> None:
    assert "mailroom user list" in mailroom("user", *command, "17", *T, code=3).stderr


def test_the_action_chosen_for_a_teammate_stays(mailroom: Mailroom, front: RunningSandbox, teammate: str) -> None:
    mailroom("user", "policy", teammate, *T, "--action", "trash")
    words = {"id": teammate, "last_name": "Berg"}
    assert requests.post(f"{front.url}/sandbox/companies/cmp_acme/teammates", json=words, timeout=10).ok
    mailroom(*SYNC)
    found = user(mailroom, teammate)
    assert (found["action"], found["name"].endswith("Berg")) == ("trash", True)
    mailroom("user", "policy", teammate, *T, "--no-action")
    assert user(mailroom, teammate)["action"] is None


def test_a_list_may_choose_a_teammates_action_and_front_still_says_who_is_there(
    mailroom: Mailroom, front: RunningSandbox, teammate: str, csv: Path
) -> None:
    found = user(mailroom, teammate)
    line = f"{teammate},{found['name']},{found['addresses'][0]},archive\n"
    import_users(mailroom, csv, "external_id,name,email,action\n" + line)
    block(front, teammate, blocked=True)
    mailroom(*SYNC)
    found = user(mailroom, teammate)
    assert (found["action"], found["active"]) == ("archive", False)


def test_a_teammate_whom_a_person_deactivated_is_not_brought_back(
    mailroom: Mailroom, front: RunningSandbox, teammate: str
) -> None:
    block(front, teammate, blocked=True)
    mailroom(*SYNC)
    mailroom("user", "deactivate", teammate, *T)
    block(front, teammate, blocked=False)
    assert "somebody here set this user inactive" in mailroom(*SYNC).stdout
    assert not user(mailroom, teammate)["active"]
    mailroom("user", "activate", teammate, *T)
    assert mailroom.json(*SYNC)["unchanged"] == 3


def test_policy_takes_one_choice(mailroom: Mailroom, teammate: str) -> None:
    mailroom("user", "policy", teammate, *T, code=2)
    assert "invalid_policy" in mailroom("user", "policy", teammate, *T, "--action", "mark_read", code=1).stderr
