"""One `mailroom up` a folder: two servers on the same files would destroy them."""

from __future__ import annotations

import fcntl
from contextlib import contextmanager
from typing import TYPE_CHECKING

from shared.errors import MailroomError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class AlreadyRunning(MailroomError):
    """Another process works in this folder."""

    code = "already_running"


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Hold the folder; the kernel lets go when the process ends, however it ends."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunning(f"Mailroom is already running on {folder}") from None
        yield
