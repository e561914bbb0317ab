"""Our recorder in a process of its own: `python -m bench.record.drain CHUNK [shares]`.

It prints that it is ready, waits for a line, and empties the intake. It then prints its time and CPU as JSON, and stays
until stdin ends. With `shares` a profiler runs beside it, which costs time itself.
"""

from __future__ import annotations

import cProfile
import json
import pstats
import sys
import time
from typing import Any

from bench.record.rounds import SHARES
from shared import queue
from shared.db.core.locks import RECORDER, Role
from shared.process import logs
from shared.settings import load
from workers.recording.prefetch import DeliveryReader
from workers.recording.recorder import Recorder
from workers.resources import Resources, open_resources

#: The parts of the work, by the function in which all of each happens.
PARTS = {
    "intake": ("shared/intake/client.py", "read"),
    "parse": ("workers/recording/parse.py", "parse"),
    "match_and_plan": ("workers/policy.py", "plan_message"),
    "compress": ("~", "<built-in method isal.isal_zlib.compress>"),
    "sql": ("psycopg/cursor.py", "execute"),
}


def main(chunk: int, *, with_shares: bool) -> None:
    """Drain the intake once."""
    settings = load()
    logs.configure(settings, "recorder")
    resources = open_resources(settings, queue.celery_app(settings), kind="recorder")
    recorder = open_recorder(resources, chunk, one_thread=with_shares)
    print_line({"ready": True})
    sys.stdin.readline()
    profile = cProfile.Profile(time.process_time)
    began, used = time.monotonic(), time.process_time()
    webhooks = profile.runcall(recorder.drain) if with_shares else recorder.drain()
    took = {"seconds": time.monotonic() - began, "cpu_seconds": time.process_time() - used}
    print_line({"webhooks": webhooks, **took, "shares": _shares(profile) if with_shares else {}})
    sys.stdin.read()
    recorder.close()
    resources.close()


def open_recorder(resources: Resources, chunk: int, *, one_thread: bool = False) -> Recorder:
    """Return the recorder of the product with another chunk; a profiler sees one thread only."""
    role = Role(resources.settings.database_url.get_secret_value(), RECORDER, process=resources.name)
    reader = DeliveryReader(resources.pool, resources.intake, chunk, prefetches=not one_thread)
    send, count, publish = resources.dispatcher.send_new, resources.figures.note_recorded, resources.dispatcher.publish
    return Recorder(resources.pool, resources.intake, role, send, reader, count=count, publish=publish)


def _shares(profile: cProfile.Profile) -> dict[str, float]:
    """Return each part's share of the recorder's own CPU, without PostgreSQL."""
    stats: dict[tuple[str, int, str], tuple[Any, ...]] = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    whole = sum(own for _, _, own, _, _ in stats.values())
    found = dict.fromkeys(PARTS, 0.0)
    for (file, _, function), (_, _, _, cumulative, _) in stats.items():
        for part, (where, name) in PARTS.items():
            if file.endswith(where) and function == name:
                found[part] += cumulative / whole
    return {part: round(share, 3) for part, share in (found | {"rest": 1 - sum(found.values())}).items()}


def print_line(what: dict[str, Any]) -> None:
    """Print an object for the benchmark that started this."""
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), with_shares=SHARES in sys.argv[2:])
