"""Decides whether what somebody wrote about a user makes one: pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from shared.actions import checked_action
from shared.addresses import match_key
from shared.db.users import Address, NewUser
from shared.errors import InvalidPolicy, MailroomError

LONGEST_ID, LONGEST_NAME = 200, 300
# Where real addresses never have one, but a list in one field or a display name does.
NOT_ALONE = re.compile(r"[\s<>,;]")


class BadUser(MailroomError):
    """The description is wrong; the message lists everything that is."""

    code = "bad_user"


def described_user(external_id: str, name: str, emails: Iterable[str], action: str) -> NewUser:
    """The user described by these texts. Raises BadUser with all that is wrong."""
    external_id, name, action = external_id.strip(), " ".join(name.split()), action.strip()
    given = [email.strip() for email in emails if email.strip()]
    mistakes = [
        *_text_mistakes("external_id", external_id, LONGEST_ID),
        *_text_mistakes("name", name, LONGEST_NAME),
        *_address_mistakes(given),
        *_action_mistakes(action),
    ]
    if mistakes:
        raise BadUser("; ".join(mistakes))
    return NewUser(external_id=external_id, name=name, action=action or None, addresses=_addresses(given))


def _addresses(given: list[str]) -> tuple[Address, ...]:
    """Each address once, as first written."""
    keyed = ((match_key(email), email) for email in reversed(given))
    first = {key: email for key, email in keyed if key}
    return tuple(Address(key=key, as_given=email) for key, email in reversed(first.items()))


def _text_mistakes(field: str, text: str, longest: int) -> list[str]:
    if not text:
        return [f"{field} is empty"]
    if len(text) > longest:
        return [f"{field} is longer than {longest} characters"]
    hidden = not text.isprintable() and any(unicodedata.category(char) in {"Cc", "Cs"} for char in text)
    return [f"{field} has a control character"] if hidden else []


def _address_mistakes(given: list[str]) -> list[str]:
    if not given:
        return ["no address"]
    return [f"{email[:80]!r} is no address" for email in given if NOT_ALONE.search(email) or match_key(email) is None]


def _action_mistakes(action: str) -> list[str]:
    try:
        checked_action(action or "none")
    except InvalidPolicy as error:
        return [str(error)]
    return []
