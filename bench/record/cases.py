"""What is recorded into what."""

from __future__ import annotations

from dataclasses import dataclass

from workers.recording.prefetch import CHUNK

TENANTS = 1_000


@dataclass(frozen=True, kw_only=True)
class Case:
    """`stored`: events that are in the database before, with all their rows; `chunks`: how many webhooks at once."""

    addresses: int
    stored: int = 0
    chunks: tuple[int, ...] = (CHUNK,)
    beside_tasks: bool = False

    @property
    def name(self) -> str:
        """Says all of it."""
        return f"{self.addresses}_addresses_{self.stored}_stored"


@dataclass(frozen=True, kw_only=True)
class Length:
    """How often each is measured, and with how many webhooks; a task for each is slower, so it gets fewer."""

    rounds: int
    webhooks: int
    task_webhooks: int


#: The one that promises are about.
HEADLINE = Case(addresses=1_000_000, chunks=(CHUNK, 50, 200), beside_tasks=True)
FULL = (
    HEADLINE,
    Case(addresses=1_000),
    Case(addresses=100_000),
    Case(addresses=1_000_000, stored=1_000_000),
)
FULL_LENGTH = Length(rounds=3, webhooks=5_000, task_webhooks=600)
QUICK = (Case(addresses=10_000, beside_tasks=True),)
QUICK_LENGTH = Length(rounds=2, webhooks=1_500, task_webhooks=400)
#: An empty database and a filled one, side by side; filling takes most of the time.
STORED = (Case(addresses=1_000_000), Case(addresses=1_000_000, stored=5_000_000))
QUICK_STORED = (Case(addresses=10_000), Case(addresses=10_000, stored=100_000))
