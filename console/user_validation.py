"""Validate the texts that describe a user: pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from shared.actions import validated_action
from shared.addresses import bare_address, match_key
from shared.db.users.users import Address, NewUser
from shared.errors import InvalidPolicy, MailroomError
from shared.text import hidden_character, without_joiners

LONGEST_ID, LONGEST_NAME = 200, 300  # characters
# No real address contains one of these, but several addresses in one field, a display name or a URL do.
NO_SINGLE_ADDRESS = re.compile(r"""[\s<>,;:()\[\]\\"]""")
DOMAIN = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")
#: Nobody sees these either, though Unicode counts them as letters and marks. A name may need them, an id does not.
IGNORABLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)


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
    elif hidden := hidden_character(text if field == "external_id" else without_joiners(text)):
        yield WrongField(field=field, what=_hidden(field, hidden))
    elif field == "external_id" and (ignorable := IGNORABLE.search(text)):
        yield WrongField(field=field, what=_hidden(field, ignorable[0]))


def _hidden(field: str, char: str) -> str:
    kind = "a control" if unicodedata.category(char) in {"Cc", "Cs"} else "an invisible"
    return f"{field} has {kind} character (U+{ord(char):04X}); remove it"


def _wrong_addresses(addresses: list[str]) -> Iterator[WrongField]:
    if not addresses:
        yield WrongField(field="addresses", what="no address")
    for place, email in enumerate(addresses):
        if mistake := address_mistake(email):
            yield WrongField(field="addresses", what=mistake, place=place)


def address_mistake(email: str) -> str | None:
    """Say what is wrong with an address that somebody gave, and how to write it; none if nothing is.

    The address is stored as given, so it has to be bare. Only recipients of mail may have quotes around them.
    """
    if _is_bare(email):
        return None
    bare = bare_address(email)
    remedy = f"; write {bare[:80]!r}" if bare != email and _is_bare(bare) else ""
    return f"{email[:80]!r} is no address{remedy}"


def _is_bare(email: str) -> bool:
    key = match_key(email)
    if key is None or NO_SINGLE_ADDRESS.search(email) or email != bare_address(email):
        return False
    local, _, domain = key.partition("@")
    return DOMAIN.fullmatch(domain) is not None and local[0] not in "'`" and local[-1] not in "'`"


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
