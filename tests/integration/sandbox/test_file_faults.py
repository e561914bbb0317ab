"""Downloads go wrong as asked: by a rule for the API, by the fault of a webhook, or by that of a single file."""

from __future__ import annotations

import gzip
import socket
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.sandbox.conftest import Client

    Ask = Callable[[Client, str], str]

SIZE = 1_300
NAME = "Übersicht-März-€.pdf"


def download(
    client: Client, attachment_id: str, *, suffix: str = "", accept: str = "*/*"
) -> tuple[dict[str, str], Any]:
    """Headers and raw body of a download, read until the connection ends."""
    head = (
        f"GET /download/{attachment_id}{suffix} HTTP/1.1\r\nHost: 127.0.0.1:{client.running.port}\r\n"
        f"Authorization: Bearer {client.company['api_token']}\r\nAccept: {accept}\r\nConnection: close\r\n\r\n"
    )
    received = b""
    with socket.create_connection(("127.0.0.1", client.running.port), timeout=5) as connection:
        connection.sendall(head.encode())
        while chunk := connection.recv(65536):
            received += chunk
    lines, _, body = received.partition(b"\r\n\r\n")
    status, *fields = lines.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (field.partition(": ") for field in fields)}
    return {**headers, "status": status.split()[1]}, body


def by_rule(client: Client, kind: str) -> str:
    [event] = client.send(attachments=[{"size": SIZE}])
    client.fault(kind, bytes=100_000)
    return str(event["attachment_ids"][0])


def by_webhook(client: Client, kind: str) -> str:
    [event] = client.send(attachments=[{"size": SIZE}], fault=kind)
    return str(event["attachment_ids"][0])


def by_file(client: Client, kind: str) -> str:
    [event] = client.send(attachments=[{"size": SIZE}, {"size": SIZE, "fault": kind}])
    whole, spoiled = event["attachment_ids"]
    headers, body = download(client, whole)
    assert (headers["status"], len(body)) == ("200", SIZE)
    return str(spoiled)


ask = pytest.mark.parametrize("ask", [by_rule, by_webhook, by_file])


@ask
@pytest.mark.parametrize(
    ("kind", "length"),
    [("file_shorter", SIZE // 2), ("file_longer", SIZE + 1_000), ("file_empty", 0)],
)
def test_a_file_has_another_size_than_announced(kind: str, length: int, ask: Ask, client: Client) -> None:
    headers, body = download(client, ask(client, kind))
    assert (headers["status"], headers["content-length"], len(body)) == ("200", str(length), length)


@ask
@pytest.mark.parametrize(("kind", "length"), [("file_unframed", SIZE), ("file_cut_unframed", SIZE // 2)])
def test_a_file_ends_where_the_connection_ends(kind: str, length: int, ask: Ask, client: Client) -> None:
    headers, body = download(client, ask(client, kind))
    assert not {"content-length", "transfer-encoding"} & set(headers)
    assert (headers["status"], len(body)) == ("200", length)


@ask
def test_a_chunked_file_is_cut_before_its_last_chunk(ask: Ask, client: Client) -> None:
    headers, body = download(client, ask(client, "file_cut_chunked"))
    assert headers["transfer-encoding"] == "chunked"
    size, _, rest = body.partition(b"\r\n")
    assert (int(size, 16), len(rest)) == (SIZE // 2, SIZE // 2 + len(b"\r\n"))


@ask
def test_a_login_page_comes_in_place_of_the_file(ask: Ask, client: Client) -> None:
    headers, body = download(client, ask(client, "file_login_page"))
    assert (headers["status"], headers["content-type"]) == ("200", "text/html; charset=utf-8")
    assert b'type="password"' in body
    assert "content-disposition" not in headers


def whole_file(client: Client, attachment_id: str) -> bytes:
    return download(client, attachment_id)[1]


def test_a_file_is_compressed_though_nobody_asked(client: Client) -> None:
    [event] = client.send(attachments=[{"size": SIZE}])
    [attachment_id] = event["attachment_ids"]
    plain = whole_file(client, attachment_id)
    client.fault("file_gzip")
    headers, body = download(client, attachment_id)
    assert (headers["content-encoding"], headers["content-length"]) == ("gzip", str(len(body)))
    assert gzip.decompress(body) == plain


def test_a_compressed_file_inflates_to_any_size(client: Client) -> None:
    attachment_id = by_rule(client, "file_gzip_bomb")
    _, body = download(client, attachment_id)
    assert len(gzip.decompress(body)) == 100_000
    assert len(body) < 1_000


def test_compression_can_be_broken(client: Client) -> None:
    headers, body = download(client, by_rule(client, "file_gzip_cut"))
    assert int(headers["content-length"]) == len(body)
    with pytest.raises(EOFError):
        gzip.decompress(body)


def test_an_encoding_can_be_one_that_nobody_offered(client: Client) -> None:
    headers, body = download(client, by_file(client, "file_unknown_encoding"))
    assert (headers["content-encoding"], len(body)) == ("br", SIZE)


@ask
@pytest.mark.parametrize(("accept", "status"), [("application/json", "406"), ("*/*", "200")])
def test_a_download_can_insist_on_the_documents_accept(accept: str, status: str, ask: Ask, client: Client) -> None:
    headers, _ = download(client, ask(client, "406_accept"), accept=accept)
    assert headers["status"] == status


@ask
def test_a_redirect_names_the_file_in_raw_utf8(ask: Ask, client: Client) -> None:
    attachment_id = ask(client, "redirect_utf8")
    headers, _ = download(client, attachment_id)
    assert headers["status"] == "302"
    base = f"{client.running.url}/download/{attachment_id}"
    assert headers["location"].encode("latin-1").decode() == f"{base}?file={NAME}"
    encoded = "?file=%C3%9Cbersicht-M%C3%A4rz-%E2%82%AC.pdf"
    assert len(download(client, attachment_id, suffix=encoded)[1]) == SIZE
    # Read as Latin-1, and each character encoded
    mangled = "?file=%C3%83%C2%9Cbersicht-M%C3%83%C2%A4rz-%C3%A2%C2%82%C2%AC.pdf"
    assert download(client, attachment_id, suffix=mangled)[0]["status"] == "404"


def test_a_fault_of_files_without_files_makes_one(client: Client) -> None:
    [event] = client.send(fault="file_empty")
    [attachment_id] = event["attachment_ids"]
    assert whole_file(client, attachment_id) == b""


def test_a_fault_of_files_leaves_other_calls_and_other_mail_alone(client: Client) -> None:
    [before] = client.send(attachment_count=1)
    [event] = client.send(fault="file_login_page")
    assert len(whole_file(client, before["attachment_ids"][0])) == 20_000
    assert client.call("GET", f"/messages/{event['message_id']}").json()["attachments"][0]["size"] == 20_000
    whole_file(client, event["attachment_ids"][0])
    assert client.control("GET", "/ledger")["faults"] == {"file_login_page": 1}


def test_a_made_up_fault_of_a_file_is_refused(client: Client) -> None:
    request = {"type": "inbound_received", "company": "cmp_kettle", "attachments": [{"fault": "500"}]}
    answer = client.session.post(f"{client.running.url}/sandbox/send", json=request)
    assert answer.status_code == 400
    assert "no such fault of a file" in answer.json()["error"]
