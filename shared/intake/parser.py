"""Reads entries of the intake out of what Redis sends: a look at each, where redis-py's own parser takes nine steps."""

from __future__ import annotations

import io
import re
from typing import Any

from redis._parsers import _RESP2Parser

#: An entry as the door writes it, up to its body: https://redis.io/docs/latest/develop/reference/protocol-spec/
ENTRY = re.compile(
    rb"\*2\r\n\$[0-9]{1,2}\r\n([0-9]+-[0-9]+)\r\n\*6\r\n"
    rb"\$2\r\nid\r\n\$32\r\n(.{32})\r\n"
    rb"\$2\r\nat\r\n\$[0-9]{1,2}\r\n([0-9]+)\r\n"
    rb"\$4\r\nbody\r\n\$([0-9]{1,9})\r\n",
    re.DOTALL,
)


class EntriesParser(_RESP2Parser):
    """Gives what redis-py's parser gives, whatever is sent; entries that have arrived as a whole sooner."""

    def _read_response(self, disable_decoding: bool = False) -> Any:
        if entry := self._arrived_entry():
            return entry
        return super()._read_response(disable_decoding=disable_decoding)  # type: ignore[no-untyped-call]

    def _arrived_entry(self) -> list[Any] | None:
        """The entry that comes next, unless it is something else or its end has not arrived."""
        received: io.BytesIO = self._buffer._buffer  # type: ignore[union-attr]
        data = received.getvalue()
        if not (found := ENTRY.match(data, received.tell())):
            return None
        begin = found.end()
        end = begin + int(found[4])
        if data[end : end + 2] != b"\r\n":
            return None
        received.seek(end + 2)
        name, id_, at = found.group(1, 2, 3)
        return [name, [b"id", id_, b"at", at, b"body", data[begin:end]]]
