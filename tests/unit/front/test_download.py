"""Downloads follow safe redirects only, are limited in size, and send the token to Front alone."""

from __future__ import annotations

import gzip
import hashlib
import threading
import zlib
from typing import Any

import pytest
import requests
import responses

from shared import errors
from shared.connection.budget import Budget
from shared.front.client import FrontClient, TenantClient
from shared.http.transport import CallDeadlines
from tests.unit.front.conftest import API, TOKEN

FILE = f"{API}/download/fil_1"
ELSEWHERE = "https://files.example/a?signature=b"
LARGE = 2**20
TEXT = b"a file of some words, again and again and again"


def _fetch(client: TenantClient, max_bytes: int = LARGE, announced: int | None = None) -> bytes:
    with client.download("fil_1", max_bytes=max_bytes, announced=announced) as download:
        return b"".join(download.chunks)


def _moved(front: responses.RequestsMock, url: str, location: str, status: int = 302) -> None:
    front.get(url, status=status, headers={"location": location})


def test_a_file_has_its_length_and_type(client: TenantClient, front: responses.RequestsMock) -> None:
    front.get(FILE, body=b"%PDF", content_type="application/pdf", auto_calculate_content_length=True)
    with client.download("fil_1", max_bytes=LARGE) as download:
        assert (download.length, download.content_type, b"".join(download.chunks)) == (4, "application/pdf", b"%PDF")


def test_a_file_of_any_type_is_accepted(client: TenantClient, front: responses.RequestsMock) -> None:
    accepted = [responses.matchers.header_matcher({"Accept": "*/*", "Accept-Encoding": "identity"})]
    _moved(front, FILE, "/download/fil_2")
    front.get(f"{API}/download/fil_2", status=302, headers={"location": ELSEWHERE}, match=accepted)
    front.get(ELSEWHERE, body=b"%PDF", match=accepted, auto_calculate_content_length=True)
    assert _fetch(client) == b"%PDF"
    assert front.calls[0].request.headers["Accept"] == "*/*"


def test_chunks_are_of_a_bounded_size(client: TenantClient, front: responses.RequestsMock) -> None:
    front.get(FILE, body=b"x" * 600_000, auto_calculate_content_length=True)
    with client.download("fil_1", max_bytes=LARGE) as download:
        assert [len(chunk) for chunk in download.chunks] == [262_144, 262_144, 75_712]


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzip.compress(TEXT, mtime=0)),
        ("GZIP", gzip.compress(TEXT, mtime=0)),
        ("x-gzip", gzip.compress(TEXT, mtime=0)),
        ("identity, gzip", gzip.compress(TEXT, mtime=0)),
        ("gzip", gzip.compress(TEXT[:5], mtime=0) + gzip.compress(TEXT[5:], mtime=0)),
        ("deflate", zlib.compress(TEXT)),
        ("identity", TEXT),
        ("", TEXT),
    ],
)
def test_a_compressed_file_is_inflated(
    client: TenantClient, front: responses.RequestsMock, encoding: str, body: bytes
) -> None:
    front.get(FILE, body=body, headers={"content-encoding": encoding}, auto_calculate_content_length=True)
    assert _fetch(client, announced=len(TEXT)) == TEXT


def test_a_compressed_file_is_inflated_in_bounded_pieces_and_up_to_the_cap(
    client: TenantClient, front: responses.RequestsMock
) -> None:
    bomb = gzip.compress(bytes(50 * LARGE), mtime=0)
    front.get(FILE, body=bomb, headers={"content-encoding": "gzip"}, auto_calculate_content_length=True)
    sizes = []
    with client.download("fil_1", max_bytes=LARGE) as download, pytest.raises(errors.AttachmentTooLarge):
        sizes += [len(chunk) for chunk in download.chunks]
    assert max(sizes, default=0) <= 256 * 1024


