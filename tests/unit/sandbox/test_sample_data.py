"""The bytes of an attachment depend on its ids and its size alone."""

from __future__ import annotations

import hashlib

import pytest

from sandbox.sample_data import CHUNK_BYTES, attachment_chunks, attachment_sha256


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES])
def test_an_attachment_has_exactly_its_declared_size(size: int) -> None:
    pieces = list(attachment_chunks("cmp_a", "fil_1", size))
    assert sum(map(len, pieces)) == size
    assert all(len(piece) <= CHUNK_BYTES for piece in pieces)


def test_the_checksum_fits_the_bytes_and_differs_by_company() -> None:
    content = b"".join(attachment_chunks("cmp_a", "fil_1", 100_000))
    assert attachment_sha256("cmp_a", "fil_1", 100_000) == hashlib.sha256(content).hexdigest()
    assert attachment_sha256("cmp_b", "fil_1", 100_000) != attachment_sha256("cmp_a", "fil_1", 100_000)
