"""Where a list goes on: an opaque word that is good for one tenant's list alone."""

from __future__ import annotations

import base64
import binascii
import json

from console.api.refusals import Fault, Invalid
from console.described import LONGEST_ID
from shared.text import clean


def cursor_after(tenant_id: int, external_id: str) -> str:
    """The word for what comes after this user."""
    place = json.dumps([tenant_id, external_id], ensure_ascii=False)  # else an id of emoji makes three times the word
    return base64.urlsafe_b64encode(place.encode()).decode().rstrip("=")


def read_cursor(cursor: str, tenant_id: int) -> str:
    """The external id to go on after. Raises Invalid for a word that is none of ours, or another tenant's."""
    try:
        whose, external_id = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, TypeError, binascii.Error, RecursionError):
        whose, external_id = None, None
    if whose != tenant_id or not isinstance(external_id, str):
        fault = Fault(code="bad_cursor", detail="no cursor of this list; take `next` as it came", parameter="after")
        raise Invalid("the list cannot be continued there", faults=[fault])
    return clean(external_id, LONGEST_ID)
