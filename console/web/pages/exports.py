"""Download the rows of a list as CSV: all that match its filter, up to a limit, as the database gives them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from flask import Response, abort, request

from console.csv_lists import BYTE_ORDER_MARK, csv_header, csv_line, csv_lines
from console.filter_words import EVENT_LIST, GROUP_LIST, TASK_LIST
from console.operations.audited import Change, carry_out
from console.web.display import masked
from console.web.pages.administration import audit_filter
from console.web.pages.shell import current_actor, page, parse_filter, reading
from console.web.problems import RETRY_AFTER, problem_page
from console.web.resources import current_resources
from shared.db import jobs
from shared.db.accounts import audit
from shared.db.accounts.audit import AuditEntry
from shared.db.core.pool import TooSlow
from shared.db.jobs import Item
from shared.db.reading import events, groups, tasks
from shared.db.reading.events import EventSummary
from shared.db.reading.groups import FailureGroup
from shared.db.reading.tasks import TaskSummary

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask.typing import ResponseReturnValue

    from console.filter_words import FilteredList
    from shared.db.core.pool import Connection, Pool
    from shared.db.reading.filters import Filter

MOST_ROWS = 100_000
BATCH = 1_000  # rows that one statement reads
BATCH_SECONDS = 10.0
CUT = f"Only the first {MOST_ROWS:,} rows are here. Narrow the filter for the others."
BROKEN_OFF = "The list ends here, because the database did not find more rows in time. Narrow the filter."

#: Reads the rows after the given one, or the first ones after None.
Read = Callable[["Connection", Any], Sequence[Any]]


@dataclass(frozen=True, kw_only=True)
class Export:
    """The rows of a list: `name` is that of the file, `words` say for the audit which rows they are."""

    name: str
    kind: type[Any]
    words: str
    read: Read
    tenant_id: int | None = None


@page("/events/export", verb="export", methods=("POST",))
def export_events() -> ResponseReturnValue:
    """Download the events that match."""

    def read(wanted: Filter, conn: Connection, last: EventSummary | None) -> list[EventSummary]:
        return events.latest(conn, replace(wanted, before_id=last.number if last else None), limit=BATCH)

    return _filtered(EVENT_LIST, EventSummary, read)


@page("/tasks/export", verb="export", methods=("POST",))
def export_tasks() -> ResponseReturnValue:
    """Download the tasks that match."""

    def read(wanted: Filter, conn: Connection, last: TaskSummary | None) -> list[TaskSummary]:
        return tasks.latest(conn, replace(wanted, before_id=last.id if last else None), limit=BATCH)

    return _filtered(TASK_LIST, TaskSummary, read)


@page("/failed/export", verb="export", methods=("POST",))
def export_groups() -> ResponseReturnValue:
    """Download the groups of failures that match."""

    def read(wanted: Filter, conn: Connection, last: FailureGroup | None) -> list[FailureGroup]:
        return groups.latest(conn, wanted, limit=BATCH, before=(last.last_seen, last.id) if last else None)

    return _filtered(GROUP_LIST, FailureGroup, read)


@page("/jobs/<int:number>/export", verb="export", methods=("POST",))
def export_job_items(number: int) -> ResponseReturnValue:
    """Download the tasks of a job, with what became of each."""
    outcome = request.form.get("outcome") or None
    with reading() as conn:
        job = jobs.get(conn, number)
    if job is None:
        abort(404)

    def read(conn: Connection, last: Item | None) -> list[Item]:
        return jobs.items(conn, number, limit=BATCH, after=last.task_id if last else 0, outcome=outcome)

    words = f"job:{number}" + (f" outcome:{outcome}" if outcome else "")
    return _download(Export(name=f"job-{number}", kind=Item, words=words, read=read, tenant_id=job.tenant_id))


@page("/audit/export", verb="export", methods=("POST",))
def export_audit() -> ResponseReturnValue:
    """Download the entries of the audit that match."""
    wanted = audit_filter(request.form)

    def read(conn: Connection, last: AuditEntry | None) -> list[AuditEntry]:
        return audit.latest(conn, replace(wanted, before_id=last.id if last else None), limit=BATCH)

    given = {name: value for name, value in vars(wanted).items() if value is not None}
    words = " ".join(f"{name}:{value}" for name, value in given.items())
    return _download(Export(name="audit", kind=AuditEntry, words=words, read=read))


def _filtered(
    listed: FilteredList, kind: type[Any], read: Callable[[Filter, Connection, Any], Sequence[Any]]
) -> ResponseReturnValue:
    with reading() as conn:
        listing = parse_filter(conn, request.form.get("q", ""), listed)
    if listing.problem or listing.words.name:
        problem = listing.problem or "an id alone is no filter; name a tenant, a state or a time"
        return problem_page(422, "The filter cannot be read", f"{problem[0].upper()}{problem[1:]}.")
    rows = partial(read, listing.filter)
    words, tenant_id = listing.words.text(), listing.filter.tenant_id
    return _download(Export(name=listed.name, kind=kind, words=words, read=rows, tenant_id=tenant_id))


def _download(export: Export) -> ResponseReturnValue:
    """Begin the download, after an entry in the audit. To have addresses in it, and not masks, is a right of its own.

    Raises NotAllowed, and TooSlow when the first rows are not found in time.
    """
    slots = current_resources().export_slots
    if not slots.acquire(blocking=False):
        busy = problem_page(503, "Other exports are running", "Wait until one of them has ended, and try again.")
        busy.headers["Retry-After"] = str(RETRY_AFTER)
        return busy
    try:
        return _begin(export, addresses="addresses" in request.form, ended=slots.release)
    except BaseException:
        slots.release()
        raise


def _begin(export: Export, *, addresses: bool, ended: Callable[[], None]) -> Response:
    pool, actor = current_resources().pool, current_actor()
    which = masked(export.words) or "all"
    if addresses:
        reveal = Change(verb="reveal", target=f"addresses in {export.name}", tenant_id=export.tenant_id, detail=which)
        carry_out(pool.run, actor, reveal, lambda _: None)
    change = Change(verb="export", target=export.name, tenant_id=export.tenant_id, detail=which)
    carry_out(pool.run, actor, change, lambda _: None)
    pieces = _pieces(pool, export, _batch(pool, export, None), mask=None if addresses else masked)
    response = Response((piece.encode() for piece in pieces), mimetype="text/csv")
    name = f"mailroom-{export.name}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.csv"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    response.call_on_close(ended)
    return response


def _pieces(pool: Pool, export: Export, rows: Sequence[Any], *, mask: Callable[[str], str] | None) -> Iterator[str]:
    """Yield the file batch by batch, beginning with these rows; its last line says so where rows are missing."""
    yield BYTE_ORDER_MARK + csv_header(export.kind)
    count = 0
    while rows:
        yield "".join(csv_lines(export.kind, rows[: MOST_ROWS - count], mask=mask))
        count += len(rows)
        if count > MOST_ROWS:
            yield csv_line([CUT])
        if count > MOST_ROWS or len(rows) < BATCH:
            return
        try:
            rows = _batch(pool, export, rows[-1])
        except TooSlow:
            yield csv_line([BROKEN_OFF])
            return


def _batch(pool: Pool, export: Export, last: Any) -> Sequence[Any]:
    with pool.reading(BATCH_SECONDS) as conn:
        return export.read(conn, last)
