"""One small Front: everything it is made of, put together once."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from sandbox.event_factory import EventFactory
from sandbox.faults import FaultBook
from sandbox.grants import Grants
from sandbox.http_messages import BadRequest
from sandbox.jobs import Jobs
from sandbox.ledger import Ledger
from sandbox.limits import Limits, Patience
from sandbox.memory import recall, remember
from sandbox.models import WEBHOOK_TYPES, IdSequence, WebhookEvent, stable_id
from sandbox.percentiles import percentiles
from sandbox.sample_data import sample_company
from sandbox.send_request import SendRequest
from sandbox.serializers import Serializer
from sandbox.verdict import judge
from sandbox.webhook_sender import Sender
from sandbox.world import World

if TYPE_CHECKING:
    from sandbox.models import Company, Event
    from sandbox.settings import SandboxSettings


class Front:
    """The state behind all routes. `base` is the address links point to, set when the port is known."""

    def __init__(self, settings: SandboxSettings) -> None:
        self.settings = settings
        self.base = f"http://{settings.host}:{settings.port}"
        self.elsewhere = ""
        self.world = World(IdSequence(time.time_ns() // 1000))
        self.grants = Grants(access_seconds=settings.access_token_seconds, rotate=settings.rotate_refresh_tokens)
        self.limits = Limits(settings.requests_per_minute, settings.burst_per_second)
        self.patience = Patience()
        self.faults = FaultBook(settings.seed)
        self.ledger = Ledger(settings.data and settings.data / "ledger.jsonl")
        self.sender = Sender(settings, self.ledger)
        self.jobs = Jobs(self, self.sender, settings.seed)
        self._memory = settings.data / "world.pickle" if settings.remember and settings.data else None
        if self._memory:
            recall(self, self._memory)

    def now(self) -> float:
        """The time in seconds with milliseconds, as Front gives it."""
        return round(time.time(), 3)

    def found(self, company_id: str, name: str, api_token: str | None) -> Company:
        """The company of that id, furnished if it is new, and its API token let in."""
        with self.world.lock:
            company = self.world.companies.setdefault(company_id, sample_company(company_id, name))
        self.grants.add_api_token(api_token or self.api_token(company_id), company_id)
        return company

    def api_token(self, company_id: str) -> str:
        """The API token a company has unless it was founded with another."""
        return stable_id("token", self.settings.signing_key, company_id)

    def serializer(self, company_id: str) -> Serializer:
        """The printer of a company's resources."""
        return Serializer(self.base, self.world.companies[company_id])

    def stage(self, order: SendRequest, webhook_type: str) -> tuple[WebhookEvent, Serializer]:
        """Let an ordered event happen."""
        company = self.world.companies.get(order.company)
        if company is None:
            raise BadRequest(f"no such company: {order.company}; found it first")
        now = self.now()
        factory = EventFactory(
            world=self.world,
            company=company,
            request=order,
            at=order.emitted_at or now,
            now=now,
            elsewhere=self.elsewhere,
        )
        return factory.make(webhook_type), self.serializer(company.id)

    def is_private(self, company_id: str, inbox_id: str | None) -> bool:
        """Whether an inbox is somebody's own: no webhook tells of it."""
        inboxes = self.world.companies[company_id].inboxes
        return any(inbox.is_private for inbox in inboxes if inbox.id == inbox_id)

    def announce(self, event: Event) -> None:
        """Send an event that has already happened as a webhook, in the background."""
        company_id, conversation_id = event.conversation.company_id, event.conversation.id
        message_ids = self.world.message_ids[company_id, conversation_id]
        webhook_event = WebhookEvent(
            event=event,
            webhook_type=WEBHOOK_TYPES[event.type],
            message=self.world.messages[company_id, message_ids[-1]],
        )
        self.sender.post_soon(lambda: (webhook_event, self.serializer(company_id)))

    def verdict(self, named: int = 20) -> dict[str, Any]:
        """The judgement on everything so far, with so many events named; see `sandbox.verdict` for the rules."""
        with self.world.lock:
            histories = {key: list(history) for key, history in self.world.histories.items()}
        acknowledged = set(self.ledger.acknowledged)
        findings = {key: judge(history, acknowledged) for key, history in histories.items()}
        lost = [event_id for finding in findings.values() for event_id in finding.lost]
        unserved = [event_id for finding in findings.values() for event_id in finding.unserved]
        return {
            "sent": len(self.ledger.sent),
            "acknowledged": len(acknowledged),
            "lost": len(lost),
            "lost_events": lost[:named],
            "unserved": len(unserved),
            "unserved_events": unserved[:named],
            "double": sum(finding.double for finding in findings.values()),
            "double_conversations": [key[1] for key, finding in findings.items() if finding.double],
            "ghost": sum(finding.ghost for finding in findings.values()),
            "ghost_conversations": [key[1] for key, finding in findings.items() if finding.ghost],
            "wrong_token": self.ledger.count("wrong_token"),
            "effects": sum(finding.effects for finding in findings.values()),
            "repeated": sum(finding.repeated for finding in findings.values()),
            "pending": self.jobs.open(),
            "seconds_to_effect": percentiles([wait for each in findings.values() for wait in each.waits]),
        }

    def reset(self) -> None:
        """Forget companies, tokens, faults, limits and counts."""
        for part in (self.world, self.grants, self.faults, self.limits, self.patience, self.ledger):
            part.clear()

    def close(self) -> None:
        """Send and write nothing more."""
        self.sender.close()
        self.ledger.close()
        if self._memory:
            remember(self, self._memory)
