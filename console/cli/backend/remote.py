"""Commands work with a console elsewhere, through its REST API."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from console.cli.backend.rest_client import LONGEST_PAGE, RequestRefused, RestClient, read_as
from console.cli.commands import NothingMatched
from console.cli.options import unknown_user
from console.cli.user.importing import read_file, show_moves
from console.operations.addresses import ErasureProgress
from console.rejected import Rejected
from console.status_document import Status
from shared.db.accounts.audit import AuditEntry
from shared.db.host.endpoints import Endpoint, NewEndpoint
from shared.db.jobs import Item, Job, JobProgress, Verb
from shared.db.reading.events import EventSummary
from shared.db.reading.groups import FailureGroup
from shared.db.reading.repairs import RepairableTenant, RepairView
from shared.db.reading.status import ParkedTenant
from shared.db.reading.tasks import TaskDetails, TaskGroup, TaskSummary
from shared.db.tenants.address_erasures import Erasure
from shared.db.tenants.address_erasures import Item as ErasedPlace
from shared.db.tenants.tenants import JournalEntry, TenantOverview
from shared.db.users.user_writes import AddressMove, Mistake
from shared.db.users.users import User
from shared.host.notification import FeedItems

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from console.cli.options import EndpointChange, Selection
    from console.cli.user.importing import Mistakes
    from console.run_again import Step
    from shared.db.tenants.tenants import PolicyChange
    from shared.db.users.users import NewUser

MOST_IMPORTED = 5_000  # users that one request of the API takes
TOO_MANY_READERS = "too_many_readers"


class Remote(RestClient):
    """A console, asked with an API token."""

    def list_events(self, wanted: Selection, *, limit: int) -> list[EventSummary]:
        """Return the newest events that match."""
        return self.rows(list[EventSummary], "events", "events", self._narrowed(wanted), limit=limit)

    def find_events(self, name: str, *, tenant: str | None, company: str | None) -> list[EventSummary]:
        """Return the events with this id."""
        company = self.tenant(tenant).company_id if tenant else company
        found = self.rows(list[EventSummary], "events", "events", {"id": name}, limit=LONGEST_PAGE)
        return [event for event in found if company in {None, event.company_id}]

    def event_document(self, number: int) -> dict[str, Any]:
        """Return all that is known of an event."""
        document = self.get(f"events/{number}")
        for moment in document["timeline"]:
            for name in ("at", "ended_at"):
                if moment.get(name):
                    moment[name] = datetime.fromisoformat(moment[name])
        return document

    def event_body(self, number: int) -> bytes:
        """Return the body of an event."""
        return self.send("POST", f"events/{number}/reveal").content

    def event_curl(self, number: int) -> str:
        """Return a command that sends the event's body to the door of that console's machine."""
        return str(self.send("POST", f"events/{number}/curl").json()["command"])

    def event_fixture(self, number: int) -> dict[str, Any]:
        """Return an order for the sandbox that sends an event like this one."""
        order: dict[str, Any] = self.send("POST", f"events/{number}/fixture").json()
        return order

    def run_event_again(self, number: int, *, step: Step, file: str | None, version: str | None) -> None:
        """Run the event again from this step."""
        self.send("POST", f"events/{number}/run-again", body={"from": step, "file": file, "version": version})

    def feed_page(self, after: str, *, tenant: str | None, types: str | None, wait: int) -> FeedItems:
        """Return the next notifications after a cursor. A console with too many readers is asked without waiting."""
        query = {"after": after, "tenant": tenant, "type": types}
        given = {name: value for name, value in query.items() if value is not None}
        try:
            page = self.get("messages", {**given, "wait": str(wait)})
        except RequestRefused as refusal:
            if refusal.code != TOO_MANY_READERS:
                raise
            time.sleep(1)
            page = self.get("messages", given)
        return FeedItems(page["messages"], page["next"])

    def export_address(self, address: str, tenant_id: int | None) -> Iterator[bytes]:
        """Return the document of all that is held of an address, in pieces."""
        return self.stream("POST", "addresses/export", body={"address": address, "tenant_id": tenant_id})

    def file_content(self, number: int) -> Iterator[bytes]:
        """Return the bytes of a file, in pieces."""
        return self.stream("GET", f"attachments/{number}/content")

    def erase_address(self, address: str, tenant_id: int | None) -> int:
        """Ask for the erasure of an address, and return its number."""
        answer = self.send("POST", "addresses/erasures", body={"address": address, "tenant_id": tenant_id}).json()
        return int(answer["erasure"]["id"])

    def erasure(self, number: int) -> ErasureProgress | None:
        """Return an erasure and what it did so far."""
        return self.find(ErasureProgress, f"addresses/erasures/{number}")

    def list_erasures(self, *, limit: int) -> list[Erasure]:
        """Return the latest erasures, latest first."""
        return self.rows(list[Erasure], "addresses/erasures", "erasures", {}, limit=limit)

    def erased_places(self, number: int, *, limit: int) -> list[ErasedPlace]:
        """Return the events and tables that had the address, with what became of each."""
        return self.rows(list[ErasedPlace], f"addresses/erasures/{number}/items", "items", {}, limit=limit)

    def notification_of_event(self, number: int) -> bytes | None:
        """Return the body of the notification about an event's message."""
        try:
            return self.send("GET", f"events/{number}/message").content
        except RequestRefused as refusal:
            if refusal.code == "unknown_message":
                return None
            raise

    def list_tasks(self, wanted: Selection, *, limit: int) -> list[TaskSummary]:
        """Return the newest tasks that match."""
        return self.rows(list[TaskSummary], "tasks", "tasks", self._narrowed(wanted), limit=limit)

    def task(self, number: int) -> TaskDetails | None:
        """Return a task and its attempts."""
        return self.find(TaskDetails, f"tasks/{number}")

    def edit_action(self, number: int, action: str, *, was: str, attempts: int) -> None:
        """Have the task apply another action."""
        self.send("PATCH", f"tasks/{number}", body={"action": action, "was": was, "attempts": attempts})

    def count_tasks(self, verb: Verb, wanted: Selection) -> list[TaskGroup]:
        """Count the tasks that a job would change now."""
        query = {"verb": verb, "q": self._text(wanted)}
        if wanted.ids:
            query["tasks"] = ",".join(map(str, wanted.ids))
        return read_as(list[TaskGroup], self.get("jobs/preview", query)["groups"])

    def plan_job(self, verb: Verb, wanted: Selection, *, reason: str, accept_size: bool) -> int:
        """Plan a job for the tasks that match now."""
        order = {"verb": verb, "q": self._text(wanted), "reason": reason, "accept_size": accept_size}
        if wanted.ids:
            order["tasks"] = list(wanted.ids)
        return int(self.create("jobs", order)["job"]["id"])

    def step_job(self, number: int, step: str) -> Job:
        """Start, pause, resume or cancel a job."""
        return read_as(Job, self.send("POST", f"jobs/{number}/{step}").json()["job"])

    def list_jobs(self, *, limit: int) -> list[Job]:
        """Return the latest jobs."""
        return self.rows(list[Job], "jobs", "jobs", {}, limit=limit)

    def job(self, number: int) -> JobProgress | None:
        """Return a job and what became of its tasks."""
        return self.find(JobProgress, f"jobs/{number}")

    def job_groups(self, number: int) -> list[TaskGroup]:
        """Count the tasks of a job."""
        return read_as(list[TaskGroup], self.get(f"jobs/{number}/groups")["groups"])

    def help_job(self, number: int) -> None:
        """Do nothing: the workers carry the job out."""

    def running_kinds(self) -> set[str]:
        """Return the kinds of processes that run."""
        return {process["kind"] for process in self.get("processes")["processes"]}

    def list_endpoints(self) -> list[Endpoint]:
        """Return the endpoints of the host application by name."""
        found = [_endpoint(each) for each in self.pages("endpoints", "endpoints", {})]
        return sorted(found, key=lambda each: each.name)

    def endpoint(self, name: str) -> Endpoint:
        """Return the endpoint with this name or number."""
        found = [each for each in self.list_endpoints() if name in {each.name, str(each.id)}]
        if not found:
            raise NothingMatched(f"there is no endpoint {name!r}; `mailroom endpoint list` lists all")
        return found[0]

    def add_endpoint(self, new: NewEndpoint) -> str:
        """Add an endpoint, and return its secret."""
        order = {**vars(new), "types": None if new.types is None else list(new.types)}
        return str(self.send("POST", "endpoints", body=order).json()["secret"])

    def rotate_secret(self, endpoint_id: int, *, overlap: timedelta) -> str:
        """Give an endpoint a new secret, and return it."""
        query = {"overlap_hours": str(round(overlap.total_seconds() / 3600))}
        return str(self.send("POST", f"endpoints/{endpoint_id}/rotate", query=query).json()["secret"])

    def change_endpoint(self, endpoint_id: int, change: EndpointChange) -> None:
        """Hold, release or remove an endpoint."""
        if change == "remove":
            self.send("DELETE", f"endpoints/{endpoint_id}")
        else:
            self.send("POST", f"endpoints/{endpoint_id}/{change}")

    def test_endpoint(self, endpoint_id: int) -> int:
        """Have a test sent to an endpoint, and return the number of its task."""
        return int(self.send("POST", f"endpoints/{endpoint_id}/test").json()["task_id"])

    def list_tenants(self, customer: str | None) -> list[tuple[TenantOverview, int]]:
        """Return the tenants by name, each with the number of its parked tasks."""
        query = {} if customer is None else {"customer": customer}
        found = [_tenant(each) for each in self.pages("tenants", "tenants", query)]
        parked = read_as(list[ParkedTenant], list(self.pages("parked", "tenants", {})))
        waiting = {each.tenant_id: each.tasks for each in parked}
        return [(each, waiting.get(each.id, 0)) for each in sorted(found, key=lambda each: each.name)]

    def tenant(self, name: str) -> TenantOverview:
        """Return the tenant with this name or company id."""
        found = self.get("tenants", {"name": name})["tenants"]
        if not found:
            raise NothingMatched(f"there is no tenant {name!r}; `mailroom tenant list` lists all")
        return _tenant(found[0])

    def pause_tenant(self, tenant_id: int) -> None:
        """Pause a tenant's work, unless it is parked already."""
        self.send("POST", f"tenants/{tenant_id}/pause")

    def resume_tenant(self, tenant_id: int) -> None:
        """Resume a tenant's work, if it is paused."""
        self.send("POST", f"tenants/{tenant_id}/resume")

    def set_policy(self, tenant_id: int, change: PolicyChange) -> None:
        """Change a tenant's policy for future events."""
        given = {name: value for name, value in vars(change).items() if value is not None}
        if act_within := given.pop("act_within", None):
            given["act_within_seconds"] = int(act_within.total_seconds())
        self.send("PATCH", f"tenants/{tenant_id}", body=given)

    def tenant_journal(self, tenant_id: int, *, limit: int) -> list[JournalEntry]:
        """Return the latest changes of a tenant and of what belongs to it."""
        return self.rows(list[JournalEntry], f"tenants/{tenant_id}/journal", "entries", {}, limit=limit)

    def list_users(self, tenant_id: int, *, limit: int) -> list[User]:
        """Return a tenant's users by external id."""
        return self.rows(list[User], f"tenants/{tenant_id}/users", "users", {}, limit=limit)

    def add_user(self, tenant_id: int, user: NewUser) -> None:
        """Add a user."""
        self.send("PUT", _user_path(tenant_id, user.external_id), query={"new": "true"}, body=_fields(user))

    def set_user_active(self, tenant_id: int, external_id: str, *, active: bool) -> None:
        """Match mail with a user, or no more."""
        with _known_user(external_id):
            if active:
                self.send("PATCH", _user_path(tenant_id, external_id), body={"active": True})
            else:
                self.send("DELETE", _user_path(tenant_id, external_id))

    def set_user_action(self, tenant_id: int, external_id: str, action: str | None) -> None:
        """Set a user's action."""
        with _known_user(external_id):
            self.send("PATCH", _user_path(tenant_id, external_id), body={"action": action})

    def import_users(
        self, tenant_id: int, file: Path, mistakes: Mistakes, *, move: bool, dry_run: bool
    ) -> dict[str, int]:
        """Import the users of a CSV file in one request, all of them in one transaction."""
        columns, lines = read_file(file, mistakes, most=MOST_IMPORTED)
        if not lines:
            return {}
        has_actions = columns.action is not None
        body = {
            "users": [
                {
                    "external_id": line.user.external_id,
                    **{name: value for name, value in _fields(line.user).items() if name != "action" or has_actions},
                }
                for line in lines
            ],
            "left_out": "keep",
            "addresses_of_others": "move" if move else "refuse",
        }
        query = {"partial": "true", "dry_run": str(dry_run).lower()}
        result = self.send("POST", f"tenants/{tenant_id}/users/bulk", query=query, body=body).json()
        for fault in result["errors"]:
            place = re.fullmatch(r"#/users/(\d+)/addresses/(\d+)", fault["pointer"])
            address = lines[int(place[1])].user.addresses[int(place[2])].as_given if place else None
            mistakes.add(Mistake(line=lines[fault["index"]].line, what=fault["detail"], address=address))
        show_moves(
            [AddressMove(address=each["address"], owner=each["was"], heir=each["now"]) for each in result["moved"]]
        )
        counts = {name: int(result[name]) for name in ("added", "changed", "unchanged")}
        return {**counts, "moved": len(result["moved"])}

    def list_groups(self, wanted: Selection, *, limit: int) -> list[FailureGroup]:
        """Return the groups of failures that match."""
        return self.rows(list[FailureGroup], "failure-groups", "groups", self._narrowed(wanted), limit=limit)

    def list_job_items(self, number: int, *, outcome: str | None, limit: int) -> list[Item]:
        """Return tasks of a job in order."""
        query = {"outcome": outcome} if outcome else {}
        return self.rows(list[Item], f"jobs/{number}/items", "items", query, limit=limit)

    def list_audit(self, *, who: str | None, verb: str | None, allowed: bool | None, limit: int) -> list[AuditEntry]:
        """Return the latest entries of the audit that match."""
        given = {"who": who, "verb": verb, "allowed": None if allowed is None else str(allowed).lower()}
        query = {name: value for name, value in given.items() if value is not None}
        return self.rows(list[AuditEntry], "audit", "entries", query, limit=limit)

    def repairable_tenants(self, tenant_id: int | None) -> list[RepairableTenant]:
        """Return the connected tenants, or this one if it is connected."""
        found = read_as(list[RepairableTenant], self.get("repairs/candidates")["tenants"])
        return [each for each in found if tenant_id in {None, each.id}]

    def request_repairs(self, tenant_ids: Sequence[int], *, since: datetime, dry_run: bool) -> list[int]:
        """Ask for a repair of each tenant."""
        order = {"tenant_ids": list(tenant_ids), "since": since.isoformat(), "dry_run": dry_run}
        return read_as(list[int], self.create("repairs", order)["repair_ids"])

    def repairs(self, numbers: Sequence[int]) -> list[RepairView]:
        """Return the repairs with these numbers, sorted by tenant."""
        return read_as(list[RepairView], self.get("repairs", {"ids": ",".join(map(str, numbers))})["repairs"])

    def stop_repairs(self, tenant_id: int | None) -> int:
        """Stop the open repairs of one tenant or of all."""
        return int(self.send("POST", "repairs/stop", body={"tenant_id": tenant_id}).json()["stopped"])

    def status(self) -> Status:
        """Return the figures of `mailroom status`."""
        return read_as(Status, self.get("status"))

    def rejected(self) -> Rejected:
        """Return the requests that the door rejected in the last 24 hours."""
        return read_as(Rejected, self.get("rejected"))

    def _text(self, wanted: Selection) -> str:
        """Return the filter words, with the tenant's own name. Raises NothingMatched for an unknown tenant."""
        words = wanted.words
        return (replace(words, tenant=self.tenant(words.tenant).name) if words.tenant else words).text()

    def _narrowed(self, wanted: Selection) -> dict[str, str]:
        return {"q": self._text(wanted)}


def _user_path(tenant_id: int, external_id: str) -> str:
    return f"tenants/{tenant_id}/users/{quote(external_id, safe='')}"


def _fields(user: NewUser) -> dict[str, Any]:
    fields = {"name": user.name, "addresses": [each.as_given for each in user.addresses], "action": user.action}
    return fields if user.active is None else {**fields, "active": user.active}


@contextmanager
def _known_user(external_id: str) -> Iterator[None]:
    try:
        yield
    except RequestRefused as refusal:
        if refusal.code == "unknown_user":
            raise unknown_user(external_id) from None
        raise


def _tenant(document: Mapping[str, Any]) -> TenantOverview:
    seconds = document["act_within_seconds"]
    return read_as(TenantOverview, {**document, "act_within": timedelta(seconds=seconds)})


def _endpoint(document: Mapping[str, Any]) -> Endpoint:
    values = {name: value for name, value in document.items() if name != "possible_changes"}
    return read_as(Endpoint, {"not_before": None, "probe_at": None, **values})
