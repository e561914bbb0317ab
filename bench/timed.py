"""How long each part of a benchmark took, told when it is over and kept with the result."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def timed(took: dict[str, float], part: str) -> Iterator[None]:
    """Add what the body took, in seconds, to what this part took before."""
    began = time.monotonic()
    yield
    took[part] = round(took.get(part, 0.0) + time.monotonic() - began, 1)
    print(f"{part} took {took[part]} s", file=sys.stderr, flush=True)
