"""Real processes at DEBUG with secrets that can be recognised, before a treacherous Front."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests
from click.testing import CliRunner

from bench.harness.ports import free_port
from console.cli import main
from shared import queue
from tests.integration.canary import places
from tests.integration.canary.treacherous import Treacherous
from tests.integration.crashes.site import CELERY, Site, wait_until
from tests.integration.pipeline.rig import Rig

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.front.peers import Peer

ACME, BETA, NORA = "cmp_acme", "cmp_beta", "nora@acme.example"
SIGNING_KEY = "canary-signing-key-3vQ8mZ"
SECRET_KEY = "canary-secret-key-9tLw2K"
CLIENT_SECRET = "canary-client-secret-5hRx7B"
API_TOKEN = "canary-api-token-1dNf4G"
HURRY = """
    UPDATE tasks SET due_at = now() WHERE state = 'ready' AND due_at < 'infinity';
    UPDATE tenants SET not_before = '-infinity', probe_at = CASE WHEN probe_at IS NOT NULL THEN now() END;
    UPDATE outages SET probe_at = now(); UPDATE connections SET refreshing_until = NULL
"""
#: What waits for another task, as for a file that failed, is not to be waited for.
WORKABLE = """
    SELECT count(*)::int FROM tasks WHERE state IN ('queued', 'running') OR state = 'ready' AND due_at < 'infinity'
"""


class Stage:
    """Real processes at DEBUG, before a treacherous Front."""

    def __init__(self, database: str, redis_url: str, folder: Path, elsewhere: Peer) -> None:
        self.database, self.redis_url, self.folder = database, redis_url, folder
        door, self.console_port = free_port(), free_port()
        self.rig = Rig(
            database,
            redis_url,
            folder / "files",
            door=f"http://127.0.0.1:{door}/webhooks/front",
            signing_key=SIGNING_KEY,
            client_secret=CLIENT_SECRET,
            rotate_refresh_tokens=True,
        )
        self.front = Treacherous(self.rig.sandbox.url, elsewhere.url)
        self.elsewhere = elsewhere
        self.console = f"http://127.0.0.1:{self.console_port}"
        self.door = f"http://127.0.0.1:{door}"
        self.site = Site(
            self.rig,
            folder,
            FRONT_API_URL=self.front.url,
            FRONT_APP_URL=self.front.url,
            FRONT_SIGNING_KEYS=SIGNING_KEY,
            SECRET_KEY=SECRET_KEY,
            CONSOLE_PORT=str(self.console_port),
            PUBLIC_URL=self.console,
            LOG_LEVEL="DEBUG",
        )
        self.given_out: dict[str, str] = {}
        self.shown: list[places.Found] = []
        self.programs = [
            self.site.door(door),
            self.site.recorder(),
            self.site.sweeper(),
            self.site.run("console", "-m", "console.web"),
        ]
        self.worker = self.leaky_worker()
        for url in (f"{self.door}/livez", f"{self.console}/livez"):
            wait_until(lambda url=url: answers(url), f"{url} answers")

    def leaky_worker(self) -> Any:
        words = ("-q", "-A", "tests.integration.canary.leaky_app", "worker", "-n", "leaky@%h", "-Q", queue.WORK_QUEUE)
        return self.site.run("leaky", "-m", "celery", *words, "--concurrency", "4", *CELERY)

    def mailroom(self, *arguments: str) -> str:
        """What the command prints."""
        return CliRunner().invoke(main, arguments, env=self.site.environment).output

    def given(self, *arguments: str) -> dict[str, Any]:
        """What the command gives out, as a document."""
        return json.loads(CliRunner().invoke(main, [*arguments, "--json"], env=self.site.environment).stdout)

    def secrets(self) -> dict[str, str]:
        """By name; one more is one line more."""
        token_keys = {f"TOKEN_KEYS {n}": key.get_secret_value() for n, key in enumerate(self.rig.settings.token_keys)}
        overheard = {f"overheard {n}": secret for n, secret in enumerate(sorted(self.front.secrets))}
        return {
            **overheard,
            **token_keys,
            **self.given_out,
            "FRONT_SIGNING_KEYS": SIGNING_KEY,
            "SECRET_KEY": SECRET_KEY,
            "FRONT_CLIENT_SECRET": CLIENT_SECRET,
            "Beta's API token": API_TOKEN,
            "password of Redis": urlsplit(self.redis_url).password or "",
        }

    def connect(self, name: str, company: str) -> requests.Response:
        """An admin opens the link and consents; the last page they see."""
        url = self.given("tenant", "connect", name)["url"]
        self.given_out[f"link {len(self.given_out)}"] = url.rpartition("/")[2]
        with requests.Session() as browser:
            asked = browser.get(url, timeout=60, allow_redirects=False).headers["Location"]
            state = dict(pair.split("=", 1) for pair in urlsplit(asked).query.split("&"))["state"]
            callback = {"company": company, "redirect_uri": f"{self.console}/oauth/callback", "state": state}
            return browser.get(f"{self.front.url}/oauth/consent", params={**callback, "decision": "allow"}, timeout=60)

    def mail(self, count: int = 3) -> None:
        """Mail to both tenants, with files, some of it without what the webhook leaves out now and then."""
        to = [{"handle": NORA, "role": "to"}]
        for company in (ACME, BETA):
            self.rig.send("inbound_received", company, recipients=to, count=count, attachment_count=1)
            self.rig.send("inbound_received", company, recipients=to, fault="no_recipients", text_size=100)

    def settle(self) -> None:
        """Until nothing can be done any more, however long Front would have us wait."""

        def hurried() -> bool:
            for statement in HURRY.split(";"):
                self.rig.sql(statement)
            return self.rig.resources.intake.depth() == 0 and self.rig.one(WORKABLE) == 0

        self.site.until(hurried, "nothing can be done any more")

    def close(self) -> None:
        self.site.close()
        self.front.stop()


def answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=10).status_code == 200
    except requests.ConnectionError:
        return False