@pytest.mark.parametrize(
    "body", [gzip.compress(TEXT, mtime=0)[:-9], gzip.compress(TEXT, mtime=0)[:-1], b"\x1f\x8b not really", TEXT, b""]
)
def test_broken_compression_is_no_file(client: TenantClient, front: responses.RequestsMock, body: bytes) -> None:
    front.get(FILE, body=body, headers={"content-encoding": "gzip"}, auto_calculate_content_length=True)
    with pytest.raises(errors.DownloadIncomplete):
        _fetch(client)


@pytest.mark.parametrize(
    ("encoding", "named"), [("br", "br"), ("zstd", "zstd"), ("gzip, br", "gzip then br"), ("canary \x80", "something")]
)
def test_an_encoding_that_nobody_asked_for_is_refused(
    client: TenantClient, front: responses.RequestsMock, encoding: str, named: str
) -> None:
    front.get(FILE, body=TEXT, headers={"content-encoding": encoding}, auto_calculate_content_length=True)
    with pytest.raises(errors.FrontRejected, match=rf"\({named}\)") as raised:
        _fetch(client)
    assert "canary" not in str(raised.value)


def test_an_end_that_nobody_announced_may_be_a_broken_connection(
    client: TenantClient, front: responses.RequestsMock
) -> None:
    front.get(FILE, body=TEXT)
    with pytest.raises(errors.DownloadIncomplete, match="without its length"):
        _fetch(client, announced=len(TEXT))


@pytest.mark.parametrize("body", [b"", TEXT[:-1], TEXT + b"!", b"<html>log in</html>"])
@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_another_size_than_the_message_announces_is_not_the_file(
    client: TenantClient, front: responses.RequestsMock, encoding: str, body: bytes
) -> None:
    sent = gzip.compress(body, mtime=0) if encoding == "gzip" else body
    front.get(FILE, body=sent, headers={"content-encoding": encoding}, auto_calculate_content_length=True)
    with pytest.raises(errors.SizeMismatch, match=f"gives {len(body)} bytes, and the message announces {len(TEXT)};"):
        _fetch(client, announced=len(TEXT))


def test_an_announced_size_over_the_limit_is_refused_before_the_first_byte(
    client: TenantClient, front: responses.RequestsMock
) -> None:
    front.get(FILE, body=b"12345", auto_calculate_content_length=True)
    with pytest.raises(errors.AttachmentTooLarge), client.download("fil_1", max_bytes=4):
        pytest.fail("the download was opened")


def test_an_unannounced_size_is_refused_when_it_exceeds_the_limit(
    client: TenantClient, front: responses.RequestsMock
) -> None:
    front.get(FILE, body=b"12345", headers={"transfer-encoding": "chunked"})
    with pytest.raises(errors.AttachmentTooLarge):
        _fetch(client, max_bytes=4)


def test_a_file_of_exactly_the_limit_is_accepted(client: TenantClient, front: responses.RequestsMock) -> None:
    front.get(FILE, body=b"1234", auto_calculate_content_length=True)
    assert _fetch(client, max_bytes=4) == b"1234"


def test_fewer_bytes_than_announced_are_an_error(client: TenantClient, front: responses.RequestsMock) -> None:
    front.get(FILE, body=b"123", headers={"content-length": "10"})
    with pytest.raises(errors.DownloadIncomplete):
        _fetch(client)


def test_a_stopping_worker_ends_between_chunks(budget: Budget, front: responses.RequestsMock) -> None:
    stop = threading.Event()
    front.get(FILE, body=b"x" * 600_000, auto_calculate_content_length=True)
    with FrontClient(API, budget).for_tenant(TOKEN, stop=stop).download("fil_1", max_bytes=LARGE) as download:
        next(download.chunks)
        stop.set()
        with pytest.raises(errors.ShuttingDown):
            next(download.chunks)


def test_a_404_means_a_missing_attachment(client: TenantClient, front: responses.RequestsMock) -> None:
    front.get(FILE, status=404)
    with pytest.raises(errors.AttachmentMissing):
        _fetch(client)


def test_a_failed_request_is_repeated(client: TenantClient, front: responses.RequestsMock) -> None:
    front.get(FILE, body=requests.ConnectionError("reset"))
    front.get(FILE, body=b"%PDF", auto_calculate_content_length=True)
    assert _fetch(client) == b"%PDF"


