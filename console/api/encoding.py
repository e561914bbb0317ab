"""Refuses an address that is not encoded in UTF-8: several such addresses would be read as one, and be one user."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

from flask import request

from console.api.refusals import Fault, Invalid


def refuse_other_encodings() -> None:
    """Raise Invalid unless path and query of the current request are UTF-8."""
    path: str = request.environ["PATH_INFO"]  # its bytes, each as a character (PEP 3333)
    parts = {"path": path.encode("latin-1"), "query": unquote_to_bytes(request.query_string)}
    if faults := [_fault(part) for part, text in parts.items() if not _is_utf8(text)]:
        raise Invalid("the address is not encoded in UTF-8", faults=faults)


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _fault(part: str) -> Fault:
    return Fault(code="bad_encoding", detail=f"encode the {part} in UTF-8 before it is percent-encoded", parameter=part)
