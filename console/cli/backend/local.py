"""Commands work with the database: they read it, and change it through the operations that pages and API use, too."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from console.attachment_content import AttachmentGone, require_stored
from console.cli.commands import NothingMatched
from console.cli.options import find_tenant, unknown_user
from console.cli.output import say
from console.cli.user.importing import import_file
from console.event_document import event_document
from console.feed_watch import LOOK_SECONDS, number_and_look
from console.operations import addresses as address_operations
from console.operations import endpoints as endpoint_operations
from console.operations import events as event_operations
from console.operations import jobs as job_operations
from console.operations import tasks as task_operations
from console.operations import tenants as tenant_operations
from console.operations.audited import Change, carry_out, in_transaction
from shared.connection.vault import TokenVault
from shared.db import jobs
from shared.db.accounts import audit
from shared.db.accounts.audit import AuditFilter
from shared.db.host import endpoints, facts, feed
from shared.db.host.feed import FeedFilter
from shared.db.jobs import STATES, Plan
from shared.db.reading import attachments, events, groups, repairs, status, tasks
from shared.db.tenants import address_erasures, tenants
from shared.db.users import users
from shared.errors import Fenced
from shared.host.body import build, links_at
from shared.host.notification import Cursor, FeedItems
from shared.settings import load
from shared.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import timedelta
    from pathlib import Path

    from console.access.actor import Actor
    from console.cli.options import EndpointChange, Selection
    from console.cli.user.importing import Mistakes
    from console.operations.addresses import ErasureProgress
    from console.operations.audited import Run
    from console.rejected import Rejected
    from console.run_again import Step
    from console.status_document import Status
    from shared.db.accounts.audit import AuditEntry
    from shared.db.core.pool import Connection
    from shared.db.host.endpoints import Endpoint, NewEndpoint
    from shared.db.jobs import Item, Job, JobProgress, Verb
    from shared.db.reading.events import EventSummary
    from shared.db.reading.filters import Filter
    from shared.db.reading.groups import FailureGroup
    from shared.db.reading.repairs import RepairableTenant, RepairView
    from shared.db.reading.tasks import TaskDetails, TaskGroup, TaskSummary
    from shared.db.tenants.address_erasures import Erasure
    from shared.db.tenants.address_erasures import Item as ErasedPlace
    from shared.db.tenants.tenants import JournalEntry, PolicyChange, TenantOverview
    from shared.db.users.users import NewUser, User

T = TypeVar("T")

MOST_GROUPS = 1_000
FEED_PAGE = 20  # notifications


@dataclass(frozen=True)
class Local:
    """A connection to the database, and who runs the command."""

    conn: Connection
    actor: Actor

    @property
    def _run(self) -> Run:
        return in_transaction(self.conn)

    def list_events(self, wanted: Selection, *, limit: int) -> list[EventSummary]:
        """Return the newest events that match."""
        return events.latest(self.conn, self._filter(wanted), limit=limit)

    def find_events(self, name: str, *, tenant: str | None, company: str | None) -> list[EventSummary]:
        """Return the events with this id."""
        company = find_tenant(self.conn, tenant).company_id if tenant else company
        return events.find_by_any_id(self.conn, name, company_id=company)

    def event_document(self, number: int) -> dict[str, Any]:
        """Return all that is known of an event."""
        with self.conn.transaction():
            found = events.event_details(self.conn, number)
        if found is None:
            raise LookupError(number)
        return event_document(found)

    def event_body(self, number: int) -> bytes:
        """Return the body of an event."""
        return event_operations.reveal_body(self._run, self.actor, number)

    def event_curl(self, number: int) -> str:
        """Return a command that sends the event's body to the door again."""
        from shared.settings import load

        return event_operations.copy_as_curl(self._run, self.actor, number, load())

    def event_fixture(self, number: int) -> dict[str, Any]:
        """Return an order for the sandbox that sends an event like this one."""
        return event_operations.copy_as_fixture(self._run, self.actor, number)

    def run_event_again(self, number: int, *, step: Step, file: str | None, version: str | None) -> None:
        """Run the event again from this step."""
        order = event_operations.RunOrder(step=step, file=file, version=version)
        event_operations.run_again(self._run, self.actor, number, order)

    def feed_page(self, after: str, *, tenant: str | None, types: str | None, wait: int) -> FeedItems:
        """Return the next notifications after a cursor."""
        wanted = FeedFilter(
            tenant_id=find_tenant(self.conn, tenant).id if tenant else None, types=types.split(",") if types else None
        )
        until, cursor = time.monotonic() + wait, Cursor.parse(after)
        while True:
            with self.conn.transaction():
                number_and_look(self.conn)
            page, state = feed.page_after(self.conn, wanted, cursor, limit=FEED_PAGE, from_latest=True)
            cursor = Cursor(state.epoch, page.until)
            if page.positions or time.monotonic() > until:
                return FeedItems(self._bodies(page.positions), str(cursor))
            time.sleep(LOOK_SECONDS)

    def _bodies(self, positions: Sequence[int]) -> list[dict[str, Any]]:
        links = links_at(load("secret_key"), time.time())
        found = facts.load(self.conn, positions)
        return [json.loads(build(each, links=links)) for each in found]

    def export_address(self, address: str, tenant_id: int | None) -> Iterator[bytes]:
        """Return the document of all that is held of an address, in pieces."""
        return address_operations.export(self._run, self.actor, address, tenant_id, load("secret_key"))

    def file_content(self, number: int) -> Iterator[bytes]:
        """Return the bytes of a file, in pieces."""
        found = attachments.find(self.conn, number)
        if found is None:
            raise AttachmentGone(f"file {number} was deleted with its event")
        require_stored(found)
        return Storage(load("storage_url").storage).read(found.path or "")

    def erase_address(self, address: str, tenant_id: int | None) -> int:
        """Ask for the erasure of an address, and return its number."""
        settings = load("token_keys", "secret_key")
        return address_operations.request_erasure(self._run, self.actor, address, tenant_id, settings)

    def erasure(self, number: int) -> ErasureProgress | None:
        """Return an erasure and what it did so far."""
        with suppress(address_operations.UnknownErasure):
            return address_operations.get_erasure(self._run, self.actor, number)
        return None

    def list_erasures(self, *, limit: int) -> list[Erasure]:
        """Return the latest erasures, latest first."""
        return address_erasures.latest(self.conn, limit=limit)

    def erased_places(self, number: int, *, limit: int) -> list[ErasedPlace]:
        """Return the events and tables that had the address, with what became of each."""
        return address_erasures.items(self.conn, number, limit=limit)

    def notification_of_event(self, number: int) -> bytes | None:
        """Return the body of the notification about an event's message."""
        with self.conn.transaction():
            number_and_look(self.conn)
        position = feed.position_of_event(self.conn, number, tenant_id=None)
        found = [] if position is None else facts.load(self.conn, [position])
        return build(found[0], links=links_at(load("secret_key"), time.time())) if found else None

    def list_tasks(self, wanted: Selection, *, limit: int) -> list[TaskSummary]:
        """Return the newest tasks that match."""
        return tasks.latest(self.conn, self._filter(wanted), limit=limit)

    def task(self, number: int) -> TaskDetails | None:
        """Return a task and its attempts."""
        with self.conn.transaction():
            return tasks.task_details(self.conn, number)

    def edit_action(self, number: int, action: str, *, was: str, attempts: int) -> None:
        """Have the task apply another action."""
        edit = task_operations.ActionEdit(was=was, attempts=attempts)
        task_operations.edit_action(self._run, self.actor, number, action=action, edit=edit)

    def count_tasks(self, verb: Verb, wanted: Selection) -> list[TaskGroup]:
        """Count the tasks that a job would change now."""
        return tasks.count_groups(self.conn, self._filter(wanted), STATES[verb])

    def plan_job(self, verb: Verb, wanted: Selection, *, reason: str, accept_size: bool) -> int:
        """Plan a job for the tasks that match now."""
        plan = Plan(
            verb=verb,
            words=job_operations.described(wanted.words, wanted.ids),
            requested_by=self.actor.name,
            reason=reason,
            accept_size=accept_size,
        )
        return job_operations.plan_job(self._run, self.actor, self._filter(wanted), plan)

    def step_job(self, number: int, step: str) -> Job:
        """Start, pause, resume or cancel a job."""
        return job_operations.step_job(self._run, self.actor, number, step)

    def list_jobs(self, *, limit: int) -> list[Job]:
        """Return the latest jobs."""
        return jobs.latest(self.conn, limit=limit)

    def job(self, number: int) -> JobProgress | None:
        """Return a job and what became of its tasks."""
        return jobs.progress(self.conn, number)

    def job_groups(self, number: int) -> list[TaskGroup]:
        """Count the tasks of a job."""
        return jobs.groups(self.conn, number, limit=MOST_GROUPS)

    def help_job(self, number: int) -> None:
        """Carry the job out as far as no worker does, so that a job needs no worker to make its tasks due."""
        claimed = self._run(partial(jobs.claim, job_id=number))
        with suppress(Fenced):
            while claimed and self._run(partial(jobs.run_slice, job=claimed)):
                pass

    def running_kinds(self) -> set[str]:
        """Return the kinds of processes that run."""
        return {process.kind for process in status.running_processes(self.conn)}

    def list_endpoints(self) -> list[Endpoint]:
        """Return the endpoints of the host application by name."""
        return sorted(endpoints.listed(self.conn), key=lambda each: each.name)

    def endpoint(self, name: str) -> Endpoint:
        """Return the endpoint with this name or number."""
        found = endpoints.get(self.conn, int(name)) if name.isdigit() else endpoints.find(self.conn, name)
        if found is None:
            raise NothingMatched(f"there is no endpoint {name!r}; `mailroom endpoint list` lists all")
        return found

    def add_endpoint(self, new: NewEndpoint) -> str:
        """Add an endpoint, and return its secret."""
        networks = load().endpoint_networks
        return endpoint_operations.add_endpoint(self._run, self.actor, new, _vault(), networks).secret

    def rotate_secret(self, endpoint_id: int, *, overlap: timedelta) -> str:
        """Give an endpoint a new secret, and return it."""
        return endpoint_operations.rotate_secret(self._run, self.actor, endpoint_id, _vault(), overlap=overlap).secret

    def change_endpoint(self, endpoint_id: int, change: EndpointChange) -> None:
        """Hold, release or remove an endpoint."""
        ways = {
            "hold": endpoint_operations.hold_endpoint,
            "release": endpoint_operations.release_endpoint,
            "remove": endpoint_operations.remove_endpoint,
        }
        ways[change](self._run, self.actor, endpoint_id)

    def test_endpoint(self, endpoint_id: int) -> int:
        """Have a test sent to an endpoint, and return the number of its task."""
        return endpoint_operations.test_endpoint(self._run, self.actor, endpoint_id)

    def list_tenants(self, customer: str | None) -> list[tuple[TenantOverview, int]]:
        """Return the tenants by name, each with the number of its parked tasks."""
        with self.conn.transaction():
            found, waiting = tenants.list_all(self.conn, customer=customer), status.waiting_tasks(self.conn)
        return [(each, waiting.get(each.name, 0)) for each in found]

    def tenant(self, name: str) -> TenantOverview:
        """Return the tenant with this name or company id."""
        return find_tenant(self.conn, name)

    def pause_tenant(self, tenant_id: int) -> None:
        """Pause a tenant's work, unless it is parked already."""
        with suppress(tenant_operations.NotPaused):
            tenant_operations.pause_tenant(self._run, self.actor, tenant_id)

    def resume_tenant(self, tenant_id: int) -> None:
        """Resume a tenant's work, if it is paused."""
        with suppress(tenant_operations.NotPaused):
            tenant_operations.resume_tenant(self._run, self.actor, tenant_id)

    def set_policy(self, tenant_id: int, change: PolicyChange) -> None:
        """Change a tenant's policy for future events."""
        tenant_operations.set_policy(self._run, self.actor, tenant_id, change)

    def tenant_journal(self, tenant_id: int, *, limit: int) -> list[JournalEntry]:
        """Return the latest changes of a tenant and of what belongs to it."""
        return tenants.journal(self.conn, tenant_id, limit=limit)

    def list_users(self, tenant_id: int, *, limit: int) -> list[User]:
        """Return a tenant's users by external id."""
        return users.page(self.conn, tenant_id, limit=limit)

    def add_user(self, tenant_id: int, user: NewUser) -> None:
        """Add a user."""
        self._change_users(tenant_id, lambda conn: users.add(conn, tenant_id, user))

    def set_user_active(self, tenant_id: int, external_id: str, *, active: bool) -> None:
        """Match mail with a user, or no more."""
        change = users.activate if active else users.deactivate
        self._change_user(external_id, tenant_id, lambda conn: change(conn, tenant_id, external_id))

    def set_user_action(self, tenant_id: int, external_id: str, action: str | None) -> None:
        """Set a user's action."""
        self._change_user(external_id, tenant_id, lambda conn: users.set_action(conn, tenant_id, external_id, action))

    def import_users(
        self, tenant_id: int, file: Path, mistakes: Mistakes, *, move: bool, dry_run: bool
    ) -> dict[str, int]:
        """Import the users of a CSV file in one transaction."""

        def work(conn: Connection) -> dict[str, int]:
            return import_file(conn, tenant_id, file, mistakes, move=move, dry_run=dry_run)

        return self._change_users(tenant_id, work, detail="import, dry run" if dry_run else "import")

    def _change_user(self, external_id: str, tenant_id: int, change: Callable[[Connection], bool]) -> None:
        def work(conn: Connection) -> None:
            if not change(conn):
                raise unknown_user(external_id)

        self._change_users(tenant_id, work)

    def _change_users(self, tenant_id: int, work: Callable[[Connection], T], *, detail: str = "") -> T:
        """Change users of a tenant; the journal names them, and the audit who did it."""

        def work_as_operator(conn: Connection) -> T:
            tenants.act_as(conn, self.actor.signature)
            return work(conn)

        change = Change(verb="users", target=f"users of tenant {tenant_id}", tenant_id=tenant_id, detail=detail)
        return carry_out(self._run, self.actor, change, work_as_operator)

    def list_groups(self, wanted: Selection, *, limit: int) -> list[FailureGroup]:
        """Return the groups of failures that match."""
        return groups.latest(self.conn, self._filter(wanted), limit=limit)

    def list_job_items(self, number: int, *, outcome: str | None, limit: int) -> list[Item]:
        """Return tasks of a job in order."""
        return jobs.items(self.conn, number, limit=limit, outcome=outcome)

    def list_audit(self, *, who: str | None, verb: str | None, allowed: bool | None, limit: int) -> list[AuditEntry]:
        """Return the latest entries of the audit that match."""
        return audit.latest(self.conn, AuditFilter(who=who, verb=verb, allowed=allowed), limit=limit)

    def repairable_tenants(self, tenant_id: int | None) -> list[RepairableTenant]:
        """Return the connected tenants, or this one if it is connected."""
        return repairs.repairable_tenants(self.conn, tenant_id)

    def request_repairs(self, tenant_ids: Sequence[int], *, since: datetime, dry_run: bool) -> list[int]:
        """Ask for a repair of each tenant."""
        with self.conn.transaction():
            return [
                tenant_operations.request_repair(self._run, self.actor, tenant_id, since=since, dry_run=dry_run)
                for tenant_id in tenant_ids
            ]

    def repairs(self, numbers: Sequence[int]) -> list[RepairView]:
        """Return the repairs with these numbers, sorted by tenant."""
        return repairs.repairs_by_id(self.conn, numbers)

    def stop_repairs(self, tenant_id: int | None) -> int:
        """Stop the open repairs of one tenant or of all."""
        return tenant_operations.stop_repairs(self._run, self.actor, tenant_id)

    def status(self) -> Status:
        """Return the figures of `mailroom status`; say on stderr when Redis does not answer."""
        from console.status_document import read_status

        with self.conn.transaction():
            return read_status(self.conn, load("redis_url"), on_outage=lambda error: say(f"{error.code}: {error}"))

    def rejected(self) -> Rejected:
        """Return the requests that the door rejected in the last 24 hours."""
        from console.rejected import read_rejected
        from shared.settings import load

        return read_rejected(load("redis_url"))

    def _filter(self, wanted: Selection) -> Filter:
        tenant = wanted.words.tenant
        tenant_id = find_tenant(self.conn, tenant).id if tenant else None
        return replace(wanted.words.filter(tenant_id=tenant_id, now=datetime.now(UTC)), ids=wanted.ids or None)


def _vault() -> TokenVault:
    return TokenVault(load("token_keys").token_keys)