def test_a_429_of_a_download_stops_later_calls_of_the_company(
    client: TenantClient, front: responses.RequestsMock
) -> None:
    front.get(FILE, status=429, headers={"retry-after": "30"})
    for _ in range(2):
        with pytest.raises(errors.BudgetExhausted):
            _fetch(client)
    assert len(front.calls) == 1


def test_a_file_on_another_host_is_fetched_without_the_token(
    client: TenantClient, front: responses.RequestsMock
) -> None:
    _moved(front, FILE, ELSEWHERE)
    front.get(ELSEWHERE, body=b"%PDF", auto_calculate_content_length=True)
    assert _fetch(client) == b"%PDF"
    assert "Authorization" not in front.calls[1].request.headers


@pytest.mark.parametrize("location", ["https://acme.api.frontapp.com/download/fil_2?x=1", "/download/fil_2?x=1"])
def test_a_file_moved_within_front_is_fetched_from_the_configured_api(
    client: TenantClient, front: responses.RequestsMock, location: str
) -> None:
    _moved(front, FILE, location)
    front.get(f"{API}/download/fil_2?x=1", body=b"%PDF", auto_calculate_content_length=True)
    assert _fetch(client) == b"%PDF"
    assert front.calls[1].request.headers["Authorization"] == "Bearer canary-token"


def test_another_host_cannot_redirect_the_token(client: TenantClient, front: responses.RequestsMock) -> None:
    _moved(front, FILE, ELSEWHERE)
    _moved(front, ELSEWHERE, f"{API}/me")
    front.get(f"{API}/me", body=b"{}", auto_calculate_content_length=True)
    _fetch(client)
    assert ["Authorization" in call.request.headers for call in front.calls] == [True, False, False]


def test_two_redirects_are_followed_and_no_third(client: TenantClient, front: responses.RequestsMock) -> None:
    _moved(front, FILE, "https://a.example/")
    _moved(front, "https://a.example/", "https://b.example/", status=307)
    _moved(front, "https://b.example/", "https://c.example/", status=303)
    with pytest.raises(errors.UnsafeRedirect):
        _fetch(client)
    assert len(front.calls) == 3


@pytest.mark.parametrize("location", ["http://files.example/a", "ftp://files.example/a", "https://u:p@files.example/a"])
def test_a_redirect_to_anything_but_https_is_refused(
    client: TenantClient, front: responses.RequestsMock, location: str
) -> None:
    _moved(front, FILE, location)
    with pytest.raises(errors.UnsafeRedirect):
        _fetch(client)
    assert len(front.calls) == 1


@pytest.mark.parametrize(
    ("status", "error"),
    [
        # An expired signed link is neither a missing scope nor a reason to reconnect
        (401, errors.FrontUnavailable),
        (403, errors.FrontUnavailable),
        (404, errors.AttachmentMissing),
        (429, errors.FrontUnavailable),
        (500, errors.FrontUnavailable),
        (204, errors.FrontUnavailable),
    ],
)
def test_an_error_of_another_host_leaves_the_connection_alone(
    client: TenantClient, front: responses.RequestsMock, status: int, error: type[Exception]
) -> None:
    _moved(front, FILE, ELSEWHERE)
    front.get(ELSEWHERE, status=status, headers={"x-ratelimit-remaining": "0", "x-ratelimit-reset": "9999999999"})
    with pytest.raises(error):
        _fetch(client)


def test_the_deadline_of_a_file_grows_with_its_size() -> None:
    assert CallDeadlines().for_file(128 * 1024 * 100) == 160


def test_a_body_can_be_hashed_while_it_is_read(client: TenantClient, front: responses.RequestsMock) -> None:
    content: Any = bytes(range(256)) * 4_000
    front.get(FILE, body=content, auto_calculate_content_length=True)
    digest = hashlib.sha256()
    with client.download("fil_1", max_bytes=2**21) as download:
        for chunk in download.chunks:
            digest.update(chunk)
    assert digest.digest() == hashlib.sha256(content).digest()
