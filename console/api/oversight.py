"""The routes about Mailroom itself: figures, processes, parked work, rejected requests, and the audit."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import structlog
from flask import Response, jsonify
from pydantic import Field, RootModel

from console.api.blueprint import OVERSIGHT, api, bound_tenant, reading, require_unbound_token
from console.api.lists import ListPage, ListQuery, cut, number_after
from console.api.schemas import ResponseBody, SoughtText, TenantId
from console.filter_words import LISTS, WORDS, values_of
from console.rejected import Rejected, read_rejected
from console.status_document import Status, read_status
from console.web.resources import current_resources
from shared.db.accounts import audit
from shared.db.accounts.audit import AuditEntry, AuditFilter
from shared.db.reading import status
from shared.db.reading.status import ParkedTenant, ParkedWork, UnknownCompany

MOST_COMPANIES = 500

log = structlog.get_logger(__name__)


class StatusShown(RootModel[Status]):
    """The document of `mailroom status --json`."""


class RejectedShown(RootModel[Rejected]):
    """The document of `mailroom rejected --json`."""


class ProcessCount(ResponseBody):
    """The running processes of one kind, and their slots for tasks."""

    kind: str
    count: int
    slots: int


class Processes(ResponseBody):
    """The processes that run."""

    processes: list[ProcessCount]


class ParkedPage(ListPage):
    """A page of parked tenants. Causes and companies are only for a token of all tenants."""

    causes: list[ParkedWork]
    companies: list[UnknownCompany] = Field(description="Companies that send events and have no tenant")
    tenants: list[ParkedTenant]


class FilterWord(ResponseBody):
    """A word that narrows a list: a parameter of its route, and in `q` with a colon and its value."""

    word: str
    meaning: str
    values: list[str] = Field(description="Values that it can have, as far as they are known")


class FilterWordsOfList(ResponseBody):
    """The words of one list."""

    path: str = Field(description="The route of the list, below /api/v1")
    words: list[FilterWord]


class FilterWords(ResponseBody):
    """The words of all lists."""

    lists: list[FilterWordsOfList]


class AuditQuery(ListQuery):
    """A page of the audit, the latest entry first."""

    who: SoughtText | None = Field(None, max_length=300, description="Only of this account, token or command")
    verb: SoughtText | None = Field(None, max_length=100, description="Only with this verb, as in retry")
    tenant_id: TenantId | None = Field(None, description="Only about this tenant")
    allowed: bool | None = Field(None, description="Only what was allowed, or only what was refused")


class AuditPage(ListPage):
    """A page of the audit."""

    entries: list[AuditEntry]


@api.get("/status", tags=[OVERSIGHT], responses={200: StatusShown})
def show_status() -> Response:
    """Show what waits, runs and is done. Work is counted up to 10,000 of a state; 10,001 means more."""
    require_unbound_token("the status")
    with reading() as conn:
        return jsonify(read_status(conn, current_resources().settings, on_outage=_log_outage))


@api.get("/processes", tags=[OVERSIGHT], responses={200: Processes})
def list_processes() -> dict[str, Any]:
    """Count the running processes by kind."""
    with reading() as conn:
        running = status.running_processes(conn)
    counts, slots = Counter[str](), Counter[str]()
    for each in running:
        counts[each.kind] += 1
        slots[each.kind] += each.slots
    return {"processes": [{"kind": kind, "count": counts[kind], "slots": slots[kind]} for kind in sorted(counts)]}


@api.get("/parked", tags=[OVERSIGHT], responses={200: ParkedPage})
def list_parked(query: ListQuery) -> dict[str, Any]:
    """List what waits for a person, by cause, by company and by tenant; it goes on by itself once the cause is gone."""
    only = bound_tenant()
    after = number_after(query.after) or 0
    with reading() as conn:
        causes = status.parked_work(conn) if only is None else []
        companies = status.unknown_companies(conn, limit=MOST_COMPANIES) if only is None else []
        rows = status.parked_tenants(conn, limit=query.limit + 1, after_id=after, tenant_id=only)
    page, following = cut(rows, query.limit, lambda row: [row.tenant_id])
    return {"causes": causes, "companies": companies, "tenants": page, "next": following}


@api.get("/rejected", tags=[OVERSIGHT], responses={200: RejectedShown})
def list_rejected() -> Response:
    """List the requests that the door rejected in the last 24 hours, by reason, with the last ones of each reason.

    Of a sender only the network is known, and of a request neither body nor path.
    """
    require_unbound_token("the list of rejected requests")
    return jsonify(read_rejected(current_resources().settings))


@api.get("/filter-words", tags=[OVERSIGHT], responses={200: FilterWords})
def list_filter_words() -> dict[str, Any]:
    """List the words that narrow lists, with known values: the pages of the console suggest the same."""
    known = current_resources().lookups.known_values.get()
    if bound_tenant() is not None:
        known = replace(known, tenants=[])  # a token of one tenant does not learn of the others
    return {
        "lists": [
            {
                "path": listed.path,
                "words": [
                    {"word": word, "meaning": WORDS[word], "values": values}
                    for word, values in values_of(listed, known).items()
                ],
            }
            for listed in LISTS
        ]
    }


@api.get("/audit", tags=[OVERSIGHT], responses={200: AuditPage})
def list_audit(query: AuditQuery) -> dict[str, Any]:
    """List who asked for which change or look, and whether it was allowed."""
    require_unbound_token("the audit")
    wanted = AuditFilter(
        who=query.who,
        verb=query.verb,
        tenant_id=query.tenant_id,
        allowed=query.allowed,
        before_id=number_after(query.after),
    )
    with reading() as conn:
        rows = audit.latest(conn, wanted, limit=query.limit + 1)
    page, following = cut(rows, query.limit, lambda row: [row.id])
    return {"entries": page, "next": following}


def _log_outage(error: Exception) -> None:
    log.warning("status_without_redis", reason=str(error))
