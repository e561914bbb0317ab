"""What befell a conversation, in order: the evidence the verdict is made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """An event was emitted. `wish` is the change it should lead to, "none", or None when nobody said.

    `genuine` is False for a forged webhook; `already` says that the wish was true at that moment.
    """

    at: float
    event_id: str
    wish: str | None
    genuine: bool = True
    already: bool = False
    kind: Literal["asked"] = "asked"


@dataclass(frozen=True, kw_only=True, slots=True)
class Arrived:
    """A message came in; an archived or trashed conversation is open again."""

    at: float
    message_id: str
    kind: Literal["arrived"] = "arrived"


@dataclass(frozen=True, kw_only=True, slots=True)
class PersonChanged:
    """A teammate or a rule changed the status."""

    at: float
    do: str
    by: str
    kind: Literal["person_changed"] = "person_changed"


@dataclass(frozen=True, kw_only=True, slots=True)
class Effect:
    """A call of the API was applied. `changed` is False when everything was so before."""

    at: float
    wish: str
    changed: bool
    by: str
    kind: Literal["effect"] = "effect"


@dataclass(frozen=True, kw_only=True, slots=True)
class Merged:
    """The conversation goes on under another id; its history went with it."""

    at: float
    from_id: str
    kind: Literal["merged"] = "merged"


@dataclass(frozen=True, kw_only=True, slots=True)
class Recalled:
    """Somebody wants undone what was done through the API, and no longer wants what was not done yet."""

    at: float
    kind: Literal["recalled"] = "recalled"


Entry = Asked | Arrived | PersonChanged | Effect | Merged | Recalled
