"""Secrets that can be recognised go through everything that runs, and are looked for wherever anything is left."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis
import requests

from shared import queue
from tests.integration.canary import places
from tests.integration.canary.stage import ACME, API_TOKEN, BETA, NORA, Stage
from tests.integration.canary.treacherous import MANNERS
from tests.integration.crashes.site import wait_until
from tests.integration.front.peers import Peer, answer
from tests.integration.pipeline.consent import PAST


@pytest.fixture
def stage(database: str, redis_db: str, tmp_path: Path) -> Iterator[Stage]:
    with Peer(answer(body=b"{}")) as elsewhere:
        stage = Stage(database, redis_db, tmp_path, elsewhere)
        try:
            yield stage
        finally:
            stage.close()


def connected(stage: Stage) -> None:
    """Acme by the consent of its admin, after a Front that gave away what it was asked; Beta by an API token."""
    stage.rig.sandbox.front.ensure_company(ACME, "Acme", None)
    stage.mailroom("tenant", "add", "Acme")
    stage.front.of_tokens.extend(["error in JSON", "error in text"])
    for attempt in range(1, 3):
        page = stage.connect("Acme", ACME)
        assert page.status_code >= 400
        # It leads back to the link, in the browser that came with it.
        link = f"{stage.console}/connect/{stage.given_out[f'link {attempt}']}"
        stage.shown.append(
            ("page of a refusal", page.content.replace(link.encode(), b"").replace(urlsplit(link).path.encode(), b""))
        )
    assert stage.connect("Acme", ACME).status_code == 200
    stage.rig.sandbox.front.ensure_company(BETA, "Beta", API_TOKEN)
    beta = stage.rig.tenant(BETA, "Beta", token=API_TOKEN)
    stage.rig.user(beta, NORA)
    stage.rig.user(stage.rig.one("SELECT id FROM tenants WHERE name = 'Acme'"), NORA)
    stage.mailroom("tenant", "policy", "Acme", "--action", "archive")


def outputs(stage: Stage) -> Iterator[places.Found]:
    """Everything that is shown to somebody."""
    events = [str(number) for (number,) in stage.rig.sql("SELECT id FROM events ORDER BY id")]
    tasks = [str(number) for (number,) in stage.rig.sql("SELECT id FROM tasks WHERE state = 'failed'")]
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
            yield " ".join((*words, *more)), stage.mailroom(*words, *more).encode()
    bearer = {"Authorization": f"Bearer {stage.given_out['API bearer token']}"}
    for path in (
        "/",
        "/connect/nothing",
        "/oauth/callback?code=x&state=y",
        "/connected",
        "/nowhere",
        "/api/openapi.json",
    ):
        yield path, requests.get(stage.console + path, timeout=60).content
    for path in ("/api/v1/tenants", "/api/v1/users", "/api/v1/nothing"):
        yield path, requests.get(stage.console + path, headers=bearer, timeout=60).content
    for path in ("/metrics", "/readyz", "/livez"):
        yield path, requests.get(stage.door + path, timeout=60).content


@pytest.mark.timeout(400)
def test_no_secret_is_left_anywhere_and_none_goes_elsewhere(stage: Stage) -> None:
    token = stage.given("api-token", "create", "canary")["token"]
    stage.given_out["API bearer token"] = token
    connected(stage)

    stage.front.of_api.extend(list(MANNERS) * 2)
    while stage.front.of_api:
        stage.mail(2)
        stage.settle()
    stage.front.of_tokens.extend(["error in JSON", "garbage", "headers", "words of the status"])
    while stage.front.of_tokens:
        stage.rig.sql(PAST)
        stage.mail(1)
        stage.settle()
    assert "bug" in {code for (code,) in stage.rig.sql("SELECT code FROM tasks WHERE state = 'failed'")}
    for (tenant_id,) in stage.rig.sql("SELECT id FROM tenants"):
        stage.site.tell(queue.KEEP_ALIVE, tenant_id, consumes=queue.WORK_QUEUE)
    wait_until(
        lambda: stage.worker.shown.count("raised unexpected: ValueError('another bug") == 2, "both bugs are in the log"
    )

    stage.worker.stop()
    stage.mail(1)
    with redis.Redis.from_url(stage.redis_url) as client:
        wait_until(
            lambda: client.llen(queue.WORK_QUEUE) + client.llen(f"{queue.WORK_QUEUE}\x06\x169") > 0,
            "tasks wait in Celery",
        )
    found = places.leaks(
        stage.secrets(),
        [
            *places.keys(stage.redis_url),
            *places.cells(stage.database),
            *outputs(stage),
            *stage.shown,
            *places.files(stage.folder),
        ],
    )
    assert found == []
    assert stage.elsewhere.requests == []
    assert stage.rig.control("verdict")["wrong_token"] == 0
    assert stage.rig.one("SELECT value FROM counters WHERE name = 'token_refreshes:ok'") >= 1
