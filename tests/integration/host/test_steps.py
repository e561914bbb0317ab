"""A step of an installed package runs in the workers, for each message, with the guarantees of a notification."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from console.access.actor import SCOPES, Actor
from console.operations import endpoints as operations
from shared import queue
from shared.db.host.endpoints import NewEndpoint
from shared.host.endpoint_rules import BadEndpoint
from tests.integration.crashes.deployment import wait_until
from tests.integration.host.test_processes import deployment

if TYPE_CHECKING:
    from tests.integration.host.delivering import Mailroom
    from tests.integration.host.test_processes import HostDeployment

__all__ = ["deployment"]
EXAMPLE = Path(__file__).parents[3] / "examples" / "step"


def install(deployment: HostDeployment, *packages: Path) -> Path:
    """Install packages for the processes of the deployment, and return the file that the example writes."""
    folder, lines = deployment.folder / "packages", deployment.folder / "lines"
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check")
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(folder), *map(str, packages)]
    subprocess.run(command, check=True, timeout=100)
    deployment.environment |= {"PYTHONPATH": str(folder), "LINES_FILE": str(lines)}
    return lines


def lines_of(file: Path) -> list[list[str]]:
    return [line.split("\t") for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []


def test_an_installed_step_runs_for_each_message_and_reads_its_files(deployment: HostDeployment) -> None:
    mailroom = deployment.harness
    mailroom.connect(action="none")
    lines = install(deployment, EXAMPLE)
    mailroom.add_endpoint("step:lines", "lines")
    worker = deployment.worker()
    deployment.sweeper()
    worker.wait_for("step_loaded")
    mailroom.receive_mail(subject="Quay 4", attachments=[{"filename": "a.pdf", "size": 70_000}])
    mailroom.receive_mail(subject="Refuse me")
    deployment.wait_until(lambda: sorted(mailroom.tasks()) == ["done", "failed"], "one is done, one is refused")
    [(number, users, subject, sha256)] = lines_of(lines)
    assert (number.startswith("msg_"), users, subject) == (True, "nora@acme.example", "Quay 4")
    assert sha256 == mailroom.one("SELECT sha256 FROM attachments")
    detail = mailroom.one("SELECT detail FROM tasks WHERE kind = 'notify' AND state = 'failed'")
    assert "the example refuses this subject" in detail
    assert mailroom.endpoint_row("lines")["failures"] == 0


def test_a_worker_without_the_step_says_so_and_the_message_waits_for_one_that_has_it(
    deployment: HostDeployment,
) -> None:
    mailroom = deployment.harness
    mailroom.connect(action="none")
    mailroom.add_endpoint("step:lines", "lines")
    deployment.sweeper()
    worker = deployment.worker()
    worker.wait_for("step_missing")
    mailroom.receive_mail(subject="Quay 4")
    wait_until(lambda: mailroom.tasks("attempts") not in ([], [0]), "it is tried")
    worker.stop()
    lines = install(deployment, EXAMPLE)
    deployment.worker()

    def is_done() -> bool:
        mailroom.make_due()  # in place of the minutes of the schedule
        return mailroom.tasks() == ["done"]

    deployment.wait_until(is_done, "the step ran")
    assert len(lines_of(lines)) == 1


def test_a_worker_that_dies_after_the_step_has_it_run_again_under_the_same_id(deployment: HostDeployment) -> None:
    mailroom = deployment.harness
    mailroom.connect(action="none")
    lines = install(deployment, EXAMPLE)
    mailroom.add_endpoint("step:lines", "lines")
    mailroom.receive_mail(subject="Quay 4")
    [task_id] = mailroom.queued()
    dying = deployment.worker(consumes="dying", crash_at="sent_before_settle:kill")
    deployment.send_message(queue.NOTIFY, task_id, consumes="dying")
    dying.wait_for_death_by(signal.SIGKILL)
    assert mailroom.tasks() == ["running"]
    deployment.worker()
    deployment.sweeper()
    deployment.settle()
    assert mailroom.tasks() == ["done"]
    first, second = lines_of(lines)
    assert first == second


def test_a_step_is_not_for_a_token_of_one_tenant(mailroom: Mailroom) -> None:
    tenant_id = mailroom.connect(action="none")
    actor = Actor(name="API token t", via="api", verbs=SCOPES["write"], tenant_id=tenant_id)
    new = NewEndpoint(name="lines", url="step:lines", tenant_id=tenant_id)
    with pytest.raises(BadEndpoint):
        operations.add_endpoint(mailroom.resources.pool.run, actor, new, mailroom.resources.vault, [])


def test_a_step_gets_messages_alone_unless_other_types_are_named(mailroom: Mailroom) -> None:
    types = ["message.received", "message.unmatched", "message.sent"]
    assert mailroom.add_endpoint("step:lines", "lines").types == types
    assert mailroom.add_endpoint("step:lines", "others", types=["tenant.paused"]).types == ["tenant.paused"]
