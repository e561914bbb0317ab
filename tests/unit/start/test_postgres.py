"""The embedded PostgreSQL sizes its shared buffers by the machine's memory."""

from __future__ import annotations

import pytest

from console.up.embedded.postgres import buffers_mib

GIB = 2**30


@pytest.mark.parametrize(("memory", "mib"), [(1 * GIB, 128), (8 * GIB, 512), (16 * GIB, 1024), (256 * GIB, 1024)])
def test_the_buffers_grow_with_the_memory_within_bounds(memory: int, mib: int) -> None:
    assert buffers_mib(memory) == mib
