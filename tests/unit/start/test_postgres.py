"""How much memory the embedded PostgreSQL keeps its tables in."""

from __future__ import annotations

import pytest

from console.up.embedded.postgres import buffers_mib

GIB = 2**30


@pytest.mark.parametrize(("memory", "mib"), [(1 * GIB, 128), (8 * GIB, 512), (16 * GIB, 1024), (256 * GIB, 1024)])
def test_the_cache_grows_with_the_machine_within_bounds(memory: int, mib: int) -> None:
    assert buffers_mib(memory) == mib
