"""The tenant and the users of these tests: Acme Logistics, where Nora, Omar and Ida work."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from shared.models import AddressOwner, Recipient, Tenant

CONNECTED = datetime(2026, 8, 1, tzinfo=UTC)
NOW = datetime(2026, 8, 11, 9, 0, tzinfo=UTC)
EMITTED = NOW - timedelta(seconds=2)

NORA = AddressOwner(user_id=1, external_id="17", active=True, action=None, position=1)
OMAR = AddressOwner(user_id=2, external_id="18", active=True, action=None, position=1)
IDA = AddressOwner(user_id=3, external_id="19", active=False, action=None, position=1)


def tenant(**policy: Any) -> Tenant:
    """Return Acme with a new tenant's policy; the keywords replace parts of it."""
    settings: dict[str, Any] = {
        "connected_at": CONNECTED,
        "action": "archive",
        "only_when_matched": True,
        "wait_for": "stored",
        "fold_plus": False,
        "act_within": timedelta(days=7),
    }
    return Tenant(id=1, company_id="cmp_4k2p9", **(settings | policy))


def to(handle: str) -> Recipient:
    return Recipient(handle=handle, role="to")


def cc(handle: str) -> Recipient:
    return Recipient(handle=handle, role="cc")
