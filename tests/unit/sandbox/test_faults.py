"""Fault rules select calls by method, path, company, share and count, and repeat with the seed."""

from __future__ import annotations

import pytest

from sandbox.faults import FaultRule, FaultRules, read_rule
from sandbox.http_messages import BadRequest, Request

PATH = "/conversations/cnv_1"


def get(target: str, **headers: str) -> Request:
    return Request(method="GET", target=target, headers=headers)


def kinds(rules: FaultRules, times: int, path: str = PATH) -> list[str | None]:
    chosen = [rules.choose(get(path), "cmp_a") for _ in range(times)]
    return [rule.kind if rule else None for rule in chosen]


@pytest.mark.parametrize(
    ("rule", "fits"),
    [
        (FaultRule(kind="500"), True),
        (FaultRule(kind="500", method="PATCH"), False),
        (FaultRule(kind="500", path_regex="^/conversations/"), True),
        (FaultRule(kind="500", path_regex="^/download/"), False),
        (FaultRule(kind="500", company="cmp_b"), False),
        # These kinds apply to certain paths only
        (FaultRule(kind="merged_301"), True),
        (FaultRule(kind="missing_message_fields"), False),
    ],
)
def test_a_rule_matches_by_method_path_and_company(rule: FaultRule, fits: bool) -> None:
    assert rule.matches(get(PATH), "cmp_a") is fits


@pytest.mark.parametrize(
    ("kind", "request_", "fits"),
    [
        ("file_empty", get("/download/fil_1"), True),
        ("file_empty", get("/messages/msg_1"), False),
        ("406_accept", get("/download/fil_1", accept="application/json"), True),
        ("406_accept", get("/download/fil_1", accept="application/json, */*;q=0.1"), False),
        ("406_accept", get("/download/fil_1"), False),
        ("406_accept", get("/me", accept="application/json"), False),
        ("redirect_utf8", get("/download/fil_1"), True),
        # The redirect was followed
        ("redirect_utf8", get("/download/fil_1?file=x"), False),
        ("refresh_401_empty", get("/me"), False),
    ],
)
def test_a_kind_matches_only_the_calls_where_it_makes_sense(kind: str, request_: Request, fits: bool) -> None:
    assert FaultRule(kind=kind).matches(request_, "cmp_a") is fits


@pytest.mark.parametrize(
    ("content_type", "body", "fits"),
    [
        ("application/x-www-form-urlencoded", b"grant_type=refresh_token&refresh_token=r", True),
        ("application/json", b'{"grant_type": "refresh_token", "refresh_token": "r"}', True),
        ("application/x-www-form-urlencoded", b"grant_type=authorization_code&code=c", False),
        ("application/json", b"[]", False),
    ],
)
def test_a_refused_refresh_is_no_refused_code(content_type: str, body: bytes, fits: bool) -> None:
    request = Request(method="POST", target="/oauth/token", headers={"content-type": content_type}, body=body)
    assert FaultRule(kind="refresh_400_error").matches(request, None) is fits


def test_a_count_ends_a_rule_and_the_next_one_takes_over() -> None:
    rules = FaultRules(seed=1)
    rules.add(FaultRule(kind="500", count=2))
    rules.add(FaultRule(kind="503", count=1))
    assert kinds(rules, 4) == ["500", "500", "503", None]


def test_a_rate_is_a_share_and_repeats_with_the_seed() -> None:
    first, second = FaultRules(seed=7), FaultRules(seed=7)
    for rules in (first, second):
        rules.add(FaultRule(kind="reset_after", rate=0.3))
    drawn = kinds(first, 1000)
    assert drawn == kinds(second, 1000)
    assert 250 < drawn.count("reset_after") < 350


def test_a_404_ends_after_its_count_on_each_path() -> None:
    rules = FaultRules(seed=1)
    rules.add(FaultRule(kind="404_heals", count=2))
    for path in ("/download/fil_1", "/download/fil_2"):
        assert kinds(rules, 4, path) == ["404_heals", "404_heals", None, None]


def test_a_conversation_that_was_merged_stays_merged_on_every_path() -> None:
    rules = FaultRules(seed=3)
    rules.add(FaultRule(kind="merged_301", rate=0.5))
    for number in range(20):
        path = f"/conversations/cnv_{number}"
        assert len({*kinds(rules, 3, path), *kinds(rules, 3, f"{path}/tags")}) == 1


def test_a_removed_rule_causes_no_more_faults() -> None:
    rules = FaultRules(seed=1)
    number = rules.add(FaultRule(kind="500"))
    assert rules.remove(number)
    assert not rules.remove(number)
    assert kinds(rules, 1) == [None]


@pytest.mark.parametrize(
    "body",
    [
        None,
        {},
        {"kind": "418"},
        {"kind": "500", "share": 1},
        {"kind": "500", "path_regex": "("},
        {"kind": "500", "rate": "x"},
    ],
)
def test_an_invalid_rule_is_refused(body: object) -> None:
    with pytest.raises(BadRequest):
        read_rule(body)
