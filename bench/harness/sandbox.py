"""The small Front as a process beside a door, ours or anybody's."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.harness.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.harness.platform import Platform
    from bench.harness.small_front import SmallFront

LISTENS_WITHIN = 90.0


@dataclass(frozen=True, kw_only=True)
class Door:
    """Where webhooks go, and what they are signed with."""

    port: int
    signing_key: str


def start_sandbox(platform: Platform, front: SmallFront, door: Door, options: Sequence[str]) -> None:
    """Start it where `front` expects it, and return when it listens."""
    url = f"http://127.0.0.1:{door.port}/webhooks/front"
    own = ("--port", str(front.port), "--door", url, "--signing-key", door.signing_key, "--data", str(front.folder))
    platform.run("sandbox", [sys.executable, "-m", "sandbox", "serve", *own, *options])
    assert wait_until(front.listens, LISTENS_WITHIN, every=0.1), "the sandbox does not listen"
