"""Many signed webhooks at the door in the same moment, each on a connection of its own."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections import Counter
from dataclasses import dataclass

SECONDS = 30.0


@dataclass(frozen=True, kw_only=True)
class Reception:
    """What one of them was told, and after how long; status 0 is no answer."""

    event: str
    status: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Crowd:
    """A door and what it takes to be let in."""

    port: int
    signing_key: str
    company: str

    def arrive(self, count: int) -> list[Reception]:
        """All at once; the event type means nothing to Mailroom."""
        return asyncio.run(self._arrive(count))

    async def _arrive(self, count: int) -> list[Reception]:
        return list(await asyncio.gather(*(self._post(number) for number in range(count))))

    async def _post(self, number: int) -> Reception:
        event = f"evt_crowd{time.time_ns()}x{number}"
        began = time.monotonic()
        try:
            async with asyncio.timeout(SECONDS):
                status = await self._status(self._request(event))
        except (OSError, TimeoutError, ValueError):
            status = 0
        return Reception(event=event, status=status, seconds=time.monotonic() - began)

    async def _status(self, request: bytes) -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(request)
            return int((await reader.readline()).split(b" ")[1])
        except IndexError:
            return 0
        finally:
            writer.close()

    def _request(self, event: str) -> bytes:
        envelope = {"type": "a_crowd", "authorization": {"id": self.company}, "payload": {"id": event}}
        body = json.dumps(envelope).encode()
        at = str(int(time.time() * 1000))
        digest = hmac.new(self.signing_key.encode(), at.encode() + b":" + body, hashlib.sha256).digest()
        head = (
            "POST /webhooks/front HTTP/1.1\r\nHost: door\r\nConnection: close\r\n"
            f"X-Front-Request-Timestamp: {at}\r\nX-Front-Signature: {base64.b64encode(digest).decode()}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


def told(crowd: list[Reception]) -> str:
    """How many got which status, and what the slowest waited."""
    counts = Counter(each.status for each in crowd)
    statuses = ", ".join(f"{count} × {status}" for status, count in sorted(counts.items()))
    return f"{statuses}; slowest {max(each.seconds for each in crowd):.2f} s"
