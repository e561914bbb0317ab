"""The status and headers of an answer decide the error, the wait and the rate limit."""

from __future__ import annotations

import json
from email.utils import formatdate

import pytest

from shared import errors
from shared.front import answers
from shared.front.answers import Answer, RateLimit, Route, failure, rate_limit, retry_after, throttle_seconds

NOW = 1_786_443_600.0


@pytest.mark.parametrize(
    ("route", "status", "error"),
    [
        (answers.CONVERSATION, 200, None),
        (answers.SET_STATUS, 204, None),
        # A merge: the client then asks for the surviving conversation
        (answers.CONVERSATION, 301, None),
        (answers.SET_STATUS, 301, None),
        # No other route may redirect
        (answers.ME, 301, errors.UnsafeRedirect),
        (answers.SET_STATUS, 307, errors.UnsafeRedirect),
        (answers.MESSAGE, 304, errors.UnsafeRedirect),
        # The tenant's connection is broken
        (answers.ME, 401, errors.NeedsReconnect),
        (answers.SET_STATUS, 401, errors.NeedsReconnect),
        (answers.DOWNLOAD, 403, errors.MissingScope),
        # A 404 means something different on each route
        (answers.CONVERSATION, 404, errors.ConversationGone),
        (answers.ADD_TAG, 404, errors.ConversationGone),
        (answers.DOWNLOAD, 404, errors.AttachmentMissing),
        (answers.MESSAGE, 404, errors.FrontRejected),
        # A permanent 4xx
        (answers.SET_STATUS, 400, errors.FrontRejected),
        (answers.SET_STATUS, 422, errors.FrontRejected),
        (answers.ADD_TAG, 413, errors.FrontRejected),
        # A temporary 4xx; nothing was changed
        (answers.CONVERSATION, 408, errors.FrontUnavailable),
        (answers.SET_STATUS, 409, errors.FrontUnavailable),
        (answers.ME, 425, errors.FrontUnavailable),
        (answers.SET_STATUS, 429, errors.BudgetExhausted),
        (answers.ME, 429, errors.BudgetExhausted),
        # After a 5xx a read may be repeated, but a write may have happened
        (answers.CONVERSATION, 500, errors.FrontUnavailable),
        (answers.DOWNLOAD, 503, errors.FrontUnavailable),
        (answers.SET_STATUS, 500, errors.UnclearAnswer),
        (answers.ADD_TAG, 504, errors.UnclearAnswer),
        # Not an HTTP status
        (answers.SET_STATUS, 199, errors.UnclearAnswer),
        (answers.SET_STATUS, 999, errors.UnclearAnswer),
        (answers.ME, 600, errors.FrontUnavailable),
    ],
)
def test_a_status_becomes_an_error(route: Route, status: int, error: type[errors.MailroomError] | None) -> None:
    found = failure(route, Answer(status=status, headers={}), now=NOW)
    assert type(found) is (error or type(None))


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("3", 3.0),
        ("0.5", 0.5),
        (formatdate(NOW + 30, usegmt=True), 30.0),
        # The wait is at most an hour, and never negative
        ("1000000000", 3600.0),
        ("-5", 0.0),
        (formatdate(NOW - 30, usegmt=True), 0.0),
        # An unreadable value counts as missing
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("", None),
        ("Fri, 99 Foo 2026 00:00:00 GMT", None),
    ],
)
def test_retry_after_is_read(value: str, seconds: float | None) -> None:
    assert retry_after({"retry-after": value}, now=NOW) == seconds


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7", "x-ratelimit-reset": str(NOW + 40)}, 7.0),
        # Without the header the wait ends when the limit resets
        ({"x-ratelimit-reset": str(NOW + 40)}, 40.0),
        ({"x-ratelimit-reset": str((NOW + 40) * 1000)}, 40.0),
        ({"x-ratelimit-reset": str(NOW + 10**9)}, 3600.0),
        # The wait is at least a second
        ({"x-ratelimit-reset": str(NOW - 5)}, 1.0),
        ({"retry-after": "0"}, 1.0),
        ({"retry-after": "-5"}, 1.0),
        ({}, 1.0),
    ],
)
def test_a_429_has_a_wait(headers: dict[str, str], seconds: float) -> None:
    assert throttle_seconds(headers, now=NOW) == seconds


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (
            {"x-ratelimit-limit": "120", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "1786443660.5"},
            RateLimit(limit=120, remaining=0, reset_at=1786443660.5),
        ),
        ({}, RateLimit(limit=None, remaining=None, reset_at=None)),
        (
            {"x-ratelimit-limit": "many", "x-ratelimit-remaining": "", "x-ratelimit-reset": "nan"},
            RateLimit(limit=None, remaining=None, reset_at=None),
        ),
    ],
)
def test_the_rate_limit_is_read_from_the_headers(headers: dict[str, str], expected: RateLimit) -> None:
    assert rate_limit(headers) == expected


def test_a_missing_scope_is_named() -> None:
    error = failure(answers.DOWNLOAD, Answer(status=403, headers={}), now=NOW)
    assert "attachments:read" in str(error)


def test_a_refusal_shows_only_the_title_of_fronts_body() -> None:
    body = {"_error": {"title": "Bad request", "message": "no nora.lind@acme.example", "details": ["secret"]}}
    error = failure(answers.SET_STATUS, Answer(status=400, headers={}, body=json.dumps(body).encode()), now=NOW)
    assert str(error) == ("Front answered 400 (Bad request) to PATCH /conversations/{id}; trying again would not help")


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b'{"_error": "no"}', b'{"_error": {"title": 3}}', b"[" * 10**5]
)
def test_a_refusal_with_any_body_is_a_refusal(body: bytes) -> None:
    error = failure(answers.ME, Answer(status=400, headers={}, body=body), now=NOW)
    assert str(error) == "Front answered 400 to GET /me; trying again would not help"
