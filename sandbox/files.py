"""The bytes behind an attachment: made up, yet always the same for the same company and id."""

from __future__ import annotations

import hashlib
import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK = 64 * 1024


def chunks(company_id: str, attachment_id: str, size: int) -> Iterator[bytes]:
    """Yield `size` bytes, at most 64 KiB at a time."""
    source = random.Random(f"{company_id}/{attachment_id}")
    for start in range(0, size, CHUNK):
        yield source.randbytes(min(CHUNK, size - start))


def sha256(company_id: str, attachment_id: str, size: int) -> str:
    """The checksum of all those bytes."""
    digest = hashlib.sha256()
    for chunk in chunks(company_id, attachment_id, size):
        digest.update(chunk)
    return digest.hexdigest()
