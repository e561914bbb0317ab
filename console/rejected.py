"""Explain the requests that the door rejected: each reason in words, and whether too many signatures are wrong."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from shared.rejected_requests import RejectedRequest, RejectedRequests

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.settings import Settings

#: From so many requests of an hour on, and this share of all, wrong signatures are more than a stranger's tries.
LEAST_ALARMING, ALARMING_SHARE = 5, 0.1


@dataclass(frozen=True, kw_only=True)
class RejectedReason:
    """The requests that were rejected for one reason; counts are exact to five minutes, the latest sample is first."""

    reason: str
    meaning: str
    what_to_do: str
    last_hour: int
    last_day: int
    samples: list[RejectedRequest]


@dataclass(frozen=True, kw_only=True)
class Rejected:
    """The requests that the door rejected in the last 24 hours, the most frequent reason first."""

    reasons: list[RejectedReason]

    def last_hour(self, reason: str) -> int:
        """Return how many requests were rejected for this reason in the last hour."""
        return sum(each.last_hour for each in self.reasons if each.reason == reason)


@dataclass(frozen=True, kw_only=True)
class _Text:
    meaning: str
    what_to_do: str


_UNKNOWN: Final = _Text(
    meaning="The door rejected the request for a reason that has no words here.",
    what_to_do="Look for the reason in the door's log.",
)
TEXTS: Final[Mapping[str, _Text]] = {
    "invalid_signature": _Text(
        meaning="The signature fits the request with none of the signing keys.",
        what_to_do="If the app's signing key was changed in Front, put the new key first in FRONT_SIGNING_KEYS and "
        "start the door again. A proxy that changes bodies has the same effect.",
    ),
    "missing_signature": _Text(
        meaning="The request is not signed as Front signs: a header is missing.",
        what_to_do="Nothing, if strangers send it. Else use the webhooks of the Front app, not those of a rule, and "
        "let proxies pass on headers that begin with X-Front-.",
    ),
    "stale_timestamp": _Text(
        meaning="The signature is right, but its timestamp is too old, too far ahead, or no time.",
        what_to_do="Check the clock of the door's machine. Raise FRESHNESS_SECONDS if webhooks are held up on the way.",
    ),
    "body_too_large": _Text(
        meaning="The body is over MAX_BODY_BYTES.",
        what_to_do="Raise the setting if Front sends such bodies; strangers may send any.",
    ),
    "body_too_slow": _Text(
        meaning="The body was not there within ten seconds.",
        what_to_do="Look at the network and the proxy in front of the door.",
    ),
    "encoded_body": _Text(
        meaning="The body is compressed, which Front's webhooks are not.",
        what_to_do="Turn off the compression of requests in the proxy in front of the door.",
    ),
    "challenge_too_long": _Text(
        meaning="The request is signed, and its challenge is longer than Front's are.",
        what_to_do="Look for who else has the signing key.",
    ),
    "not_found": _Text(
        meaning="The request went to a path that the door does not have.",
        what_to_do="If a sample is a webhook of Front, correct the webhook URL of the app in Front. Else nothing.",
    ),
    "method_not_allowed": _Text(
        meaning="The request has a method that its path does not take; webhooks are POST.",
        what_to_do="Nothing, if strangers or a monitor send it. Let a monitor ask for /livez.",
    ),
    "bad_request": _Text(
        meaning="The sender went away before the body was whole.",
        what_to_do="Look at the timeouts of the proxy in front of the door, if there are many.",
    ),
    "door_full": _Text(
        meaning="The door held as many large bodies as it has room for, and asked the sender to come back.",
        what_to_do="Look at the networks of the samples: somebody sends many large bodies. More door processes "
        "(WEB_CONCURRENCY) have more room.",
    ),
    "nothing_stored": _Text(
        meaning="Neither Redis nor PostgreSQL took the webhook, and the door asked Front to send it again.",
        what_to_do="See that Redis or PostgreSQL is back; `mailroom repair` finds what Front did not send again.",
    ),
    "internal_server_error": _Text(
        meaning="Mailroom itself failed.",
        what_to_do="Look for the traceback in the door's log, and report it.",
    ),
}


def read_rejected(settings: Settings) -> Rejected:
    """Read what the door rejected in the last 24 hours. Raises StoreUnavailable while Redis does not answer."""
    with closing(RejectedRequests(settings.redis_url.get_secret_value())) as store:
        found = store.read(time.time())
    reasons = []
    for each in found:
        text = TEXTS.get(each.reason, _UNKNOWN)
        reasons.append(RejectedReason(meaning=text.meaning, what_to_do=text.what_to_do, **vars(each)))
    return Rejected(reasons=reasons)


def is_alarming(wrong: int, *, received: int) -> bool:
    """Whether so many wrong signatures, beside the webhooks received in the same time, look like a changed key."""
    return wrong >= LEAST_ALARMING and wrong >= ALARMING_SHARE * (wrong + received)
