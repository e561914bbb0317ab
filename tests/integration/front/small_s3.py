"""A small S3 for stored files: objects, multipart uploads, listing. It does not check signatures."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape


class SmallS3(ThreadingHTTPServer):
    """An S3 with one bucket, `bucket`. It answers every write with the status in `refuses`, if any."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.objects: dict[str, bytes] = {}
        self.uploads: dict[str, dict[int, bytes]] = {}
        self.refuses: int | None = None

    @property
    def storage_url(self) -> str:
        """Return the STORAGE_URL of this server."""
        place = f"endpoint=http://127.0.0.1:{self.server_port}&allow_http=true"
        return f"s3://bucket/files?region=eu-1&access_key_id=id&secret_access_key=canary-key&{place}"


@contextmanager
def small_s3() -> Iterator[SmallS3]:
    """Run a small S3 until the end of the block."""
    with SmallS3() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


class Handler(BaseHTTPRequestHandler):
    """The handler of one request."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: SmallS3

    def do_PUT(self) -> None:
        """Store a part of an upload."""
        body = self._body()
        if self.server.refuses:
            self._answer(status=self.server.refuses, body="<Error><Message>for id</Message></Error>")
            return
        self.server.uploads[self._query["uploadId"]][int(self._query["partNumber"])] = body
        self._answer(etag='"part"')

    def do_POST(self) -> None:
        """Start an upload, complete one, or delete many objects."""
        body = self._body().decode()
        if "uploads" in self._query:
            number = str(len(self.server.uploads))
            self.server.uploads[number] = {}
            self._answer(
                f"<InitiateMultipartUploadResult><UploadId>{number}</UploadId></InitiateMultipartUploadResult>"
            )
        elif "delete" in self._query:
            keys = [part.partition("</Key>")[0] for part in body.split("<Key>")[1:]]
            for key in keys:
                self.server.objects.pop(key, None)
            deleted = "".join(f"<Deleted><Key>{key}</Key></Deleted>" for key in keys)
            self._answer(f"<DeleteResult>{deleted}</DeleteResult>")
        else:
            parts = self.server.uploads.pop(self._query["uploadId"])
            self.server.objects[self._key] = b"".join(parts[number] for number in sorted(parts))
            self._answer("<CompleteMultipartUploadResult><ETag>x</ETag></CompleteMultipartUploadResult>")

    def do_GET(self) -> None:
        """Return an object, or the list of objects with a prefix."""
        if "list-type" in self._query:
            found = [key for key in self.server.objects if key.startswith(self._query.get("prefix", ""))]
            self._answer(f"<ListBucketResult>{''.join(map(_entry, found))}</ListBucketResult>")
        elif self._key in self.server.objects:
            self._send_object(self.server.objects[self._key])
        else:
            self._answer("<Error><Code>NoSuchKey</Code></Error>", status=404)

    def _send_object(self, content: bytes) -> None:
        """Send an object, or the one range of it that is asked for."""
        about = {"etag": '"whole"', "last_modified": "Tue, 11 Aug 2026 12:00:00 GMT"}
        if asked := self.headers.get("range"):
            first, last = (int(each) for each in asked.removeprefix("bytes=").split("-"))
            about["content_range"] = f"bytes {first}-{min(last, len(content) - 1)}/{len(content)}"
            self._answer(content[first : last + 1], status=206, **about)
        else:
            self._answer(content, **about)

    def do_DELETE(self) -> None:
        """Abort an upload."""
        self.server.uploads.pop(self._query.get("uploadId", ""), None)
        self.server.objects.pop(self._key, None)
        self._answer(status=204)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        """Reply nothing."""

    @property
    def _key(self) -> str:
        return unquote(urlsplit(self.path).path).removeprefix("/bucket/")

    @property
    def _query(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(urlsplit(self.path).query, keep_blank_values=True).items()}

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("content-length") or 0))

    def _answer(self, body: bytes | str = b"", *, status: int = 200, **headers: str) -> None:
        content = body.encode() if isinstance(body, str) else body
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def _entry(key: str) -> str:
    when = "<LastModified>2026-08-11T12:00:00.000Z</LastModified>"
    return f"<Contents><Key>{escape(key)}</Key>{when}<Size>1</Size><ETag>x</ETag></Contents>"
