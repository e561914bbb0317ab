"""Reads a JSON object into the fields of a record, refusing words that do not belong there."""

from __future__ import annotations

from typing import Any, get_args, get_type_hints

SCALARS = {int, float, str, bool}


def read_words(body: Any, record: type, error: type[ValueError]) -> dict[str, Any]:
    """The given fields of `record`; nulls are left out. A wrong word raises `error` with the reason."""
    hints = get_type_hints(record)
    if not isinstance(body, dict):
        raise error("expected a JSON object")
    if unknown := sorted(set(body) - set(hints)):
        raise error(f"unknown: {', '.join(unknown)}; known: {', '.join(sorted(hints))}")
    given = {name: value for name, value in body.items() if value is not None}
    for name, value in given.items():
        if not _fits(value, hints[name]):
            raise error(f"{name} is of the wrong type")
    return given


def _fits(value: Any, hint: Any) -> bool:
    """Scalars are checked, whatever is more than that is left to the reader."""
    allowed = set(get_args(hint) or (hint,)) & SCALARS
    if not allowed:
        return True
    if isinstance(value, int) and not isinstance(value, bool) and float in allowed:
        return True
    return type(value) in allowed
