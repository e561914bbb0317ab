"""Asks this machine's METRICS_PORT, for the health checks of containers: `python -m shared.process.probe [PATH]`.

Exits 0 when PATH (`/readyz`) answers 200, else 1. It loads no settings and no library, because it runs every few
seconds beside each process.
"""

from __future__ import annotations

import os
import socket
import sys

SECONDS = 4.0
ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - a process that listens everywhere is asked here


def main(path: str = "/readyz") -> int:
    """Ask, print the answer, and return the exit status."""
    host, port = os.environ.get("METRICS_HOST") or "127.0.0.1", os.environ.get("METRICS_PORT", "")
    try:
        status, body = _get(ANY.get(host, host), int(port), path)
    except (OSError, ValueError) as exc:
        print(f"METRICS_PORT ({port or 'not set'}) does not answer: {exc}", file=sys.stderr)
        return 1
    print(body)
    return 0 if status == "200" else 1


def _get(host: str, port: int, path: str) -> tuple[str, str]:
    """Return status and body. Raises OSError, ValueError."""
    with socket.create_connection((host, port), SECONDS) as connection:
        connection.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        with connection.makefile("rb") as answer:
            head, _, body = answer.read().partition(b"\r\n\r\n")
    return head.decode().split()[1] if head else "", body.decode()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
