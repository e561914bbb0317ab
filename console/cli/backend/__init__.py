"""The port through which commands read and change things: a database, or the REST API of a console elsewhere."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from console.cli.options import database, operator_name, remote_token, remote_url

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime, timedelta
    from pathlib import Path

    from console.cli.options import EndpointChange, Selection
    from console.cli.user.importing import Mistakes
    from console.operations.addresses import ErasureProgress
    from console.rejected import Rejected
    from console.run_again import Step
    from console.status_document import Status
    from shared.db.accounts.audit import AuditEntry
    from shared.db.host.endpoints import Endpoint, NewEndpoint
    from shared.db.jobs import Item, Job, JobProgress, Verb
    from shared.db.reading.events import EventSummary
    from shared.db.reading.groups import FailureGroup
    from shared.db.reading.repairs import RepairableTenant, RepairView
    from shared.db.reading.tasks import TaskDetails, TaskGroup, TaskSummary
    from shared.db.tenants.address_erasures import Erasure
    from shared.db.tenants.address_erasures import Item as ErasedPlace
    from shared.db.tenants.tenants import JournalEntry, PolicyChange, TenantOverview
    from shared.db.users.users import NewUser, User
    from shared.host.notification import FeedItems


class Backend(Protocol):
    """Reads and changes for commands. Raises NothingMatched for an unknown tenant, and MailroomError for a refusal."""

    def list_events(self, wanted: Selection, *, limit: int) -> Sequence[EventSummary]:
        """Return the newest events that match."""

    def find_events(self, name: str, *, tenant: str | None, company: str | None) -> Sequence[EventSummary]:
        """Return the events with this id, which may be Front's, our number, or the id of a delivery."""

    def event_document(self, number: int) -> dict[str, Any]:
        """Return all that is known of an event; `at` and `ended_at` of its timeline are times."""

    def event_body(self, number: int) -> bytes:
        """Return the body of an event as Front sent it."""

    def event_curl(self, number: int) -> str:
        """Return a command that sends the event's body to the door again, signed now."""

    def event_fixture(self, number: int) -> dict[str, Any]:
        """Return an order for the sandbox that sends an event like this one, with example addresses."""

    def run_event_again(self, number: int, *, step: Step, file: str | None, version: str | None) -> None:
        """Run the event again from this step; `version` is that of the event as it was shown."""

    def feed_page(self, after: str, *, tenant: str | None, types: str | None, wait: int) -> FeedItems:
        """Return the next notifications after a cursor, or after the word `latest`; wait so many seconds for one.

        Raises MailroomError when the cursor is no longer good.
        """

    def notification_of_event(self, number: int) -> bytes | None:
        """Return the body of the notification about an event's message; None when it has none."""

    def list_tasks(self, wanted: Selection, *, limit: int) -> Sequence[TaskSummary]:
        """Return the newest tasks that match."""

    def task(self, number: int) -> TaskDetails | None:
        """Return a task and its attempts."""

    def edit_action(self, number: int, action: str, *, was: str, attempts: int) -> None:
        """Have the task apply another action than it `was` to, and make it due."""

    def count_tasks(self, verb: Verb, wanted: Selection) -> Sequence[TaskGroup]:
        """Count the tasks that a job would change now."""

    def plan_job(self, verb: Verb, wanted: Selection, *, reason: str, accept_size: bool) -> int:
        """Plan a job for the tasks that match now, and return its number."""

    def step_job(self, number: int, step: str) -> Job:
        """Start, pause, resume or cancel a job, and return it as it is then."""

    def list_jobs(self, *, limit: int) -> Sequence[Job]:
        """Return the latest jobs."""

    def job(self, number: int) -> JobProgress | None:
        """Return a job and what became of its tasks."""

    def job_groups(self, number: int) -> Sequence[TaskGroup]:
        """Count the tasks of a job by tenant, kind, state and cause."""

    def help_job(self, number: int) -> None:
        """Carry the job out as far as no worker does, if this process can."""

    def running_kinds(self) -> set[str]:
        """Return the kinds of processes that run."""

    def list_endpoints(self) -> Sequence[Endpoint]:
        """Return the endpoints of the host application by name."""

    def endpoint(self, name: str) -> Endpoint:
        """Return the endpoint with this name or number. Raises NothingMatched."""

    def add_endpoint(self, new: NewEndpoint) -> str:
        """Add an endpoint, and return its secret."""

    def rotate_secret(self, endpoint_id: int, *, overlap: timedelta) -> str:
        """Give an endpoint a new secret, and return it."""

    def change_endpoint(self, endpoint_id: int, change: EndpointChange) -> None:
        """Hold, release or remove an endpoint."""

    def test_endpoint(self, endpoint_id: int) -> int:
        """Have a test sent to an endpoint, and return the number of its task."""

    def list_tenants(self, customer: str | None) -> Sequence[tuple[TenantOverview, int]]:
        """Return the tenants by name, each with the number of its parked tasks."""

    def tenant(self, name: str) -> TenantOverview:
        """Return the tenant with this name or company id. Raises NothingMatched."""

    def pause_tenant(self, tenant_id: int) -> None:
        """Pause a tenant's work, unless it is parked already."""

    def resume_tenant(self, tenant_id: int) -> None:
        """Resume a tenant's work, if it is paused."""

    def set_policy(self, tenant_id: int, change: PolicyChange) -> None:
        """Change a tenant's policy for future events."""

    def tenant_journal(self, tenant_id: int, *, limit: int) -> Sequence[JournalEntry]:
        """Return the latest changes of a tenant and of what belongs to it, newest first."""

    def list_users(self, tenant_id: int, *, limit: int) -> Sequence[User]:
        """Return a tenant's users by external id."""

    def add_user(self, tenant_id: int, user: NewUser) -> None:
        """Add a user."""

    def set_user_active(self, tenant_id: int, external_id: str, *, active: bool) -> None:
        """Match mail with a user, or no more. Raises NothingMatched for an unknown user."""

    def set_user_action(self, tenant_id: int, external_id: str, action: str | None) -> None:
        """Set a user's action; None: the tenant's. Raises NothingMatched for an unknown user."""

    def import_users(
        self, tenant_id: int, file: Path, mistakes: Mistakes, *, move: bool, dry_run: bool
    ) -> dict[str, int]:
        """Import the users of a CSV file, collect its mistakes, and count the users by outcome."""

    def list_groups(self, wanted: Selection, *, limit: int) -> Sequence[FailureGroup]:
        """Return the groups of failures that match, the one that failed last first."""

    def list_job_items(self, number: int, *, outcome: str | None, limit: int) -> Sequence[Item]:
        """Return tasks of a job in order, with what became of each."""

    def list_audit(
        self, *, who: str | None, verb: str | None, allowed: bool | None, limit: int
    ) -> Sequence[AuditEntry]:
        """Return the latest entries of the audit that match, the latest first."""

    def export_address(self, address: str, tenant_id: int | None) -> Iterator[bytes]:
        """Return the document of all that is held of an address, in pieces."""

    def file_content(self, number: int) -> Iterator[bytes]:
        """Return the bytes of a file, in pieces. Raises AttachmentGone or AttachmentNotStored."""

    def erase_address(self, address: str, tenant_id: int | None) -> int:
        """Ask for the erasure of an address, and return its number."""

    def erasure(self, number: int) -> ErasureProgress | None:
        """Return an erasure and what it did so far."""

    def list_erasures(self, *, limit: int) -> Sequence[Erasure]:
        """Return the latest erasures, latest first."""

    def erased_places(self, number: int, *, limit: int) -> Sequence[ErasedPlace]:
        """Return the events and tables that had the address, with what became of each."""

    def repairable_tenants(self, tenant_id: int | None) -> Sequence[RepairableTenant]:
        """Return the connected tenants, or this one if it is connected."""

    def request_repairs(self, tenant_ids: Sequence[int], *, since: datetime, dry_run: bool) -> Sequence[int]:
        """Ask for a repair of each tenant, and return the numbers of the repairs."""

    def repairs(self, numbers: Sequence[int]) -> Sequence[RepairView]:
        """Return the repairs with these numbers, sorted by tenant."""

    def stop_repairs(self, tenant_id: int | None) -> int:
        """Stop the open repairs of one tenant or of all, and return how many those were."""

    def status(self) -> Status:
        """Return the figures of `mailroom status`."""

    def rejected(self) -> Rejected:
        """Return the requests that the door rejected in the last 24 hours."""


@contextmanager
def backend() -> Iterator[Backend]:
    """Give the API of the console at --url or MAILROOM_URL; where neither is set, the database."""
    if url := remote_url():
        from console.cli.backend.remote import Remote

        with Remote(url, remote_token()) as remote:
            yield remote
    else:
        from console.access.actor import command_line_actor
        from console.cli.backend.local import Local

        with database() as conn:
            yield Local(conn, command_line_actor(operator_name()))
