"""The modules that door, workers and console share."""

from __future__ import annotations


def installed_version() -> str | None:
    """Return the version of the installed package, or None when it runs from a source folder."""
    # It takes 25 ms, and every program imports this package.
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415

    try:
        return version("mailroom")
    except PackageNotFoundError:
        return None
