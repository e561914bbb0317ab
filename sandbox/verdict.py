"""Was anything lost, done twice, or done unasked? Judged from histories alone.

A history is what befell one conversation, in order: events that were emitted (`Asked`, with the wish
they should lead to), messages, changes by people or rules, and effects: calls of the API that were
applied. Judged effects are `archived`, `deleted`, `spam` and `tag:<id>`; assigning, moving and untagging are not
judged, and opening only after a recall. A merged conversation is judged under its surviving id, with the whole history.

- **lost**: an acknowledged event with a wish, after which neither that very effect nor any change by a
  person is found. One effect serves every earlier event with the same wish (coalesced). A wish that was
  already true when the event was emitted needs no effect.
- **unserved**: the same for a genuine event that was never acknowledged, a dropped webhook for instance.
  It is no loss, but a gap that can be repaired from the event list.
- **double**: an effect for which no wish is left. Each event allows its wish once; an event of which
  nobody said what should follow allows any one effect. Several equal wishes may be served by fewer effects,
  never by more. An effect on the status is also double when a person has opened the conversation and
  no event has asked for it since: it undoes what the person did.
- A recall (`POST /sandbox/conversations/{id}/recall`) ends all wishes before it: none of them is lost any more, and
  what is still done for one is double. It allows to open the conversation once; a second time, or after a person
  closed it since, is double.
- **ghost**: an effect that no genuine event before it ever asked for. A forged webhook asks for nothing.
  Genuine events count whether acknowledged or not: they can be read from the event list.
- **effects**: all judged effects. **repeated**: those that found everything as it should be; two events with
  the same wish may cause one, so it is a figure and not a fault.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sandbox.models import Asked, Effect, PersonChanged, Recalled

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Sequence

    from sandbox.models import HistoryEntry

STATUS_WISHES = frozenset({"archived", "deleted", "spam"})
OPENING = frozenset({"reopen", "restore"})
NO_WISH = frozenset({None, "none"})


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The judgement on one conversation; `waits` are the seconds from each served event to its effect."""

    lost: tuple[str, ...] = ()
    unserved: tuple[str, ...] = ()
    double: int = 0
    ghost: int = 0
    effects: int = 0
    repeated: int = 0
    waits: tuple[float, ...] = ()


def judge(history: Sequence[HistoryEntry], acknowledged: Container[str]) -> Finding:
    """Judge one conversation by the rules above."""
    missing = [asked.event_id for asked in _unanswered(history)]
    effects = _judged(history)
    double, ghost = _excess(history)
    return Finding(
        lost=tuple(event_id for event_id in missing if event_id in acknowledged),
        unserved=tuple(event_id for event_id in missing if event_id not in acknowledged),
        double=double,
        ghost=ghost,
        effects=len(effects),
        repeated=sum(not effect.changed for effect in effects),
        waits=tuple(_waits(history)),
    )


def _is_judged(entry: HistoryEntry) -> bool:
    return isinstance(entry, Effect) and (entry.wish in STATUS_WISHES or entry.wish.startswith("tag:"))


def _judged(history: Iterable[HistoryEntry]) -> list[Effect]:
    return [entry for entry in history if isinstance(entry, Effect) and _is_judged(entry)]


def _unanswered(history: Sequence[HistoryEntry]) -> list[Asked]:
    """Genuine wishes after which nothing of the kind happened, oldest first."""
    missing: list[Asked] = []
    done_later: set[str] = set()
    person_later = False
    for entry in reversed(history):
        match entry:
            case Effect():
                done_later.add(entry.wish)
            case PersonChanged() | Recalled():
                person_later = True
            case Asked(wish=str(wish)) if wish not in NO_WISH and not entry.already:
                if wish not in done_later and not person_later:
                    missing.append(entry)
    return missing[::-1]


@dataclass
class _Wishes:
    """Which effects are still allowed, walking a history forwards."""

    left: Counter[str | None] = field(default_factory=Counter)
    asked: set[str | None] = field(default_factory=set)
    opened_by_person: bool = False
    openings: int | None = None

    def recall(self) -> None:
        """Nothing that was asked for before is wanted any more, and one opening is."""
        self.left.clear()
        self.openings = 1

    def open(self) -> str:
        """The word for one opening: allowed or double."""
        if self.openings is None:
            return "allowed"
        self.openings -= 1
        return "allowed" if self.openings >= 0 else "double"

    def change(self, do: str) -> None:
        """A person decided: what they open stays open, what they close after a recall stays closed."""
        self.opened_by_person = do in OPENING
        if self.openings and not self.opened_by_person:
            self.openings = 0

    def ask(self, asked: Asked) -> None:
        if asked.genuine and asked.wish != "none":
            self.left[asked.wish] += 1
            self.asked.add(asked.wish)
            self.opened_by_person = False

    def take(self, wish: str) -> str:
        """The word for one effect: allowed, double or ghost."""
        undone = self.opened_by_person and wish in STATUS_WISHES
        for allowed in (wish, None):
            if self.left[allowed]:
                self.left[allowed] -= 1
                return "double" if undone else "allowed"
        return "double" if self.asked & {wish, None} else "ghost"


def _excess(history: Iterable[HistoryEntry]) -> tuple[int, int]:
    wishes, words = _Wishes(), Counter[str]()
    for entry in history:
        if isinstance(entry, Asked):
            wishes.ask(entry)
        elif isinstance(entry, PersonChanged):
            wishes.change(entry.do)
        elif isinstance(entry, Recalled):
            wishes.recall()
        elif isinstance(entry, Effect) and entry.wish == "open":
            words[wishes.open()] += 1
        elif isinstance(entry, Effect) and _is_judged(entry):
            words[wishes.take(entry.wish)] += 1
    return words["double"], words["ghost"]


def _waits(history: Sequence[HistoryEntry]) -> Iterable[float]:
    for place, entry in enumerate(history):
        if isinstance(entry, Asked) and entry.wish not in NO_WISH:
            later = (each for each in history[place:] if isinstance(each, Effect) and each.wish == entry.wish)
            if effect := next(later, None):
                yield round(effect.at - entry.at, 4)
