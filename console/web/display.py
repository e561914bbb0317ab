"""How templates show values from outside: hidden characters as marks, addresses masked, times and sizes in words."""

from __future__ import annotations

import re
import shlex
import unicodedata
from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from flask import request
from markupsafe import Markup, escape

from console.remedies import capped
from console.times import format_duration
from shared.text import hidden_character, printable, without_joiners

if TYPE_CHECKING:
    from flask import Flask

#: Whatever has the form of an address; of its local part the first letter is kept.
ADDRESS = re.compile(r"([^\s@<>\"',;:()])[^\s@<>\"',;:()]*@([^\s@<>\"',;:()]+)")
KILO = 1_000
#: Holds the name of the time zone in which this browser shows times, as in Europe/Berlin; without it they are in UTC.
ZONE_COOKIE = "mailroom-zone"
LONGEST_ZONE = 64  # characters
UNITS = ("bytes", "kB", "MB", "GB", "TB")


def register_filters(app: Flask) -> None:
    """Give the templates these filters."""
    app.jinja_env.filters.update(
        exact=exact,
        plain=printable,
        visible=visible,
        masked=masked,
        masked_handle=masked_handle,
        size=size,
        duration=format_duration,
        capped=capped,
        with_commands=with_commands,
        shell_word=shlex.quote,
    )


def zone_named(name: str) -> tzinfo:
    """Return the time zone with this name, which a browser chose; UTC if there is none."""
    try:
        return ZoneInfo(name) if name and len(name) <= LONGEST_ZONE and name.isascii() else UTC
    except (ZoneInfoNotFoundError, ValueError, OSError):  # a name may be a folder of the zones, or lead out of it
        return UTC


def viewer_zone() -> tzinfo:
    """Return the time zone in which whoever made the current request reads times."""
    return zone_named(request.cookies.get(ZONE_COOKIE, ""))


def exact(at: datetime) -> str:
    """Write a moment to the second, in the zone of whoever reads it, and name the zone."""
    return at.astimezone(viewer_zone()).strftime("%Y-%m-%d %H:%M:%S %Z")


def visible(text: object) -> Markup:
    """Show characters that nobody sees, or that turn the reading direction, as marks with their names."""
    shown = "" if text is None else str(text)
    if hidden_character(without_joiners(shown)) is None:
        return escape(shown)
    return Markup("").join(_mark(char) if _is_hidden(char) else escape(char) for char in shown)


def masked(text: str) -> str:
    """Mask the addresses in a text: the first letter and the domain are left."""
    return ADDRESS.sub(lambda found: f"{found[1]}…@{found[2]}", text)


def masked_handle(handle: str) -> str:
    """Mask a recipient: an address as `masked` does, any other handle whole."""
    return masked(handle) if ADDRESS.search(handle) else "…"


def with_commands(text: str) -> Markup:
    """Show the parts of a text between backticks as commands."""
    parts = [Markup("<code>{}</code>").format(visible(part)) if place % 2 else visible(part)
             for place, part in enumerate(text.split("`"))]  # fmt: skip
    return Markup("").join(parts)


def size(count: int | None) -> str:
    """Write a number of bytes in the largest unit that fits."""
    if count is None:
        return "–"
    number, unit = float(count), 0
    while number >= 1000 and unit + 1 < len(UNITS):
        number, unit = number / KILO, unit + 1
    return f"{number:.0f} {UNITS[unit]}" if unit == 0 else f"{number:.1f} {UNITS[unit]}"


def _is_hidden(char: str) -> bool:
    return char not in "\n\t" and hidden_character(char) is not None


def _mark(char: str) -> Markup:
    name = unicodedata.name(char, "control character")
    return Markup('<span class="hidden-mark" title="{}">U+{:04X}</span>').format(name, ord(char))
