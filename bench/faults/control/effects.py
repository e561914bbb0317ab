"""What the tasks have done, as their file says, and what that means for what was acknowledged."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet
    from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """`lost`: acknowledged and never done. `twice`: done more than once. `unacknowledged`: done all the same."""

    lost: frozenset[int]
    twice: frozenset[int]
    unacknowledged: frozenset[int]


def compare(acknowledged: AbstractSet[int], done: Mapping[int, int]) -> Comparison:
    """Judge the numbers whose sending was acknowledged by how often each was done."""
    return Comparison(
        lost=frozenset(acknowledged - done.keys()),
        twice=frozenset(number for number, times in done.items() if times > 1),
        unacknowledged=frozenset(done.keys() - acknowledged),
    )


class Effects:
    """The file that the workers append to. `read()` takes in what is new."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.done: Counter[int] = Counter()
        #: The main processes that have done something.
        self.seen: set[int] = set()
        #: When each worker did something last.
        self.last: dict[str, float] = {}
        self._offset = 0
        path.touch(mode=0o600)

    def read(self) -> None:
        """Take in the whole lines that were added."""
        with self.path.open("rb") as file:
            file.seek(self._offset)
            added, _, _ = file.read().rpartition(b"\n")
        self._offset += len(added) + bool(added)
        for line in added.decode().splitlines():
            number, worker, process, at = line.split()
            self.done[int(number)] += 1
            self.seen.add(int(process))
            self.last[worker] = max(float(at), self.last.get(worker, 0.0))
