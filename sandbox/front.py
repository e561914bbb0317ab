"""The state of one sandbox behind all routes, and its file between two starts."""

from __future__ import annotations

import logging
import pickle
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sandbox.event_factory import EventFactory
from sandbox.faults import FaultRule, FaultRules
from sandbox.grants import Grants
from sandbox.http_messages import BadRequest
from sandbox.ledger import Ledger
from sandbox.models import WEBHOOK_TYPES, IdSequence, WebhookEvent, stable_id
from sandbox.rate_limits import RateLimits, RetryAfterMonitor
from sandbox.sample_data import sample_company
from sandbox.serializers import Serializer
from sandbox.verdict import verdict
from sandbox.webhook_sender import SendJobs, WebhookSender
from sandbox.world import World

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sandbox.models import Company, Event
    from sandbox.send_request import SendRequest
    from sandbox.settings import SandboxSettings

log = logging.getLogger("sandbox")
FILE_FORMAT = 4
"""Increase it when a pickled class changes or moves: pickle would misread or refuse an older file."""
NOT_SAVED = {"ids", "lock", "_lock", "_access_seconds", "_rotate"}


class Front:
    """The state behind all routes.

    `base` is the address that links point to, and `elsewhere` the address of a host that is not Front. The server sets
    both when it knows its port.
    """

    def __init__(self, settings: SandboxSettings) -> None:
        self.settings = settings
        self.base = f"http://{settings.host}:{settings.port}"
        self.elsewhere = ""
        self.world = World(IdSequence(time.time_ns() // 1000))
        self.grants = Grants(access_seconds=settings.access_token_seconds, rotate=settings.rotate_refresh_tokens)
        self.rate_limits = RateLimits(
            settings.requests_per_minute, settings.burst_per_second, minute_seconds=settings.minute_seconds
        )
        self.retry_after_monitor = RetryAfterMonitor()
        self.faults = FaultRules(settings.seed)
        self.ledger = Ledger(settings.data and settings.data / "ledger.jsonl")
        self.sender = WebhookSender(settings, self.ledger)
        self.jobs = SendJobs(self.world, self.sender, self.make_event, settings.seed)
        self._file = settings.data / "world.pickle" if settings.remember and settings.data else None
        if self._file:
            _load(self._file, (self.world, self.grants))

    def now(self) -> float:
        """The time in seconds, with milliseconds as Front sends it."""
        return round(time.time(), 3)

    def ensure_company(self, company_id: str, name: str, api_token: str | None, host: str | None = None) -> Company:
        """Return the company with this id, made from sample data if it is new, and admit its API token."""
        with self.world.lock:
            company = self.world.companies.setdefault(company_id, replace(sample_company(company_id, name), host=host))
        self.grants.add_api_token(api_token or self.api_token(company_id), company_id)
        return company

    def api_token(self, company_id: str) -> str:
        """The API token of a company that was created without one."""
        return stable_id("token", self.settings.signing_key, company_id)

    def serializer(self, company_id: str) -> Serializer:
        """The serializer of a company's resources."""
        company = self.world.companies[company_id]
        return Serializer(company.host or self.base, company)

    def refuse_refreshes(self, company_id: str, kind: str) -> None:
        """Expire a company's access tokens, and refuse its refreshes in this form until the faults are cleared."""
        self.faults.add(FaultRule(kind=kind, company=company_id))
        self.grants.expire(company_id)

    def make_event(self, request: SendRequest, webhook_type: str) -> tuple[WebhookEvent, Serializer]:
        """Let a requested event happen."""
        company = self.world.companies.get(request.company)
        if company is None:
            raise BadRequest(f"no such company: {request.company}; create it first")
        now = self.now()
        factory = EventFactory(
            world=self.world,
            company=company,
            request=request,
            at=request.emitted_at or now,
            now=now,
            elsewhere=self.elsewhere,
        )
        return factory.make(webhook_type), self.serializer(company.id)

    def announce(self, event: Event) -> None:
        """Send the webhook of an event that has happened already, in the background."""
        company_id, conversation_id = event.conversation.company_id, event.conversation.id
        message_ids = self.world.message_ids[company_id, conversation_id]
        webhook_event = WebhookEvent(
            event=event,
            webhook_type=WEBHOOK_TYPES[event.type],
            message=self.world.messages[company_id, message_ids[-1]],
        )
        self.sender.send_in_background(lambda: (webhook_event, self.serializer(company_id)))

    def verdict(self, named: int = 20) -> dict[str, Any]:
        """Judge everything so far, and name at most so many events. `sandbox.verdict` has the rules."""
        with self.world.lock:
            histories = {key: list(history) for key, history in self.world.histories.items()}
        return verdict(histories, self.ledger, pending=self.jobs.open(), named=named)

    def reset(self) -> None:
        """Forget companies, tokens, faults, limits and counts."""
        for part in (self.world, self.grants, self.faults, self.rate_limits, self.retry_after_monitor, self.ledger):
            part.clear()

    def close(self) -> None:
        """Stop sending, close the ledger's file, and save the state if the settings say so."""
        self.sender.close()
        self.ledger.close()
        if self._file:
            _save(self._file, (self.world, self.grants))


def _save(path: Path, parts: Sequence[object]) -> None:
    """Write the state in one step: a killed sandbox leaves the file of the last clean stop."""
    new = path.with_suffix(".new")
    values = [{name: value for name, value in vars(part).items() if name not in NOT_SAVED} for part in parts]
    new.touch(mode=0o600)  # it holds tokens
    new.write_bytes(pickle.dumps((FILE_FORMAT, values)))
    new.replace(path)


def _load(path: Path, parts: Sequence[object]) -> None:
    """Read the saved state. Without a file, or with one of another release, the sandbox starts empty."""
    if not path.exists():
        return
    try:
        file_format, saved = pickle.loads(path.read_bytes())  # noqa: S301 -- our own file
    except Exception:  # noqa: BLE001 -- pickle raises anything when a class is gone
        file_format, saved = None, ()
    if file_format != FILE_FORMAT:
        log.warning("%s cannot be read; the sandbox starts empty", path)
        return
    for part, values in zip(parts, saved, strict=True):
        vars(part).update(values)
