"""Turns a request as Granian's event loop has it into what a WSGI application reads."""

from __future__ import annotations

import sys
from functools import lru_cache
from io import BytesIO
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

    from granian.rsgi import Scope

ALWAYS: dict[str, Any] = {
    "SCRIPT_NAME": "",
    "wsgi.version": (1, 0),
    "wsgi.errors": sys.stderr,
    "wsgi.input_terminated": True,  # the input ends where the body does, also without Content-Length
    "wsgi.multithread": True,
    "wsgi.multiprocess": True,
    "wsgi.run_once": False,
}


def environ_of(scope: Scope, body: bytes) -> WSGIEnvironment:
    """The environment of a request whose body is here. A header given twice is joined by a comma."""
    host, _, port = scope.server.rpartition(":")
    environ = ALWAYS | {
        "REQUEST_METHOD": scope.method,
        "PATH_INFO": scope.path.encode().decode("latin-1"),
        "QUERY_STRING": scope.query_string.encode().decode("latin-1"),
        "SERVER_PROTOCOL": f"HTTP/{scope.http_version}",
        "SERVER_NAME": host,
        "SERVER_PORT": port,
        "REMOTE_ADDR": scope.client.rpartition(":")[0],
        "wsgi.url_scheme": scope.scheme,
        "wsgi.input": BytesIO(body),
    }
    for name, value in scope.headers.items():
        if key := _key(name):
            environ[key] = f"{environ[key]},{value}" if key in environ else value
    return environ


@lru_cache(maxsize=256)  # names are the sender's choice
def _known(name: str) -> str:
    key = name.upper().replace("-", "_")
    return key if key in {"CONTENT_TYPE", "CONTENT_LENGTH"} else f"HTTP_{key}"


def _key(name: str) -> str:
    """The WSGI name; empty for one with an underscore, which could pass itself off as another."""
    return "" if "_" in name else _known(name)
