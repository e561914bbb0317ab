"""An address of a shared inbox."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class InboxAddress:
    """An address of a shared inbox; `inbox_id` is None where a person named it, `user` where nobody is mapped to it.

    `key` is the form in which addresses are compared, `user` an external id.
    """

    key: str
    address: str
    inbox_id: str | None
    inbox: str | None
    user: str | None = None
    user_active: bool | None = None
