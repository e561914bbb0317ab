"""A file is downloaded whole, in part, or not at all, from a folder and from an object store."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Any

import pytest

from console.attachment_content import CHUNK_BYTES
from console.web.app import create_app
from console.web.resources import open_resources
from shared.host.body import Links
from shared.settings import Settings
from shared.storage import attachment_path
from tests.integration.console.api.client import ApiClient, token_for
from tests.integration.console.rows import insert, insert_event
from tests.integration.front.small_s3 import SmallS3, small_s3

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from console.web.resources import ConsoleResources
    from tests.integration.console.conftest import Mailroom

CONTENT = bytes(range(256)) * (2 * CHUNK_BYTES // 256) + b"the end"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
HOSTILE = '../../etc/Rechnung\u202e "é"\r\nSet-Cookie: x=1;.pdf\\..\x00'.replace("\x00", "")


@pytest.fixture(params=["file", "s3"])
def resources(request: pytest.FixtureRequest, web_environment: dict[str, str]) -> Iterator[ConsoleResources]:
    """The resources of a console whose files are in a folder or in an object store."""
    given: dict[str, Any] = {name.lower(): value for name, value in web_environment.items() if name != "NO_COLOR"}
    with small_s3() as s3:
        s3_url = {"storage_url": s3.storage_url} if request.param == "s3" else {}
        resources = open_resources(Settings(**given, **s3_url))
        yield resources
        resources.pool.close()


@pytest.fixture
def reader(resources: ConsoleResources, mailroom: Mailroom) -> ApiClient:
    """A token that only reads."""
    client = create_app(resources.settings, resources=resources).test_client()
    return ApiClient(client=client, token=token_for(mailroom, "reader", "--scope", "read"))


@pytest.fixture
def number(resources: ConsoleResources, conn: psycopg.Connection, tenant: int) -> int:
    """The number of a stored file."""
    path = attachment_path(tenant, "fil_1")
    resources.storage.put(path, [CONTENT])
    return add(conn, tenant, state="stored", size=len(CONTENT), sha256=SHA256, path=path)


def add(conn: psycopg.Connection, tenant: int, **columns: Any) -> int:
    event = insert_event(conn, front_id=f"evt_{columns['state']}")
    known = {"tenant_id": tenant, "event_id": event, "conversation_id": "cnv_1", "front_id": "fil_1"}
    named = {"filename": HOSTILE, "content_type": "text/html"}
    return int(insert(conn, "attachments", **known, **named, **columns))


def path_of(number: int) -> str:
    return f"/attachments/{number}/content"


def test_a_file_comes_whole_and_as_a_download_of_no_type(reader: ApiClient, number: int) -> None:
    answer = reader.answer("GET", path_of(number))
    assert (answer.status_code, answer.get_data() == CONTENT) == (200, True)
    assert answer.headers["Content-Length"] == str(len(CONTENT))
    assert answer.headers["ETag"] == f'"{SHA256}"'
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in answer.headers["Content-Security-Policy"]
    assert answer.headers["Content-Disposition"] == (
        'attachment; filename="_.._etc_Rechnung_ _e_Set-Cookie_ x=1;.pdf_"; '
        "filename*=UTF-8''_.._etc_Rechnung_%20_%C3%A9_Set-Cookie_%20x%3D1%3B.pdf_"
    )
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=5-", 5, len(CONTENT)),
        ("bytes=-7", len(CONTENT) - 7, len(CONTENT)),
        (f"bytes={CHUNK_BYTES - 3}-{CHUNK_BYTES + 2}", CHUNK_BYTES - 3, CHUNK_BYTES + 3),
        (f"bytes=1-{10 * len(CONTENT)}", 1, len(CONTENT)),
    ],
)
def test_a_range_is_a_part_of_it(reader: ApiClient, number: int, asked: str, start: int, end: int) -> None:
    answer = reader.answer("GET", path_of(number), headers={"Range": asked})
    assert (answer.status_code, answer.get_data() == CONTENT[start:end]) == (206, True)
    assert answer.headers["Content-Range"] == f"bytes {start}-{end - 1}/{len(CONTENT)}"
    assert answer.headers["Content-Length"] == str(end - start)


@pytest.mark.parametrize("asked", ["bytes=0-1,5-6", "lines=1-2", "bytes=x", "bytes=5-2"])
def test_a_range_that_may_be_ignored_is(reader: ApiClient, number: int, asked: str) -> None:
    answer = reader.answer("GET", path_of(number), headers={"Range": asked})
    assert (answer.status_code, len(answer.get_data())) == (200, len(CONTENT))


def test_a_range_behind_the_end_is_416(reader: ApiClient, number: int) -> None:
    answer = reader.answer("GET", path_of(number), headers={"Range": f"bytes={len(CONTENT)}-"})
    assert (answer.status_code, answer.headers["Content-Range"]) == (416, f"bytes */{len(CONTENT)}")
    assert answer.content_type == "application/problem+json"


def test_a_file_that_the_sender_has_is_304_and_if_range_takes_another_one_whole(reader: ApiClient, number: int) -> None:
    same, other = f'"{SHA256}"', '"another"'
    assert reader.answer("GET", path_of(number), headers={"If-None-Match": same}).status_code == 304
    for tag, status in ((same, 206), (other, 200)):
        answer = reader.answer("GET", path_of(number), headers={"Range": "bytes=0-4", "If-Range": tag})
        assert answer.status_code == status


def test_head_tells_the_size_without_the_bytes(reader: ApiClient, number: int) -> None:
    answer = reader.answer("HEAD", path_of(number))
    assert (answer.status_code, answer.headers["Content-Length"], answer.get_data()) == (200, str(len(CONTENT)), b"")


def test_an_empty_file_is_downloaded(reader: ApiClient, resources: ConsoleResources, conn: Any, tenant: int) -> None:
    resources.storage.put("1/ab/empty", [])
    number = add(conn, tenant, state="stored", size=0, sha256=hashlib.sha256(b"").hexdigest(), path="1/ab/empty")
    answer = reader.answer("GET", path_of(number), headers={"Range": "bytes=0-"})
    assert (answer.status_code, answer.get_data()) == (200, b"")


@pytest.mark.parametrize("state", ["waiting", "failed", "discarded"])
def test_a_file_that_is_not_stored_is_409(reader: ApiClient, conn: Any, tenant: int, state: str) -> None:
    assert reader("GET", path_of(add(conn, tenant, state=state)), code=409)["code"] == "attachment_not_stored"


def test_a_file_that_the_storage_lost_is_410(
    reader: ApiClient, resources: ConsoleResources, tenant: int, number: int
) -> None:
    resources.storage.delete(attachment_path(tenant, "fil_1"))
    assert reader("GET", path_of(number), code=410)["code"] == "attachment_gone"


def test_a_shorter_file_is_no_answer_that_looks_whole(
    reader: ApiClient, resources: ConsoleResources, tenant: int, number: int
) -> None:
    resources.storage.put(attachment_path(tenant, "fil_1"), [CONTENT[:100]])
    assert reader("GET", path_of(number), code=503)["code"] == "storage_unavailable"


def test_a_file_that_retention_deleted_is_410_and_one_that_never_was_404(
    reader: ApiClient, conn: Any, number: int
) -> None:
    conn.execute("DELETE FROM events")
    assert reader("GET", path_of(number), code=410)["code"] == "attachment_gone"
    assert reader("GET", path_of(number + 1), code=404)["code"] == "unknown_attachment"


def test_an_event_names_the_number_of_a_file(reader: ApiClient, conn: Any, number: int) -> None:
    [event] = conn.execute("SELECT event_id FROM attachments").fetchone()
    [file] = reader("GET", f"/events/{event}")["attachments"]
    assert (file["number"], file["content_type"], file["sha256"]) == (number, "text/html", SHA256)


def test_an_object_store_that_refuses_is_503_and_tells_no_key(
    web_environment: dict[str, str], mailroom: Mailroom, conn: Any, tenant: int
) -> None:
    given: dict[str, Any] = {name.lower(): value for name, value in web_environment.items() if name != "NO_COLOR"}
    with SmallS3() as closed:
        away = closed.storage_url
    resources = open_resources(Settings(**given, storage_url=away))
    client = create_app(resources.settings, resources=resources).test_client()
    number = add(conn, tenant, state="stored", size=5, sha256=SHA256, path="1/ab/fil_1")
    answer = ApiClient(client=client, token=token_for(mailroom, "reader")).answer("GET", path_of(number))
    resources.pool.close()
    assert (answer.status_code, answer.get_json()["code"]) == (503, "storage_unavailable")
    assert "canary-key" not in answer.get_data(as_text=True)


# Signed links


def link(resources: ConsoleResources, number: int, *, expires_in: float = 60, key: bytes | None = None) -> str:
    """Return the path of a link to the file as a notification has it."""
    settings = resources.settings
    links = Links(
        public_url="",
        front_app_url="",
        secret_key=key or settings.secret_key.get_secret_value().encode(),
        expires_at=int(time.time() + expires_in),
    )
    return links.download(number)


def test_a_signed_link_needs_no_token_and_takes_a_range(resources: ConsoleResources, number: int) -> None:
    client = create_app(resources.settings, resources=resources).test_client()
    path = link(resources, number)
    assert client.get(path).get_data() == CONTENT
    part = client.get(path, headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.get_data()) == (206, CONTENT[10:20])
    assert client.head(path).headers["ETag"] == f'"{SHA256}"'


def test_a_link_that_was_changed_or_has_ended_is_refused(resources: ConsoleResources, number: int) -> None:
    client = create_app(resources.settings, resources=resources).test_client()
    good, ended = link(resources, number), link(resources, number, expires_in=-2)
    for path, code in (
        (ended, "link_expired"),
        (good.replace(f"/{number}/", f"/{number + 1}/"), "link_invalid"),
        (good.replace("expires=", "expires=9"), "link_invalid"),
        (good.replace("signature=", "signature=0"), "link_invalid"),
        (good.partition("?")[0] + "?signature=0", "link_invalid"),
        (link(resources, number, key=b"another"), "link_invalid"),
    ):
        answer = client.get(path)
        assert (answer.status_code, answer.get_json()["code"]) == (403, code), path
    assert client.get(good.partition("?")[0]).status_code == 401


def test_a_signed_link_opens_nothing_else(resources: ConsoleResources, number: int) -> None:
    client = create_app(resources.settings, resources=resources).test_client()
    query = link(resources, number).partition("?")[2]
    for path in ("messages", "events", f"events/{number}", "status"):
        assert client.get(f"/api/v1/{path}?{query}").status_code == 401


def test_a_token_for_messages_downloads_files(resources: ConsoleResources, mailroom: Mailroom, number: int) -> None:
    client = create_app(resources.settings, resources=resources).test_client()
    host = ApiClient(client=client, token=token_for(mailroom, "host", "--scope", "messages"))
    assert host.answer("GET", path_of(number)).get_data() == CONTENT
