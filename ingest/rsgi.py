"""The door as `python -m ingest` loads it into each of its processes."""

from __future__ import annotations

from ingest.app import create_app
from ingest.door import Door
from ingest.keeper import open_keeper_in_loop
from ingest.reception import Reception
from ingest.settings import door_settings
from shared import failpoints
from shared.process.logs import configure

settings = door_settings()
configure(settings, "door")
failpoints.arm(settings.mailroom_crash_at)
keeper = open_keeper_in_loop(settings)
app = Reception(
    create_app(settings, keeper=keeper), keeper, max_body_bytes=settings.max_body_bytes, door=Door(settings)
)
