"""Validate the texts that describe a user: pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from shared.actions import validated_action
from shared.addresses import match_key
from shared.db.users.users import Address, NewUser
from shared.errors import InvalidPolicy, MailroomError

LONGEST_ID, LONGEST_NAME = 200, 300  # characters
# No real address contains one of these, but several addresses in one field or a display name do.
NO_SINGLE_ADDRESS = re.compile(r"[\s<>,;]")


@dataclass(frozen=True, kw_only=True)
class WrongField:
    """The mistake in a field; `place` is the position among several addresses, from 0."""

    field: str
    what: str
    place: int | None = None


class BadUser(MailroomError):
    """The description is wrong; the message and `fields` list every mistake."""

    code = "bad_user"

    def __init__(self, fields: list[WrongField]):
        super().__init__("; ".join(each.what for each in fields))
        self.fields = fields


def validated_user(
    external_id: str, name: str, emails: Iterable[str], action: str, *, active: bool | None = None
) -> NewUser:
    """Return the user that these texts describe. Raises BadUser with every mistake."""
    external_id, name, action = external_id.strip(), " ".join(name.split()), action.strip()
    addresses = [email.strip() for email in emails if email.strip()]
    wrong = [
        *_wrong_text("external_id", external_id, LONGEST_ID),
        *_wrong_text("name", name, LONGEST_NAME),
        *_wrong_addresses(addresses),
        *_wrong_action(action),
    ]
    if wrong:
        raise BadUser(wrong)
    return NewUser(
        external_id=external_id, name=name, action=action or None, addresses=_unique(addresses), active=active
    )


def _wrong_text(field: str, text: str, longest: int) -> Iterator[WrongField]:
    if not text:
        yield WrongField(field=field, what=f"{field} is empty")
    elif len(text) > longest:
        yield WrongField(field=field, what=f"{field} is longer than {longest} characters")
    elif not text.isprintable() and any(unicodedata.category(char) in {"Cc", "Cs"} for char in text):
        yield WrongField(field=field, what=f"{field} has a control character")


def _wrong_addresses(addresses: list[str]) -> Iterator[WrongField]:
    if not addresses:
        yield WrongField(field="addresses", what="no address")
    for place, email in enumerate(addresses):
        if NO_SINGLE_ADDRESS.search(email) or match_key(email) is None:
            yield WrongField(field="addresses", what=f"{email[:80]!r} is no address", place=place)


def _wrong_action(action: str) -> Iterator[WrongField]:
    try:
        validated_action(action or "none")
    except InvalidPolicy as error:
        yield WrongField(field="action", what=str(error))


def _unique(addresses: list[str]) -> tuple[Address, ...]:
    """Return each address once, in its first spelling."""
    keyed = ((match_key(email), email) for email in reversed(addresses))
    first = {key: email for key, email in keyed if key}
    return tuple(Address(key=key, as_given=email) for key, email in reversed(first.items()))
