"""Every import contract is kept by the tree, and broken by a violation of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
CONFIGURATION = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
CONTRACTS: list[str] = [contract["name"] for contract in CONFIGURATION["contracts"]]

MEET = "door, workers and console meet in shared only"
SHARED = "shared knows none of those that use it"
SMALL_FRONT = "the small Front agrees with Front's documents, not with us"
STARTER = "only the console starts the small Front"
DOOR_FRONT = "the door checks signatures and knows nothing else of Front"
DOOR_SQL = "the door needs PostgreSQL only while Redis is away"
DECISIONS = "decisions are pure"
SQL = "SQL is spoken in shared.db"
CORE = "the core of shared.db knows no subject"
READING = "reading for people stands apart from what changes rows"
HTTP = "outgoing HTTP goes through shared.http, and to Front through shared.front"
TRANSPORT = "shared.http knows neither Front nor our stores"
WIRE = "Front's wire is spoken in shared.front"
OPENID = "OpenID Connect is spoken in shared.openid"
TELEMETRY = "OpenTelemetry and Sentry are each spoken in one module"
FRONT = "shared.front reads and writes no rows"
INTAKE = "the intake is Redis alone"
STEPS = "steps are run by the Celery application"
RECORDING = "recording runs no attempt and asks Front nothing"
COMMANDS = "the command line needs neither pages nor API"
APART = "the API stands apart from the pages"
OPERATIONS = "rights and operations are the same for pages, API and command line"
PAGES = "pages change tasks, jobs and users through operations"

VIOLATIONS = [
    ("console/operations/tasks.py", "import flask", OPERATIONS),
    ("console/access/actor.py", "import console.cli.output", OPERATIONS),
    ("console/web/pages/failed.py", "from shared.db.tasks import manual_changes", PAGES),
    ("console/access/actor.py", "import os", DECISIONS),
    ("ingest/app.py", "import workers.matching", MEET),
    ("workers/attempts/retries.py", "import console.up.up", MEET),
    ("console/up/up.py", "import ingest.app", MEET),
    # Hidden in a function
    ("console/up/up.py", "def offend():\n    import workers.app", MEET),
    ("shared/text.py", "import workers.matching", SHARED),
    ("shared/front/envelope.py", "import sandbox.models", SHARED),
    ("sandbox/webhooks.py", "from shared.front.signature import verify", SMALL_FRONT),
    ("workers/sweeping/sweeper.py", "import sandbox.world", STARTER),
    ("ingest/app.py", "from shared.front.envelope import parse_envelope", DOOR_FRONT),
    # Through a module that may use it
    ("shared/intake/client.py", "from shared.front.client import FrontClient", DOOR_FRONT),
    ("ingest/bell.py", "import shared.db.core.pool", DOOR_SQL),
    ("shared/db/recording/spool.py", "import psycopg", DOOR_SQL),
    ("shared/text.py", "import os", DECISIONS),
    ("workers/policy.py", "import time", DECISIONS),
    # Through a module that is not pure
    ("workers/recording/parse.py", "from shared.db.recording.statements import EventRow", DECISIONS),
    ("workers/recorder_of_mine.py", "import psycopg", SQL),
    ("console/embedding.py", "from psycopg_pool import ConnectionPool", SQL),
    ("workers/resources.py", "import requests", HTTP),
    ("shared/storage.py", "import urllib3", HTTP),
    ("workers/attempts/attempt.py", "from shared.front.tenant_requests import Exchange", WIRE),
    ("console/cli/tenant/connecting.py", "from shared.front import answers", WIRE),
    ("console/web/pages/oidc.py", "from authlib.oidc.core import CodeIDToken", OPENID),
    ("workers/attempts/run.py", "from opentelemetry import trace", TELEMETRY),
    ("console/web/app.py", "def offend():\n    import sentry_sdk", TELEMETRY),
    ("shared/process/forwarded.py", "import time", DECISIONS),
    ("shared/db/core/locks.py", "from shared.db.tasks import leases", CORE),
    ("shared/db/reading/tasks.py", "from shared.db.tasks.leases import claim", READING),
    ("shared/http/transport.py", "from shared.front.signature import verify", TRANSPORT),
    ("shared/front/client.py", "from shared.db.tenants import connections", FRONT),
    ("shared/intake/client.py", "from shared.db.recording import spool", INTAKE),
    ("workers/sweeping/periodic_jobs.py", "from workers.steps import STEPS", STEPS),
    ("workers/recording/chunk.py", "from workers.attempts.run import run_task", RECORDING),
    ("console/api/tasks.py", "from console.web.pages.shell import PAGE_SIZE", APART),
    ("console/cli/status.py", "def offend():\n    from console.web.app import create_app", COMMANDS),
]


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> list[list[str]]:
    """The contracts that a copy of the tree breaks, and those that each violation breaks."""
    tree = tmp_path_factory.mktemp("tree")
    for package in CONFIGURATION["root_packages"]:
        shutil.copytree(ROOT / package, tree / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tree)
    ran = subprocess.run(
        [sys.executable, Path(__file__).with_name("violating.py")],
        input=json.dumps([(module, offence) for module, offence, _ in VIOLATIONS]),
        cwd=tree,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    found: list[list[str]] = json.loads(ran.stdout)
    return found


def test_the_tree_keeps_every_contract(broken: list[list[str]]) -> None:
    assert broken[0] == []


@pytest.mark.parametrize(
    ("position", "contract"),
    [(position, contract) for position, (_, _, contract) in enumerate(VIOLATIONS, start=1)],
    ids=[f"{module}: {offence.split()[-1]}" for module, offence, _ in VIOLATIONS],
)
def test_a_violated_contract_is_broken(broken: list[list[str]], position: int, contract: str) -> None:
    assert contract in broken[position]


def test_every_contract_has_a_violation() -> None:
    assert {contract for _, _, contract in VIOLATIONS} == set(CONTRACTS)
