"""Faults on request: which call is to go wrong, and how."""

from __future__ import annotations

import itertools
import random
import re
import threading
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from sandbox.http_messages import BadRequest, read_fields

KINDS = (
    "429",
    "429_no_retry_after",
    "429_burst",
    "500",
    "503",
    "timeout",
    "reset_before",
    "reset_after",
    "cut_body",
    "slow_body",
    "oversized_body",
    "404_heals",
    "merged_301",
    "redirect_offsite",
    "ignored",
    "401",
    "403",
    "missing_message_fields",
)
PER_RESOURCE = frozenset({"404_heals", "merged_301", "missing_message_fields"})
CONVERSATION = re.compile(r"/conversations/(cnv_\w+)")
MESSAGE = re.compile(r"/messages/\w+")


@dataclass(frozen=True, kw_only=True)
class FaultRule:
    """One rule. `count` is how often at most; for `404_heals` it is how often for each path.

    `rate` is a share of calls; of resources for the kinds that stick to a resource.
    `seconds` is how long a wait, a slow body or a `retry-after` lasts, `bytes` how much too much is sent.
    `retry_after` is sent word for word in place of the seconds: a date, a negative number, nonsense.
    """

    kind: str
    method: str | None = None
    path_regex: str | None = None
    company: str | None = None
    rate: float = 1.0
    count: int | None = None
    seconds: float | None = None
    retry_after: str | None = None
    bytes: int = 8 * 1024 * 1024

    def lasting(self, usual: float) -> float:
        """The seconds of the rule, or the usual ones."""
        return usual if self.seconds is None else self.seconds

    def fits(self, method: str, path: str, company: str | None) -> bool:
        """Whether a call is one of those the rule is about."""
        if self.kind == "merged_301" and not CONVERSATION.match(path):
            return False
        if self.kind == "missing_message_fields" and not (method == "GET" and MESSAGE.fullmatch(path)):
            return False
        return (
            self.method in {None, method}
            and self.company in {None, company}
            and (self.path_regex is None or re.search(self.path_regex, path) is not None)
        )


def read_rule(body: Any) -> FaultRule:
    """Check the words of a rule, or raise BadRequest."""
    given = read_fields(body, FaultRule)
    if given.get("kind") not in KINDS:
        raise BadRequest(f"kind is one of: {', '.join(KINDS)}")
    try:
        re.compile(given.get("path_regex", ""))
    except re.error as exc:
        raise BadRequest(f"path_regex: {exc}") from exc
    return FaultRule(**given)


class FaultBook:
    """The rules in force; the first that fits a call and is due decides."""

    def __init__(self, seed: int | None) -> None:
        self._seed = seed
        self._lock = threading.Lock()
        self._ids = itertools.count(1)
        self.clear()

    def clear(self) -> None:
        """Nothing goes wrong any more; the luck starts anew from the seed."""
        with self._lock:
            self._rules: dict[int, FaultRule] = {}
            self._used: Counter[int] = Counter()
            self._heals: Counter[tuple[int, str]] = Counter()
            self._chosen: dict[tuple[int, str], bool] = {}
            self._luck = random.Random(self._seed)

    def add(self, rule: FaultRule) -> int:
        """Put a rule in force; its number."""
        with self._lock:
            number = next(self._ids)
            self._rules[number] = rule
            return number

    def remove(self, number: int) -> bool:
        """Take one rule out of force."""
        with self._lock:
            return self._rules.pop(number, None) is not None

    def rules(self) -> list[dict[str, Any]]:
        """The rules in force and how often each was used."""
        with self._lock:
            return [{"id": number, **asdict(rule), "used": self._used[number]} for number, rule in self._rules.items()]

    def choose(self, method: str, path: str, company: str | None) -> FaultRule | None:
        """The fault of this call, counted as used; None if it is to go well."""
        with self._lock:
            for number, rule in self._rules.items():
                if rule.fits(method, path, company) and self._is_due(number, rule, path):
                    self._used[number] += 1
                    return rule
        return None

    def _is_due(self, number: int, rule: FaultRule, path: str) -> bool:
        if rule.kind in PER_RESOURCE:
            return self._sticks(number, rule, _resource(rule, path))
        if rule.count is not None and self._used[number] >= rule.count:
            return False
        return self._luck.random() < rule.rate

    def _sticks(self, number: int, rule: FaultRule, resource: str) -> bool:
        """The same response for the same resource; a count bounds the resources, or heals each of them."""
        key = (number, resource)
        if key not in self._chosen:
            full = rule.kind != "404_heals" and rule.count is not None and self._taken(number) >= rule.count
            self._chosen[key] = not full and self._luck.random() < rule.rate
        if not self._chosen[key] or rule.kind != "404_heals":
            return self._chosen[key]
        self._heals[key] += 1
        return self._heals[key] <= (2 if rule.count is None else rule.count)

    def _taken(self, number: int) -> int:
        return sum(chosen for (owner, _), chosen in self._chosen.items() if owner == number)


def _resource(rule: FaultRule, path: str) -> str:
    match = CONVERSATION.match(path) if rule.kind == "merged_301" else None
    return match[1] if match else path
