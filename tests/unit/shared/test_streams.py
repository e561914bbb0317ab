"""A company's deliveries are in one stream, and no two entries have one name."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from shared.intake.streams import (
    ALL_STREAMS,
    MOST_STREAMS,
    STREAM,
    division_of,
    entry_name,
    parse_entry_name,
    stream_for,
    streams_of,
)


def body(company: str, text: str = "") -> bytes:
    payload = {"text": text, "authorization": {"id": "cmp_other"}}
    return json.dumps({"type": "inbound_received", "authorization": {"id": company}, "payload": payload}).encode()


def test_one_stream_has_the_name_that_it_always_had() -> None:
    assert streams_of(1) == (STREAM,) == ("mailroom:intake",)
    assert ALL_STREAMS[0] == STREAM


def test_no_stream_belongs_to_two_divisions() -> None:
    assert len(set(ALL_STREAMS)) == len(ALL_STREAMS)
    assert sorted(Counter(map(division_of, ALL_STREAMS)).values()) == list(range(1, MOST_STREAMS + 1))


@pytest.mark.parametrize("count", range(2, MOST_STREAMS + 1))
def test_the_companies_are_divided_evenly_and_each_stays_in_its_stream(count: int) -> None:
    streams = streams_of(count)
    chosen = Counter(stream_for(body(f"cmp_{number}"), streams) for number in range(2_000))
    assert set(chosen) == set(streams)
    assert max(chosen.values()) < 1.5 * 2_000 / count
    assert stream_for(body("cmp_a", "one"), streams) == stream_for(body("cmp_a", "another"), streams)


def test_the_stream_of_a_company_is_the_same_in_every_process_and_release() -> None:
    assert [stream_for(body(f"cmp_{number}"), streams_of(4))[-1] for number in range(8)] == list("13130202")


def test_what_names_no_company_has_a_stream() -> None:
    assert stream_for(b"\x00{", streams_of(3)) in streams_of(3)


@pytest.mark.parametrize("stream", ALL_STREAMS)
def test_an_entry_of_each_stream_has_a_name_of_its_own(stream: str) -> None:
    assert parse_entry_name(entry_name(stream, "17-0")) == (stream, "17-0")
    assert (entry_name(stream, "17-0") == "17-0") == (stream == STREAM)


def test_the_spool_goes_with_the_first_stream() -> None:
    assert parse_entry_name("spool:" + "a" * 32)[0] == STREAM
