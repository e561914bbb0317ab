"""Real processes at log level DEBUG, with recognisable secrets and a hostile Front."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests
from click.testing import CliRunner

from bench.harness.ports import free_port
from console.cli import main
from shared import queue
from tests.integration.canary import leak_search
from tests.integration.canary.hostile_front import HostileFront
from tests.integration.canary.sink import Sink
from tests.integration.crashes.deployment import CELERY, Deployment, wait_until
from tests.integration.pipeline.harness import Harness

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.front.peers import Peer

ACME, BETA, NORA = "cmp_acme", "cmp_beta", "nora@acme.example"
SIGNING_KEY = "canary-signing-key-3vQ8mZ"
SECRET_KEY = "canary-secret-key-9tLw2K"
CLIENT_SECRET = "canary-client-secret-5hRx7B"
API_TOKEN = "canary-api-token-1dNf4G"
MAKE_ALL_DUE = """
    UPDATE tasks SET due_at = now() WHERE state = 'ready' AND due_at < 'infinity';
    UPDATE tenants SET not_before = '-infinity', probe_at = CASE WHEN probe_at IS NOT NULL THEN now() END;
    UPDATE outages SET probe_at = now(); UPDATE connections SET refreshing_until = NULL
"""
#: A task that waits for another one, such as a failed file, is not counted.
COUNT_RUNNABLE = """
    SELECT count(*)::int FROM tasks WHERE state IN ('queued', 'running') OR state = 'ready' AND due_at < 'infinity'
"""


class SystemUnderTest:
    """Real processes at log level DEBUG, with a hostile Front. They report errors and traces."""

    def __init__(self, database: str, redis_url: str, folder: Path, elsewhere: Peer, sink: Sink) -> None:
        self.database, self.redis_url, self.folder = database, redis_url, folder
        door, self.console_port = free_port(), free_port()
        self.harness = Harness(
            database,
            redis_url,
            folder / "files",
            door=f"http://127.0.0.1:{door}/webhooks/front",
            signing_key=SIGNING_KEY,
            client_secret=CLIENT_SECRET,
            rotate_refresh_tokens=True,
        )
        self.front = HostileFront(self.harness.sandbox.url, elsewhere.url)
        self.elsewhere = elsewhere
        self.sink = sink
        self.console = f"http://127.0.0.1:{self.console_port}"
        self.door = f"http://127.0.0.1:{door}"
        self.deployment = Deployment(
            self.harness,
            folder,
            FRONT_API_URL=self.front.url,
            FRONT_APP_URL=self.front.url,
            FRONT_SIGNING_KEYS=SIGNING_KEY,
            SECRET_KEY=SECRET_KEY,
            CONSOLE_PORT=str(self.console_port),
            PUBLIC_URL=self.console,
            LOG_LEVEL="DEBUG",
            SENTRY_DSN=sink.dsn,
            OTEL_EXPORTER_OTLP_ENDPOINT=sink.url,
        )
        self.issued_secrets: dict[str, str] = {}
        self.pages: list[leak_search.Found] = []
        self.programs = [
            self.deployment.door(door),
            self.deployment.recorder(),
            self.deployment.sweeper(),
            self.deployment.run("console", "-m", "console.web"),
        ]
        self.worker = self.leaky_worker()
        for url in (f"{self.door}/livez", f"{self.console}/livez"):
            wait_until(lambda url=url: answers(url), f"{url} answers")

    def leaky_worker(self) -> Any:
        words = ("-q", "-A", "tests.integration.canary.leaky_app", "worker", "-n", "leaky@%h", "-Q", queue.WORK_QUEUE)
        return self.deployment.run("leaky", "-m", "celery", *words, "--concurrency", "4", *CELERY)

    def mailroom(self, *arguments: str) -> str:
        """Run the command and return its output."""
        return CliRunner().invoke(main, arguments, env=self.deployment.environment).output

    def run_json(self, *arguments: str) -> dict[str, Any]:
        """Run the command with --json and return its document."""
        return json.loads(CliRunner().invoke(main, [*arguments, "--json"], env=self.deployment.environment).stdout)

    def secrets(self) -> dict[str, str]:
        """Return all secrets by name. Add a line here for each new secret."""
        token_keys = {
            f"TOKEN_KEYS {n}": key.get_secret_value() for n, key in enumerate(self.harness.settings.token_keys)
        }
        overheard = {f"overheard {n}": secret for n, secret in enumerate(sorted(self.front.secrets))}
        return {
            **overheard,
            **token_keys,
            **self.issued_secrets,
            "FRONT_SIGNING_KEYS": SIGNING_KEY,
            "SECRET_KEY": SECRET_KEY,
            "FRONT_CLIENT_SECRET": CLIENT_SECRET,
            "Beta's API token": API_TOKEN,
            "password of Redis": urlsplit(self.redis_url).password or "",
        }

    def connect(self, name: str, company: str) -> requests.Response:
        """Open the link and consent as an admin; return the last page."""
        url = self.run_json("tenant", "connect", name)["url"]
        self.issued_secrets[f"link {len(self.issued_secrets)}"] = url.rpartition("/")[2]
        with requests.Session() as browser:
            [form_token] = re.findall(r'name="form_token" value="(\w+)"', browser.get(url, timeout=60).text)
            form = {"form_token": form_token}
            asked = browser.post(url, form, timeout=60, allow_redirects=False).headers["Location"]
            state = dict(pair.split("=", 1) for pair in urlsplit(asked).query.split("&"))["state"]
            callback = {"company": company, "redirect_uri": f"{self.console}/oauth/callback", "state": state}
            return browser.get(f"{self.front.url}/oauth/consent", params={**callback, "decision": "allow"}, timeout=60)

    def mail(self, count: int = 3) -> None:
        """Send mail with files to both tenants, and mail whose webhooks lack their recipients."""
        to = [{"handle": NORA, "role": "to"}]
        for company in (ACME, BETA):
            self.harness.send("inbound_received", company, recipients=to, count=count, attachment_count=1)
            self.harness.send("inbound_received", company, recipients=to, fault="no_recipients", text_size=100)

    def settle(self) -> None:
        """Wait until no task can run any more, and skip each wait that Front asks for."""

        def is_idle() -> bool:
            for statement in MAKE_ALL_DUE.split(";"):
                self.harness.sql(statement)
            return self.harness.resources.intake.depth() == 0 and self.harness.one(COUNT_RUNNABLE) == 0

        self.deployment.wait_until(is_idle, "no task can run any more")

    def close(self) -> None:
        self.deployment.close()
        self.front.stop()


def answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=10).status_code == 200
    except requests.ConnectionError:
        return False
