"""Recognisable secrets pass through all processes; the test then searches all stored data and output for them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis
import requests

from shared import queue
from tests.integration.canary import leak_search
from tests.integration.canary.hostile_front import RESPONSES
from tests.integration.canary.sink import Sink
from tests.integration.canary.system import ACME, API_TOKEN, BETA, NORA, SystemUnderTest
from tests.integration.crashes.deployment import wait_until
from tests.integration.front.peers import Peer, answer
from tests.integration.pipeline.oauth import EXPIRE_TOKENS


@pytest.fixture
def system(database: str, redis_db: str, tmp_path: Path) -> Iterator[SystemUnderTest]:
    with Peer(answer(body=b"{}")) as elsewhere, Sink() as sink:
        system = SystemUnderTest(database, redis_db, tmp_path, elsewhere, sink)
        try:
            yield system
        finally:
            system.close()


def connect_tenants(system: SystemUnderTest) -> None:
    """Connect Acme by consent, after two refusals that repeat the request, and connect Beta by an API token."""
    system.harness.sandbox.front.ensure_company(ACME, "Acme", None)
    system.mailroom("tenant", "add", "Acme")
    system.front.token_responses.extend(["error in JSON", "error in text"])
    for attempt in range(1, 3):
        page = system.connect("Acme", ACME)
        assert page.status_code >= 400
        # The page leads back to the link; the browser that opened the link may see it.
        link = f"{system.console}/connect/{system.issued_secrets[f'link {attempt}']}"
        system.pages.append(
            ("page of a refusal", page.content.replace(link.encode(), b"").replace(urlsplit(link).path.encode(), b""))
        )
    assert system.connect("Acme", ACME).status_code == 200
    system.harness.sandbox.front.ensure_company(BETA, "Beta", API_TOKEN)
    beta = system.harness.tenant(BETA, "Beta", token=API_TOKEN)
    system.harness.user(beta, NORA)
    system.harness.user(system.harness.one("SELECT id FROM tenants WHERE name = 'Acme'"), NORA)
    system.mailroom("tenant", "policy", "Acme", "--action", "archive")


def outputs(system: SystemUnderTest) -> Iterator[leak_search.Found]:
    """Yield all output of the commands, the console, the API and the door."""
    events = [str(number) for (number,) in system.harness.sql("SELECT id FROM events ORDER BY id")]
    tasks = [str(number) for (number,) in system.harness.sql("SELECT id FROM tasks WHERE state = 'failed'")]
    reads = [
        *(("event", "show", number) for number in events),
        *(("task", "show", number) for number in tasks),
        *(("tenant", "show", name) for name in ("Acme", "Beta")),
        *((noun, "list") for noun in ("tenant", "event", "task", "api-token")),
        ("user", "list", "--tenant", "Acme"),
        ("status",),
        ("doctor",),
        ("keys", "rotate"),
    ]
    for words in reads:
        for more in ((), ("--json",)):
            yield " ".join((*words, *more)), system.mailroom(*words, *more).encode()
    bearer = {"Authorization": f"Bearer {system.issued_secrets['API bearer token']}"}
    for path in (
        "/",
        "/connect/nothing",
        "/oauth/callback?code=x&state=y",
        "/connected",
        "/nowhere",
        "/api/openapi.json",
    ):
        yield path, requests.get(system.console + path, timeout=60).content
    for path in ("/api/v1/tenants", "/api/v1/users", "/api/v1/nothing"):
        yield path, requests.get(system.console + path, headers=bearer, timeout=60).content
    for path in ("/metrics", "/readyz", "/livez"):
        yield path, requests.get(system.door + path, timeout=60).content


def check_reports(system: SystemUnderTest) -> None:
    """Check that errors and traces of real processes were sent, and none of what passed through them."""
    for program in system.programs:
        program.stop()  # it sends what it has
    sink = system.sink
    assert leak_search.find_leaks({**system.secrets(), "address": NORA, "domain": "acme.example"}, sink.bodies) == []
    errors = {each["exception"]["values"][-1]["type"] for each in sink.reports() if "exception" in each}
    assert {"RuntimeError", "ValueError"} <= errors
    spans = list(sink.spans())
    assert {(kind, span.name) for kind, span in spans} >= {
        ("door", "door.receive"),
        ("recorder", "record"),
        ("worker", "attempt store_attachment"),
        ("worker", "attempt apply_action"),
        ("worker", "front.call"),
        ("worker", "storage.put"),
    }
    roots = {span.span_id: span.trace_id for _, span in spans if span.name == "door.receive"}
    archived = [span for _, span in spans if span.name == "attempt apply_action"]
    assert archived
    assert all(roots[span.parent_span_id] == span.trace_id for span in archived)


@pytest.mark.timeout(400)
def test_no_secret_is_left_anywhere_and_none_goes_elsewhere(system: SystemUnderTest) -> None:
    token = system.run_json("api-token", "create", "canary")["token"]
    system.issued_secrets["API bearer token"] = token
    connect_tenants(system)

    system.front.api_responses.extend(list(RESPONSES) * 2)
    while system.front.api_responses:
        system.mail(2)
        system.settle()
    system.front.token_responses.extend(["error in JSON", "garbage", "headers", "words of the status"])
    while system.front.token_responses:
        system.harness.sql(EXPIRE_TOKENS)
        system.mail(1)
        system.settle()
    assert "bug" in {code for (code,) in system.harness.sql("SELECT code FROM tasks WHERE state = 'failed'")}
    for (tenant_id,) in system.harness.sql("SELECT id FROM tenants"):
        system.deployment.send_message(queue.KEEP_ALIVE, tenant_id, consumes=queue.WORK_QUEUE)
    wait_until(
        lambda: system.worker.output.count("raised unexpected: ValueError('another bug") == 2,
        "both bugs are in the log",
    )

    system.worker.stop()
    system.mail(1)
    with redis.Redis.from_url(system.redis_url) as client:
        wait_until(
            lambda: client.llen(queue.WORK_QUEUE) + client.llen(f"{queue.WORK_QUEUE}\x06\x169") > 0,
            "tasks wait in Celery",
        )
    found = leak_search.find_leaks(
        system.secrets(),
        [
            *leak_search.keys(system.redis_url),
            *leak_search.database_values(system.database),
            *outputs(system),
            *system.pages,
            *leak_search.files(system.folder),
        ],
    )
    assert found == []
    check_reports(system)
    assert system.elsewhere.requests == []
    assert system.harness.control("verdict")["wrong_token"] == 0
    assert system.harness.one("SELECT value FROM counters WHERE name = 'token_refreshes:ok'") >= 1
