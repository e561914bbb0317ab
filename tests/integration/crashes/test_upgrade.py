"""Deliveries, rows and messages that an older release left are worked off after an upgrade, none of them twice."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import requests

from bench.harness.ports import free_port
from shared import queue
from shared.db.core.migrate import known
from tests.integration.crashes.deployment import CLEAN, ROOT, Deployment
from tests.integration.pipeline.harness import TO_NORA, Harness

if TYPE_CHECKING:
    from console.up.embedded import Postgres

#: Before the first release, the last commit without the feed stands for it.
BEFORE_RELEASES = "3f1d4c4ca088aa084bc5c9a8da4f4fd0bbcdafe4"
FILE = [{"filename": "bill.pdf", "content_type": "application/pdf", "size": 3_000}]
OPEN = "SELECT count(*)::int FROM tasks WHERE state IN ('ready', 'queued', 'running')"
DONE = "SELECT count(*)::int FROM actions WHERE state = 'confirmed'"


def git(*arguments: str) -> bytes:
    """Ask the repository. An unpacked archive or a shallow clone has no older release that could be tried."""
    ended = subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, check=False)
    if ended.returncode:
        pytest.skip("the older release is in the repository's history; `git fetch --unshallow --tags` brings it here")
    return ended.stdout


def last_release() -> str:
    """Return the newest tag of a release other than this one, else the commit that stands for it."""
    tags = git("tag", "--list", "v[0-9]*", "--no-contains", "HEAD", "--merged", "HEAD", "--sort=-version:refname")
    return (tags.decode().split() or [BEFORE_RELEASES])[0]


@pytest.fixture(scope="module")
def old_code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The last release, built as a wheel and unpacked; it runs with the libraries of this one."""
    folder = tmp_path_factory.mktemp("old")
    with tarfile.open(fileobj=io.BytesIO(git("archive", "--format=tar", last_release()))) as archive:
        archive.extractall(folder / "source", filter="data")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder / "wheel"],
        cwd=folder / "source",
        capture_output=True,
        check=True,
    )
    [wheel] = (folder / "wheel").glob("*.whl")
    with zipfile.ZipFile(wheel) as packages:
        packages.extractall(folder / "packages")
    return folder / "packages"


@pytest.fixture
def url(postgres: Postgres) -> Iterator[str]:
    """A database without tables."""
    with psycopg.connect(postgres.url_of("postgres"), autocommit=True) as conn:
        conn.execute("CREATE DATABASE upgraded")
        yield postgres.url_of("upgraded")
        conn.execute("DROP DATABASE upgraded WITH (FORCE)")


@pytest.fixture
def deployment(url: str, redis_db: str, tmp_path: Path, old_code: Path) -> Iterator[Deployment]:
    """A deployment of the last release, with a tenant and a user that it made."""
    port = free_port()
    harness = Harness(url, redis_db, tmp_path / "files", door=f"http://127.0.0.1:{port}/webhooks/front")
    deployment = Deployment(harness, tmp_path, PORT=str(port))
    deployment.code = old_code
    try:
        run(deployment, "migrate")
        company = harness.control("companies", {"id": "cmp_acme", "name": "Acme"})
        (tmp_path / "token").write_text(company["api_token"])
        run(deployment, "tenant", "add", "Acme", "--company", "cmp_acme", "--api-token-file", str(tmp_path / "token"))
        run(deployment, "tenant", "policy", "Acme", "--action", "archive")
        run(
            deployment, "user", "add", "--tenant", "Acme", "--id", "1", "--name", "Nora", "--email", "nora@acme.example"
        )
        yield deployment
    finally:
        deployment.close()


def run(deployment: Deployment, *command: str, code: int = 0) -> str:
    """Run a command of the present code of the deployment, and return its output."""
    program = deployment.run(command[0], "-m", "console", *command)
    assert program.process.wait(60) == code, program.output
    return program.output


def start(deployment: Deployment) -> dict[str, Any]:
    port = int(deployment.environment["PORT"])
    programs = {"door": deployment.door(port), "recorder": deployment.recorder(), "worker": deployment.worker()}
    deployment.wait_until(lambda: is_live(port), "the door answers")
    return programs


def is_live(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/livez", timeout=5).ok
    except requests.ConnectionError:
        return False


def mail(deployment: Deployment, count: int) -> None:
    deployment.harness.send(
        "inbound_received", "cmp_acme", recipients=TO_NORA, expect="archived", count=count, attachments=FILE
    )


def one(url: str, query: str) -> Any:
    with psycopg.connect(url) as conn:
        row = conn.execute(query.encode()).fetchone()
        assert row
        return row[0]


@pytest.mark.timeout(400)
def test_what_the_last_release_left_is_worked_off(deployment: Deployment, url: str) -> None:
    programs = start(deployment)
    mail(deployment, 3)
    deployment.wait_until(lambda: one(url, DONE) == 3, "the old release archives three conversations")
    programs["worker"].stop()
    mail(deployment, 4)
    deployment.wait_until(lambda: one(url, "SELECT count(*)::int FROM events") == 7, "the old release records four")
    deployment.send_message(queue.RUN_TASK, one(url, "SELECT max(id) FROM tasks"), consumes=queue.WORK_QUEUE)
    programs["recorder"].stop()
    mail(deployment, 5)
    programs["door"].stop()
    assert deployment.harness.resources.intake.depth() == 5
    assert one(url, OPEN) == 8

    deployment.code = ROOT
    assert "applied 0018_feed" in run(deployment, "migrate")
    start(deployment)
    deployment.sweeper()
    mail(deployment, 1)
    deployment.settle()
    assert one(url, "SELECT count(*)::int FROM events") == one(url, DONE) == 13
    assert deployment.verdict() == CLEAN
    assert len(deployment.harness.writes()) == 13
    assert one(url, "SELECT count(*)::int FROM attachments WHERE state = 'stored'") == 13


@pytest.mark.timeout(400)
def test_the_last_release_works_on_the_newer_schema_until_it_takes_something_away(
    deployment: Deployment, url: str, old_code: Path
) -> None:
    deployment.code = ROOT
    run(deployment, "migrate")
    deployment.code = old_code
    assert "the schema is newer than this release: it has " in run(deployment, "migrate")
    programs = start(deployment)
    mail(deployment, 2)
    deployment.wait_until(lambda: one(url, DONE) == 2, "the old release archives on the newer schema")
    for program in programs.values():
        program.stop()
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("INSERT INTO schema_migrations (name, checksum) VALUES ('9999_drop_shade_after_9998', '')")
    assert "schema_too_new: " in run(deployment, "migrate", code=1)
    waiting = deployment.worker()
    waiting.wait_for("9999_drop_shade_after_9998 took away what it needs; run the newer release")
    waiting.end()
    assert deployment.verdict() == CLEAN


def test_the_last_release_is_older() -> None:
    names = git("ls-tree", "--name-only", last_release(), "shared/db/migrations/").decode()
    assert set(re.findall(r"(\w+)\.sql", names)) < {migration.name for migration in known()}
