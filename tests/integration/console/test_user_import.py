"""A user import takes the valid lines and reports each wrong line."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.console.conftest import Mailroom

HEADER = "external_id,name,email,email,action\n"


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    return tmp_path / "people.csv"


def users_of(mailroom: Mailroom) -> dict[str, list[str]]:
    return {user["external_id"]: user["addresses"] for user in mailroom.json("user", "list", "--tenant", "Acme")}


def counts(**some: int) -> dict[str, int | bool]:
    return {"added": 0, "changed": 0, "unchanged": 0, "moved": 0, "invalid": 0, "dry_run": False} | some


def import_users(mailroom: Mailroom, csv: Path, text: str, *, code: int = 0) -> dict[str, int | bool]:
    csv.write_text(text, encoding="utf-8")
    return mailroom.json("user", "import", csv, "--tenant", "Acme", code=code)


@pytest.mark.usefixtures("acme")
def test_running_it_again_changes_nothing(mailroom: Mailroom, csv: Path) -> None:
    text = HEADER + "1,Nora Lind,Nora@acme.example,nora.lind@acme.example,archive\n2,Jo,jo@acme.example,,\n"
    assert import_users(mailroom, csv, text) == counts(added=2)
    assert import_users(mailroom, csv, text) == counts(unchanged=2)
    assert users_of(mailroom) == {"1": ["Nora@acme.example", "nora.lind@acme.example"], "2": ["jo@acme.example"]}


@pytest.mark.usefixtures("acme")
@pytest.mark.parametrize(
    "line",
    [
        "1,Nora Berg,nora@acme.example,,",
        "1,Nora,nora@acme.example,n@acme.example,",
        "1,Nora,n@acme.example,,",
        "1,Nora,NORA@acme.example,,",
        "1,Nora,nora@acme.example,,trash",
    ],
)
def test_each_kind_of_change_is_seen_once(mailroom: Mailroom, csv: Path, line: str) -> None:
    import_users(mailroom, csv, HEADER + "1,Nora,nora@acme.example,,\n")
    assert import_users(mailroom, csv, HEADER + line) == counts(changed=1)
    assert import_users(mailroom, csv, HEADER + line) == counts(unchanged=1)


@pytest.mark.usefixtures("acme")
def test_a_dry_run_counts_and_leaves_nothing(mailroom: Mailroom, csv: Path) -> None:
    csv.write_text(HEADER + "1,Nora,nora@acme.example,,\n")
    report = mailroom.json("user", "import", csv, "--tenant", "Acme", "--dry-run")
    assert report == counts(added=1) | {"dry_run": True}
    assert users_of(mailroom) == {}


@pytest.mark.usefixtures("acme")
def test_wrong_lines_are_told_and_the_rest_goes_in(mailroom: Mailroom, csv: Path) -> None:
    csv.write_text(
        HEADER
        + "1,Nora,nora@acme.example,,\n"
        + "2,Jo,jo at acme.example,,\n"
        + "\n"
        + "3,Kim\n"
        + "4,Lee,lee@acme.example,,mark_read\n"
        + "1,Twin,twin@acme.example,,\n"
        + '5,"Ann, Lee",ann@acme.example,,none\n'
        + ",Nobody,nobody@acme.example,,\n"
    )
    result = mailroom("user", "import", csv, "--tenant", "Acme", code=4)
    assert result.stdout == "2 added, 0 changed, 0 unchanged, 0 moved, 5 invalid\n"
    told = [line.split(":")[0] for line in result.stderr.splitlines()]
    assert told == ["line 3", "line 5", "line 6", "line 7", "line 9"]
    assert "external_id '1' stands on line 2 already" in result.stderr
    assert users_of(mailroom) == {"1": ["nora@acme.example"], "5": ["ann@acme.example"]}


@pytest.mark.usefixtures("acme")
def test_a_wrong_line_leaves_the_user_as_it_was(mailroom: Mailroom, csv: Path) -> None:
    import_users(mailroom, csv, HEADER + "1,Nora,nora@acme.example,,\n")
    assert import_users(mailroom, csv, HEADER + "1,Nora,nora@@acme.example,,\n", code=4) == counts(invalid=1)
    assert users_of(mailroom) == {"1": ["nora@acme.example"]}


@pytest.mark.usefixtures("acme")
def test_an_address_stays_with_who_has_it_and_the_rest_of_the_line_goes_in(mailroom: Mailroom, csv: Path) -> None:
    import_users(mailroom, csv, HEADER + "9,Ann,ap@acme.example,,\n")
    csv.write_text(HEADER + "1,Nora,AP@acme.example,nora@acme.example,\n")
    result = mailroom("user", "import", csv, "--tenant", "Acme", code=4)
    assert "line 2: AP@acme.example belongs to user '9'" in result.stderr
    assert users_of(mailroom) == {"1": ["nora@acme.example"], "9": ["ap@acme.example"]}


@pytest.mark.usefixtures("acme")
def test_of_two_new_claims_the_first_line_wins(mailroom: Mailroom, csv: Path) -> None:
    text = HEADER + "1,Nora,ap@acme.example,,\n2,Jo,Ap@acme.example,jo@acme.example,\n"
    assert import_users(mailroom, csv, text, code=4) == counts(added=2, invalid=1)
    assert import_users(mailroom, csv, text, code=4) == counts(unchanged=2, invalid=1)
    assert users_of(mailroom) == {"1": ["ap@acme.example"], "2": ["jo@acme.example"]}


@pytest.mark.usefixtures("acme")
def test_the_owner_keeps_an_address_that_an_earlier_line_claims(mailroom: Mailroom, csv: Path) -> None:
    import_users(mailroom, csv, HEADER + "2,Jo,ap@acme.example,,\n")
    text = HEADER + "1,Nora,ap@acme.example,nora@acme.example,\n2,Jo,ap@acme.example,,\n"
    assert import_users(mailroom, csv, text, code=4) == counts(added=1, unchanged=1, invalid=1)
    assert users_of(mailroom) == {"1": ["nora@acme.example"], "2": ["ap@acme.example"]}


@pytest.mark.usefixtures("acme")
def test_two_users_may_swap_addresses(mailroom: Mailroom, csv: Path) -> None:
    import_users(mailroom, csv, HEADER + "1,Nora,a@acme.example,,\n2,Jo,b@acme.example,,\n")
    swapped = HEADER + "1,Nora,b@acme.example,,\n2,Jo,a@acme.example,,\n"
    assert import_users(mailroom, csv, swapped) == counts(changed=2, moved=2)
    assert users_of(mailroom) == {"1": ["b@acme.example"], "2": ["a@acme.example"]}


@pytest.mark.usefixtures("acme")
def test_without_an_action_column_users_keep_theirs(mailroom: Mailroom, csv: Path) -> None:
    import_users(mailroom, csv, HEADER + "1,Nora,a@acme.example,,trash\n")
    assert import_users(mailroom, csv, "external_id,name,email\n1,Nora,a@acme.example\n") == counts(unchanged=1)
    assert mailroom.json("user", "list", "--tenant", "Acme")[0]["action"] == "trash"


@pytest.mark.usefixtures("acme")
@pytest.mark.parametrize(
    "content",
    [
        "external_id,name,email\n1,Zoë Müller,zoe@acme.example\n".encode(),
        "external_id,name,email\n1,Zoë Müller,zoe@acme.example\n".encode("utf-8-sig"),
        "external_id;name;email\r\n1;Zoë Müller;zoe@acme.example\r\n".encode("cp1252"),
        "Email\tNAME\tExternal_ID\rzoe@acme.example\tZoë Müller\t1".encode(),
        "external_id\tname\temail\n1\tZoë Müller\tzoe@acme.example\n".encode("utf-16"),
        "external_id\tname\temail\n1\tZoë Müller\tzoe@acme.example\n".encode("utf-16-be"),
        "external_id\tname\temail\n1\tZoë Müller\tzoe@acme.example\n".encode("utf-32"),
        "sep=;\r\nexternal_id;name;email;action\r\n1;Zoë Müller;zoe@acme.example\r\n".encode("cp1252"),
        '"external_id","name","email","phone"\n"1","Zoë\nMüller","zoe@acme.example","0"'.encode(),
    ],
    ids=["utf-8", "bom", "excel", "old-mac", "utf-16", "utf-16-be", "utf-32", "sep", "quoted"],
)
def test_files_of_many_programs_read_the_same(mailroom: Mailroom, csv: Path, content: bytes) -> None:
    csv.write_bytes(content)
    mailroom("user", "import", csv, "--tenant", "Acme")
    [user] = mailroom.json("user", "list", "--tenant", "Acme")
    assert (user["external_id"], user["name"], user["addresses"]) == ("1", "Zoë Müller", ["zoe@acme.example"])


@pytest.mark.usefixtures("acme")
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32"])
def test_a_file_that_is_cut_within_a_character_is_refused_in_a_sentence(
    mailroom: Mailroom, csv: Path, encoding: str
) -> None:
    csv.write_bytes("external_id,name,email\n1,Zoë,zoe@acme.example\n".encode(encoding)[:-1])
    told = mailroom("user", "import", csv, "--tenant", "Acme", code=1).stderr
    assert told == (
        f"bad_file: the file begins as {encoding.upper()} and is damaged or cut off; save it again as CSV UTF-8\n"
    )


@pytest.mark.usefixtures("acme")
@pytest.mark.parametrize("place", ["-", "/dev/stdin", "<(cat)"])
def test_a_list_may_come_through_a_pipe(mailroom: Mailroom, place: str) -> None:
    lines = "external_id,name,email\n" + "".join(f"{n},Łukasz {n},l{n}@acme.example\n" for n in range(5_000))
    command = f"{sys.executable} -m console user import --tenant Acme {place}"
    environment = os.environ | {name: value for name, value in mailroom.environment.items() if value is not None}
    result = subprocess.run(
        ["bash", "-c", command], input=lines, capture_output=True, text=True, env=environment, check=True
    )
    assert result.stdout == "5,000 added, 0 changed, 0 unchanged, 0 moved, 0 invalid\n"
    assert len(mailroom.json("user", "list", "--tenant", "Acme", "--limit", 9_999)) == 5_000


@pytest.mark.usefixtures("acme")
def test_guesses_and_ignored_columns_are_reported(mailroom: Mailroom, csv: Path) -> None:
    csv.write_bytes("external_id;name;email;Téléphone\n1;Zoë;zoe@acme.example;0\n".encode("cp1252"))
    told = mailroom("user", "import", csv, "--tenant", "Acme").stderr
    assert "people.csv is not UTF-8; read as cp1252" in told
    assert "ignored columns: téléphone" in told


@pytest.mark.usefixtures("acme")
@pytest.mark.parametrize("text", ["", "\n\n", "id,name,email\n", "external_id,email\n1,a@b.example\n", "\x00\x01\n"])
def test_a_file_without_the_columns_is_refused(mailroom: Mailroom, csv: Path, text: str) -> None:
    csv.write_text(text)
    assert "external_id,name,email" in mailroom("user", "import", csv, "--tenant", "Acme", code=1).stderr


@pytest.mark.usefixtures("acme")
def test_thousands_of_wrong_lines_are_counted_and_written_to_a_file(
    mailroom: Mailroom, csv: Path, tmp_path: Path
) -> None:
    csv.write_text("external_id,name,email\n" + "".join(f"{n},N,none\n" for n in range(3_000)))
    errors = tmp_path / "errors.txt"
    result = mailroom("user", "import", csv, "--tenant", "Acme", "--errors", errors, code=4)
    assert len(result.stderr.splitlines()) == 21
    assert f"and 2,980 more wrong lines; all are in {errors}" in result.stderr
    assert len(errors.read_text().splitlines()) == 3_000


@pytest.mark.usefixtures("acme")
def test_more_lines_than_a_batch_holds_go_in(mailroom: Mailroom, csv: Path) -> None:
    with csv.open("w") as file:
        file.write(HEADER)
        file.writelines(f"{n},Person {n},person.{n}@acme.example,P{n}@mail.acme.example,\n" for n in range(25_000))
    assert mailroom.json("user", "import", csv, "--tenant", "Acme") == counts(added=25_000)


@pytest.mark.usefixtures("acme")
def test_a_user_is_added_by_hand(mailroom: Mailroom) -> None:
    add = ("user", "add", "--tenant", "Acme", "--name", "Nora")
    mailroom(*add, "--id", "17", "--email", "nora@acme.example", "--email", "NORA@acme.example")
    assert users_of(mailroom) == {"17": ["nora@acme.example"]}
    assert "there is a user '17'" in mailroom(*add, "--id", "17", "--email", "n@acme.example", code=1).stderr
    taken = mailroom(*add, "--id", "18", "--email", "Nora@acme.example", code=1)
    assert "user_taken: nora@acme.example belongs to user '17'" in taken.stderr
    assert users_of(mailroom) == {"17": ["nora@acme.example"]}


@pytest.mark.usefixtures("acme")
def test_a_user_without_a_real_address_is_refused(mailroom: Mailroom) -> None:
    result = mailroom("user", "add", "--tenant", "Acme", "--id", "1", "--name", "N", "--email", "N <n@a.b>", code=1)
    assert "bad_user: 'N <n@a.b>' is no address" in result.stderr
