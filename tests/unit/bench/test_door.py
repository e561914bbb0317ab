"""The figures of the door, and the parts of HTTP that its sender reads."""

from __future__ import annotations

import pytest

from bench.door.benchmark import Round, ratios, summarize
from bench.door.load import Outcome, message_length


def a_round(per_second: float, *, cpu: float = 1.0, missing: int = 0, errors: int = 0) -> Round:
    outcome = Outcome(
        accepted=100,
        errors=errors,
        answers_per_second=per_second,
        p50_ms=1.0,
        p95_ms=2.0,
        p99_ms=3.0,
        sender_cpu_share=0.1,
    )
    return Round(
        outcome=outcome,
        missing=missing,
        cpu_seconds_per_1000=cpu,
        redis_cpu_seconds_per_1000=0.1,
        memory_mb=50.0,
        load_average=1.0,
    )


def test_a_ratio_is_taken_between_rounds_of_the_same_moment() -> None:
    quiet, busy, busier = 1.0, 0.1, 0.01  # other load on the machine
    ours = [a_round(400 * share) for share in (quiet, busy, busier)]
    other = [a_round(100 * share) for share in (quiet, busy, busier)]
    assert ratios({"ours": ours, "other": other})["ours_to_other_ratio"] == 4.0


def test_the_cpu_ratio_is_how_much_more_the_other_uses() -> None:
    found = ratios({"ours": [a_round(1, cpu=0.5)], "other": [a_round(1, cpu=2.0)]})
    assert found["other_to_ours_cpu_ratio"] == 4.0


def test_a_contestant_without_an_answer_has_the_ratio_zero() -> None:
    assert ratios({"ours": [a_round(100)], "other": [a_round(0)]})["ours_to_other_ratio"] == 0.0


def test_rates_are_medians_and_errors_are_sums() -> None:
    rounds = [a_round(10, missing=1, errors=2), a_round(30), a_round(20, missing=2, errors=1)]
    summary = summarize(rounds)
    assert (summary["answers_per_second"], summary["missing"], summary["errors"]) == (20, 3, 3)


@pytest.mark.parametrize(
    ("received", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 43),
        (b"HTTP/1.1 200 OK\r\ncontent-length:5\r\nDate: today\r\n\r\n", 55),  # the body is still missing
        (b"HTTP/1.1 200 OK\r\nContent-Len", None),
    ],
)
def test_a_message_has_the_length_that_its_head_names(received: bytes, expected: int | None) -> None:
    assert message_length(received) == expected


def test_a_request_without_a_length_has_no_body() -> None:
    assert message_length(b"GET / HTTP/1.1\r\n\r\n", body_length=0) == 18


def test_an_answer_without_a_length_is_refused() -> None:
    with pytest.raises(ValueError, match="Content-Length"):
        message_length(b"HTTP/1.1 200 OK\r\n\r\n")
