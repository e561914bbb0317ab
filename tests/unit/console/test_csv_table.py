"""A CSV file is read line by line, and a wrong line affects no other line."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.cli.user.csv_table import LONGEST_LINE, BadHeader, numbered_lines, parse_header, read_header, read_users
from shared.db.users.user_writes import ImportedUser, Mistake


def read(text: str) -> dict[int, str]:
    """Return the user's id or the mistake of each line."""
    lines = numbered_lines(io.StringIO(text, newline=""))
    entries = read_users(lines, read_header(lines))
    return {entry.line: entry.what if isinstance(entry, Mistake) else entry.user.external_id for entry in entries}


HEADER = "external_id,name,email\n"
OPEN_QUOTE = "a quote is not closed"


@pytest.mark.parametrize(
    ("text", "entries"),
    [
        (HEADER + "1,Nora,a@b.example\n\n , ,\n2,Jo,c@d.example", {2: "1", 5: "2"}),
        # Extra columns are a mistake only when they are not empty
        (HEADER + "1,Nora,a@b.example,,\n2,Jo,c@d.example,x\n", {2: "1", 3: "4 columns where the header has 3"}),
        (HEADER + "1,Nora\n2,Jo,c@d.example\n", {2: "no address", 3: "2"}),
        ("external_id,name,email,email,action\n1,Nora,a@b.example\n2,Jo,c@d.example,\n", {2: "1", 3: "2"}),
        # Excel's own first line names the delimiter
        ("sep=;\r\nexternal_id;name;email\r\n1;Nora;a@b.example\r\n", {3: "1"}),
        ('\ufeff"SEP=\t"\nexternal_id\tname\temail\n1\tNo,ra\ta@b.example\n', {3: "1"}),
        ("sep=^\nexternal_id^name^email\n1^Nora^a@b.example\n", {3: "1"}),
        ("external_id|name|email\n1|Nora|a@b.example\n", {2: "1"}),
        # Two marks at the start, and marks in the middle of files that were put together
        ("\ufeff\u200bexternal_id,name,e\u200bmail\n1,Nora,a@b.example\n", {2: "1"}),
        (HEADER + "\ufeff1,Nora,a@b.example\n", {2: "external_id has an invisible character (U+FEFF); remove it"}),
        (HEADER + "1\u200b,Nora,a@b.example\n", {2: "external_id has an invisible character (U+200B); remove it"}),
        # A quoted field may go over lines; the next line keeps its number
        (HEADER + '1,"Nora\nLind",a@b.example\n2,Jo,c@d.example\n', {2: "1", 4: "2"}),
        (HEADER + '1,"Nora ""N"" Lind",a@b.example\n', {2: "1"}),
        # A missing quote affects its own line only
        (HEADER + '1,"Nora,a@b.example\n2,Jo,c@d.example\n', {2: OPEN_QUOTE, 3: "2"}),
        (HEADER + '1,"Nora,a@b.example\n2,"Jo,c@d.example\n3,K,e@f.example\n', {2: OPEN_QUOTE, 3: OPEN_QUOTE, 4: "3"}),
        (HEADER + '1,Nora "N" Lind,a@b.example\n', {2: "1"}),
        (HEADER + "1,Nora\x00,a@b.example\n", {2: "name has a control character (U+0000); remove it"}),
        (HEADER + ",,a@b.example\n", {2: "external_id is empty; name is empty"}),
        (HEADER + f"{'1' * 201},Nora,a@b.example\n", {2: "external_id is longer than 200 characters"}),
        (HEADER + "1,Nora,a@b.example;c@d.example\n", {2: "'a@b.example;c@d.example' is no address"}),
        (HEADER + "1,Nora,\n", {2: "no address"}),
        ("\n;;\nName;E-Mail 1;E-Mail 2;External_ID\nNora;a@b.example;;1\n", {4: "1"}),
    ],
)  # fmt: skip
def test_each_line_is_a_user_or_a_mistake(text: str, entries: dict[int, str]) -> None:
    assert read(text) == entries


@pytest.mark.parametrize(
    ("cell", "active"),
    [("yes", True), (" TRUE ", True), ("1", True), ("No", False), ("false", False), ("0", False), ("", None)],
)
def test_a_line_may_say_whether_its_user_is_active(cell: str, active: bool | None) -> None:
    lines = numbered_lines(io.StringIO(f"external_id,name,email,Active\n1,Nora,a@b.example,{cell}\n"))
    (entry,) = read_users(lines, read_header(lines))
    assert isinstance(entry, ImportedUser)
    assert entry.user.active is active


def test_an_unknown_value_for_active_is_a_mistake() -> None:
    assert read("external_id,name,email,active\n1,Nora,a@b.example,maybe\n") == {2: "active is 'maybe'; yes or no"}


def test_an_overlong_line_is_a_mistake_and_skipped() -> None:
    text = HEADER + "1," + "x" * (3 * LONGEST_LINE) + ",a@b.example\n2,Jo,c@d.example\n"
    assert read(text) == {2: "longer than 100,000 characters", 3: "2"}


@pytest.mark.parametrize(
    ("header", "delimiter"),
    [("external_id,name,email", ","), ("External_ID;Name;E-Mail", ";"), ("name\temail\texternal_id", "\t")],
)
def test_the_delimiter_is_found_by_the_header(header: str, delimiter: str) -> None:
    assert parse_header(header).delimiter == delimiter


def test_several_email_columns_are_read_and_unknown_ones_ignored() -> None:
    columns = parse_header("email,phone,external_id,email 2,name,action,E-Mail_3")
    assert (columns.emails, columns.action, columns.ignored) == ((0, 3, 6), 5, ("phone",))


@pytest.mark.parametrize(
    ("header", "problem"),
    [("external_id,email", "lacks name"), ("external_id,name,name,email", "names name twice"), ("", "no first line")],
)
def test_an_invalid_header_is_refused_with_the_reason(header: str, problem: str) -> None:
    with pytest.raises(BadHeader, match=problem):
        read_header(numbered_lines(io.StringIO(header)))


def test_a_repeated_address_on_a_line_counts_once() -> None:
    lines = numbered_lines(io.StringIO("external_id,name,email,email\n1,Nora,N@b.example,n@B.example\n"))
    [entry] = read_users(lines, read_header(lines))
    assert isinstance(entry, ImportedUser)
    assert [address.as_given for address in entry.user.addresses] == ["N@b.example"]


@given(st.text(st.sampled_from('abc@.,;"\n\r\t\x00 é'), max_size=200))
def test_no_content_raises_and_no_line_is_reported_twice(text: str) -> None:
    lines = numbered_lines(io.StringIO(HEADER + text, newline=""))
    numbers = [entry.line for entry in read_users(lines, read_header(lines))]
    assert numbers == sorted(set(numbers))
