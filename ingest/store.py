"""What the door needs of a place that keeps deliveries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.models import Delivery


class Store(Protocol):
    """Takes deliveries in batches."""

    def put(self, deliveries: Sequence[Delivery]) -> Sequence[Exception | None]:
        """Keep each; give the reason for those refused. Raises StoreUnavailable when nothing is known of any."""

    def check(self) -> None:
        """Raise StoreUnavailable unless `put` would work now."""


class LoopStore(Protocol):
    """The same for an event loop."""

    async def put(self, deliveries: Sequence[Delivery]) -> Sequence[Exception | None]:
        """As a Store's."""

    def check(self) -> None:
        """As a Store's: from a thread that may wait."""
