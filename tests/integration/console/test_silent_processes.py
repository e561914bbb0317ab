"""Doctor and status name processes that are frozen, and none that ended on purpose."""

from __future__ import annotations

import json
import signal
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from click.testing import CliRunner

from bench.harness.processes import wait_until
from console.cli import main
from tests.integration.start.celery_processes import COMMANDS, running, settings

if TYPE_CHECKING:
    from pathlib import Path

    import psycopg

STARTS_WITHIN = 60.0
NAMED_WITHIN = 20.0
BACK_WITHIN = 10.0


def test_frozen_processes_are_named_until_they_go_on(
    conn: psycopg.Connection, database: str, redis_db: str, tmp_path: Path
) -> None:
    environment = settings(database, redis_db, tmp_path)

    def names(state: str) -> list[str]:
        document = json.loads(CliRunner().invoke(main, ["status", "--json"], env=environment).stdout)
        return sorted(each["kind"] for each in document["processes"][state])

    def doctor() -> str:
        checks = json.loads(CliRunner().invoke(main, ["doctor", "--json"], env=environment).stdout)["checks"]
        [finding] = [each for each in checks if each["name"] == "processes"]
        assert finding["ok"] is ("silent" not in finding["found"])
        return str(finding["found"])

    kinds = sorted(COMMANDS)
    with ExitStack() as stack:
        processes = [stack.enter_context(running(kind, environment, tmp_path / kind)) for kind in kinds]
        assert wait_until(lambda: names("alive") == kinds, STARTS_WITHIN)
        assert doctor() == "1 recorder, 1 sweeper, 1 worker alive"
        frozen_at = time.monotonic()
        for process in processes:
            process.send_signal(signal.SIGSTOP)
        try:
            assert wait_until(lambda: names("silent") == kinds, NAMED_WITHIN - (time.monotonic() - frozen_at))
            assert all(f"{kind}@" in doctor() for kind in kinds)
        finally:
            for process in processes:
                process.send_signal(signal.SIGCONT)
        assert wait_until(lambda: names("alive") == kinds, BACK_WITHIN)
        assert names("silent") == []
    conn.execute("UPDATE processes SET seen_at = now() - interval '20 seconds'")  # past the threshold of silence
    assert doctor() == "none alive"
