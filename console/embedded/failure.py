"""The one way an embedded server fails to start."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.errors import MailroomError

if TYPE_CHECKING:
    from pathlib import Path


class CannotStart(MailroomError):
    """An embedded server cannot be started; the message says what to do about it."""

    code = "cannot_start"

    @classmethod
    def see(cls, what: str, log: Path, setting: str) -> CannotStart:
        """Point at the log, with its last line, and at the setting that makes the server unnecessary."""
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        return cls(f"{what}: {lines[-1] if lines else 'no output'} (see {log}, or set {setting})")
