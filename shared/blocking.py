"""Decides whether an action must wait for files of its conversation: pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Unstored:
    """How many files of a conversation are not stored, by why; a message still to be read counts as waiting."""

    waiting: int = 0
    failed: int = 0
    discarded: int = 0


def blocked(kind: str, wait_for: str, unstored: Unstored) -> str | None:
    """Why an action must wait for files, or None. Trash always waits until every file is stored."""
    if unstored.waiting:
        return f"waits for {unstored.waiting} file(s) of the conversation to be stored"
    if unstored.failed and (kind == "trash" or wait_for == "stored"):
        return f"{unstored.failed} file(s) of the conversation could not be stored; retry or discard their tasks"
    return None
