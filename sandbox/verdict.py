"""The verdict: was any event lost, served twice, or was anything done that nobody asked for?

It is judged from the histories of conversations alone. A history lists what happened to one conversation: events
(`Asked`, with the effect they should have: their wish), messages, status changes by people or rules, and effects
(API calls that were applied). The verdict judges the effects `archived`, `deleted`, `spam` and `tag:<id>`. It does
not judge assigning, moving and untagging. It judges opening only after a recall. A merged conversation is judged under
its surviving id, with its whole history.

- **lost**: an acknowledged event with a wish, if neither that effect nor any change by a person comes after it.
  One effect serves every earlier event with the same wish. An event needs no effect if its wish was fulfilled
  already when it was emitted.
- **unserved**: the same for a genuine event that was never acknowledged, for instance a dropped webhook. It is not
  lost: the event list still has it, so it can be repaired.
- **double**: an effect for which no wish is left. Each event allows its wish once; an event without a known wish
  allows any one effect. Several equal wishes may be served by fewer effects, but not by more. An effect on the
  status is also double if a person has opened the conversation and no event has asked for it since. It would undo the
  person's change.
- A recall (`POST /sandbox/conversations/{id}/recall`) cancels all wishes before it: none of them is lost any more,
  and a later effect for one is double. It allows one opening of the conversation. A second opening is double, and
  so is an opening after a person closed the conversation since the recall.
- **ghost**: an effect that no genuine event before it asked for. A forged webhook asks for nothing. Genuine events
  count even if never acknowledged, because the event list has them.
- **effects**: the number of judged effects. **repeated**: the number of those that changed nothing. Two events with
  the same wish may cause one, so it is no fault.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from sandbox.ledger import percentiles
from sandbox.models import Asked, Effect, PersonChanged, Recalled

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping, Sequence

    from sandbox.ledger import Ledger
    from sandbox.models import HistoryEntry, Key

    Classification = Literal["allowed", "double", "ghost"]

STATUS_WISHES = frozenset({"archived", "deleted", "spam"})
OPENING_EVENTS = frozenset({"reopen", "restore"})
NO_WISH = frozenset({None, "none"})


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The judgement of one conversation. `waits` are the seconds from each served event to its effect."""

    lost: tuple[str, ...] = ()
    unserved: tuple[str, ...] = ()
    double: int = 0
    ghost: int = 0
    effects: int = 0
    repeated: int = 0
    waits: tuple[float, ...] = ()


def verdict(
    histories: Mapping[Key, Sequence[HistoryEntry]], ledger: Ledger, *, pending: int, named: int
) -> dict[str, Any]:
    """Judge all conversations, as the control API reports it. At most `named` events are listed by id."""
    acknowledged = set(ledger.acknowledged)
    findings = {key: judge(history, acknowledged) for key, history in histories.items()}
    lost = [event_id for finding in findings.values() for event_id in finding.lost]
    unserved = [event_id for finding in findings.values() for event_id in finding.unserved]
    return {
        "sent": len(ledger.sent),
        "acknowledged": len(acknowledged),
        "lost": len(lost),
        "lost_events": lost[:named],
        "unserved": len(unserved),
        "unserved_events": unserved[:named],
        "double": sum(finding.double for finding in findings.values()),
        "double_conversations": [key[1] for key, finding in findings.items() if finding.double],
        "ghost": sum(finding.ghost for finding in findings.values()),
        "ghost_conversations": [key[1] for key, finding in findings.items() if finding.ghost],
        "wrong_token": ledger.wrong_tokens,
        "effects": sum(finding.effects for finding in findings.values()),
        "repeated": sum(finding.repeated for finding in findings.values()),
        "pending": pending,
        "seconds_to_effect": percentiles([wait for finding in findings.values() for wait in finding.waits]),
    }


def judge(history: Sequence[HistoryEntry], acknowledged: Container[str]) -> Finding:
    """Judge one conversation."""
    unanswered = [asked.event_id for asked in _unanswered(history)]
    effects = [entry for entry in history if isinstance(entry, Effect) and _is_judged(entry)]
    double, ghost = _count_excess(history)
    return Finding(
        lost=tuple(event_id for event_id in unanswered if event_id in acknowledged),
        unserved=tuple(event_id for event_id in unanswered if event_id not in acknowledged),
        double=double,
        ghost=ghost,
        effects=len(effects),
        repeated=sum(not effect.changed for effect in effects),
        waits=tuple(_waits(history)),
    )


def _is_judged(effect: Effect) -> bool:
    return effect.wish in STATUS_WISHES or effect.wish.startswith("tag:")


def _unanswered(history: Sequence[HistoryEntry]) -> list[Asked]:
    """Find the events with a wish that no later entry serves, oldest first."""
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
class _AllowedEffects:
    """The effects that are still allowed at one point of a history."""

    left: Counter[str | None] = field(default_factory=Counter)
    asked: set[str | None] = field(default_factory=set)
    opened_by_person: bool = False
    openings: int | None = None

    def recall(self) -> None:
        """Cancel all wishes, and allow one opening."""
        self.left.clear()
        self.openings = 1

    def change(self, do: str) -> None:
        """Respect a person's change: they opened the conversation, or closed it after a recall."""
        self.opened_by_person = do in OPENING_EVENTS
        if self.openings and not self.opened_by_person:
            self.openings = 0

    def ask(self, asked: Asked) -> None:
        """Allow the wish of a genuine event."""
        if asked.genuine and asked.wish != "none":
            self.left[asked.wish] += 1
            self.asked.add(asked.wish)
            self.opened_by_person = False

    def open(self) -> Classification:
        """Classify an opening, and use it up."""
        if self.openings is None:
            return "allowed"
        self.openings -= 1
        return "allowed" if self.openings >= 0 else "double"

    def take(self, wish: str) -> Classification:
        """Classify any other effect, and use up its wish."""
        undoes_person = self.opened_by_person and wish in STATUS_WISHES
        for allowed in (wish, None):
            if self.left[allowed]:
                self.left[allowed] -= 1
                return "double" if undoes_person else "allowed"
        return "double" if self.asked & {wish, None} else "ghost"


def _count_excess(history: Iterable[HistoryEntry]) -> tuple[int, int]:
    """Count the double effects and the ghosts."""
    allowed, counts = _AllowedEffects(), Counter[str]()
    for entry in history:
        if isinstance(entry, Asked):
            allowed.ask(entry)
        elif isinstance(entry, PersonChanged):
            allowed.change(entry.do)
        elif isinstance(entry, Recalled):
            allowed.recall()
        elif isinstance(entry, Effect) and entry.wish == "open":
            counts[allowed.open()] += 1
        elif isinstance(entry, Effect) and _is_judged(entry):
            counts[allowed.take(entry.wish)] += 1
    return counts["double"], counts["ghost"]


def _waits(history: Sequence[HistoryEntry]) -> Iterable[float]:
    for place, entry in enumerate(history):
        if isinstance(entry, Asked) and entry.wish not in NO_WISH:
            later = (each for each in history[place:] if isinstance(each, Effect) and each.wish == entry.wish)
            if effect := next(later, None):
                yield round(effect.at - entry.at, 4)
