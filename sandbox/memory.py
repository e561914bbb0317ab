"""Keeps a sandbox's companies, mail and tokens over a restart, for who works with the same ones for days."""

from __future__ import annotations

import logging
import pickle
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox.front import Front

log = logging.getLogger("sandbox")
FORMAT = 3
"""Increase it when a record changes or moves: pickle cannot read the old ones then."""
NOT_KEPT = {"ids", "lock", "_lock", "_access_seconds", "_rotate"}


def remember(front: Front, path: Path) -> None:
    """Write down what there is, in one step: a killed sandbox leaves the file of the last clean stop."""
    new = path.with_suffix(".new")
    kept = [{name: value for name, value in vars(part).items() if name not in NOT_KEPT} for part in _parts(front)]
    new.touch(mode=0o600)  # it holds tokens
    new.write_bytes(pickle.dumps((FORMAT, kept)))
    new.replace(path)


def recall(front: Front, path: Path) -> None:
    """Go on with what was written down; with nothing when there is no such file or another release wrote it."""
    if not path.exists():
        return
    try:
        written, kept = pickle.loads(path.read_bytes())  # noqa: S301 -- our own file
    except Exception:  # noqa: BLE001 -- pickle raises whatever the old classes lead to
        written, kept = None, ()
    if written != FORMAT:
        log.warning("%s cannot be read; the sandbox starts empty", path)
        return
    for part, values in zip(_parts(front), kept, strict=True):
        vars(part).update(values)


def _parts(front: Front) -> tuple[object, object]:
    return front.world, front.grants
