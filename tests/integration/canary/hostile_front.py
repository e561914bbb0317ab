"""A Front that repeats each request in every part of an answer that has room, and collects every secret."""

from __future__ import annotations

import base64
import json
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import requests

SECRET_FIELDS = ("access_token", "refresh_token", "code", "state")


def _json(said: str) -> bytes:
    error = {"status": 400, "title": said, "message": said, "details": [said]}
    return json.dumps({"_error": error, "error": said, "error_description": said}).encode()


def _response(status: str, body: bytes, *headers: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]).encode() + body


#: Each repeats the request's authorization and body; `elsewhere` is the address of another host.
RESPONSES: dict[str, Callable[[str, str], bytes]] = {
    "error in JSON": lambda said, _: _response("400 Bad Request", _json(said)),
    "error in text": lambda said, _: _response("500 Oops", said.encode()),
    "words of the status": lambda said, _: _response(f"503 {said}", said.encode()),
    "headers": lambda said, _: _response(
        "429 Slow", b"", f"Retry-After: {said}", f"x-ratelimit-reset: {said}", f"Set-Cookie: t={said}"
    ),
    "redirect": lambda said, elsewhere: _response("302 Found", b"", f"Location: {elsewhere}/?said={said}"),
    "move": lambda said, elsewhere: _response("301 Moved", b"", f"Location: {elsewhere}/conversations/cnv_1?{said}"),
    "garbage": lambda said, _: _response("200 OK", b'{"id": "' + said.encode()),
    "no HTTP": lambda said, _: f"{said}\r\n\r\n".encode(),
    "broken header": lambda said, _: f"HTTP/1.1 200 OK\r\n{said}\r\nContent-Length: x\r\n\r\n".encode(),
    "cut": lambda said, _: f"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n{said}".encode(),
    "reset": lambda said, _: b"",
}
#: These are valid as the bytes of a file.
VALID_AS_FILE = ("garbage", "broken header")


class HostileFront:
    """A proxy of the sandbox. Each call takes the next hostile response; the sandbox answers when none is left."""

    def __init__(self, front_url: str, elsewhere: str) -> None:
        self.secrets: set[str] = set()
        self.api_responses: deque[str] = deque()
        self.token_responses: deque[str] = deque()
        self.performed: list[str] = []
        self._front, self._elsewhere = front_url, elsewhere
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        front = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                answer = front._answer(self, body)
                if answer:
                    self.connection.sendall(answer)
                else:
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.close_connection = True

            do_POST = do_PATCH = do_GET  # noqa: N815 -- http.server's names

            def log_message(self, *_: object) -> None: ...

        return Handler

    def _answer(self, request: BaseHTTPRequestHandler, body: bytes) -> bytes:
        authorization = request.headers.get("Authorization") or ""
        self._collect_secrets(authorization, body, request.path)
        waiting = self.token_responses if request.path.startswith("/oauth/") else self.api_responses
        if authorization and waiting and not (waiting[0] in VALID_AS_FILE and "/download/" in request.path):
            name = waiting.popleft()
            self.performed.append(name)
            return RESPONSES[name](f"{authorization} {body.decode()}", self._elsewhere)
        return self._forward(request, body)

    def _forward(self, request: BaseHTTPRequestHandler, body: bytes) -> bytes:
        """Return the sandbox's answer with our address in place of its own."""
        headers = {name: value for name, value in request.headers.items() if name not in {"Host", "Content-Length"}}
        answer = requests.request(
            request.command, self._front + request.path, data=body, headers=headers, timeout=60, allow_redirects=False
        )
        self._collect_secrets("", answer.content, answer.headers.get("Location", ""))
        kept = ("Content-Type", "Location", "Retry-After")
        named = [f"{name}: {value}" for name, value in answer.headers.items() if name in kept or name[:2] == "x-"]
        content = answer.content.replace(self._front.encode(), self.url.encode())
        return _response(f"{answer.status_code} Said", content, *named)

    def _collect_secrets(self, authorization: str, body: bytes, address: str) -> None:
        kind, _, value = authorization.partition(" ")
        if value:
            self.secrets.add(value)
        if kind == "Basic":
            self.secrets.add(base64.b64decode(value).decode().partition(":")[2])
        given = {**parse_qs(urlsplit(address).query), **parse_qs(body.decode(errors="replace"))}
        try:
            said = json.loads(body)
        except ValueError:
            said = None
        for name in SECRET_FIELDS:
            self.secrets.update(given.get(name, []))
            if isinstance(said, dict) and isinstance(said.get(name), str):
                self.secrets.add(said[name])
