"""Which release of Mailroom this is."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def installed() -> str | None:
    """The version of the installed package; None when run from a source folder."""
    try:
        return version("mailroom")
    except PackageNotFoundError:
        return None
