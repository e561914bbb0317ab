"""Make copies of a stored webhook for developers: a signed `curl` command, and an order for the sandbox. Pure."""

from __future__ import annotations

import re
import shlex
from base64 import b64encode
from typing import TYPE_CHECKING, Any, Final

from shared.addresses import match_key
from shared.front.content import parse_content
from shared.front.envelope import parse_envelope
from shared.front.signature import SIGNATURE_HEADER, TIMESTAMP_HEADER, sign

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shared.db.reading.events import EventDetails
    from shared.models import Envelope

#: Of a longer body, a shell would refuse the command: it takes 128 KiB for one argument.
LONGEST_ARGUMENT: Final = 100_000
LINE: Final = 76  # characters of encoded text
#: The form that an address has anywhere in a text.
ADDRESS: Final = re.compile(r"[^\s@<>\"',;:()\[\]\\]+@[^\s@<>\"',;:()\[\]\\]+")
#: The roles that the sandbox knows.
ROLES: Final = frozenset({"from", "to", "cc", "bcc", "reply-to"})


def curl_command(body: bytes, *, url: str, key: bytes, milliseconds: int) -> str:
    """Return a command that sends the body to the door, signed for this moment. The key is not in it.

    It runs in any POSIX shell. A body that is long, or that has more than printable ASCII, is in it as Base64.
    """
    timestamp = str(milliseconds)
    headers = {
        "Content-Type": "application/json",
        TIMESTAMP_HEADER: timestamp,
        SIGNATURE_HEADER: sign(body, timestamp=timestamp, key=key),
    }
    parts = ["curl", *(f"-H {shlex.quote(f'{name}: {value}')}" for name, value in headers.items())]
    text = body.decode("ascii", "replace")
    if text.isprintable() and text.isascii() and len(text) < LONGEST_ARGUMENT:
        return " \\\n  ".join([*parts, f"--data-raw {shlex.quote(text)}", shlex.quote(url)])
    encoded = b64encode(body).decode()
    lines = [encoded[begin : begin + LINE] for begin in range(0, len(encoded), LINE)]
    command = " \\\n  ".join([*parts, "--data-binary @-", shlex.quote(url)])
    return "\n".join(["base64 -d <<'BODY' |", *lines, "BODY", command])


def sandbox_order(body: bytes, event: EventDetails) -> dict[str, Any]:
    """Return what `mailroom sandbox send --body FILE` sends: an event like this one, with example addresses.

    It names no company and no ids, so that each sending is a new event of the sandbox's own company. Recipients and
    files that the body left out are those that were fetched. Raises MalformedEnvelope for a body that cannot be read.
    """
    envelope = parse_envelope(body)
    examples = _Examples()
    order: dict[str, Any] = {
        "type": envelope.type,
        "subject": examples.replace_in(parse_content(body).subject or ""),
        "recipients": [
            {"handle": examples.handle(handle), "role": role}
            for handle, role in _recipients(envelope, event)
            if role in ROLES
        ],
        "attachments": [_file(examples, *file) for file in _files(envelope, event)],
        "fault": _left_out(envelope),
    }
    return {name: value for name, value in order.items() if value}


class _Examples:
    """Replaces each address by an example of its own, the same for all its spellings."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def replace_in(self, text: str) -> str:
        """Replace the addresses in the text."""
        return ADDRESS.sub(self._example, text)

    def handle(self, handle: str) -> str:
        """Replace a recipient's handle whole, where it is no address: it may be a telephone number."""
        return self.replace_in(handle) if ADDRESS.search(handle) else f"person{self._number(handle)}"

    def _example(self, found: re.Match[str]) -> str:
        return f"person{self._number(found[0])}@example.com"

    def _number(self, handle: str) -> int:
        return self._numbers.setdefault(match_key(handle) or handle.casefold(), len(self._numbers) + 1)


def _recipients(envelope: Envelope, event: EventDetails) -> Iterable[tuple[str, str]]:
    if envelope.message and envelope.message.recipients is not None:
        return envelope.message.recipients
    return [(each.handle, each.role) for each in event.recipients]


def _files(envelope: Envelope, event: EventDetails) -> Iterable[tuple[str, str, int | None, bool]]:
    if envelope.message and envelope.message.attachments is not None:
        return [(each.filename, each.content_type, each.declared_size, each.is_inline)
                for each in envelope.message.attachments]  # fmt: skip
    return [(each.filename, each.content_type, each.size or each.declared_size, each.is_inline)
            for each in event.attachments]  # fmt: skip


def _file(examples: _Examples, filename: str, content_type: str, size: int | None, is_inline: bool) -> dict[str, Any]:
    file = {"filename": examples.replace_in(filename), "content_type": content_type, "is_inline": is_inline}
    return file if size is None else {**file, "size": size}


def _left_out(envelope: Envelope) -> str | None:
    """Return the fault by which the sandbox leaves out what Front left out of this body."""
    message = envelope.message
    if message is None or (message.recipients is not None and message.attachments is not None):
        return None
    if message.recipients is None and message.attachments is None:
        return "preview"
    return "no_recipients" if message.recipients is None else "no_attachments"
