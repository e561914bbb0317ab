"""The door as any WSGI server loads it: `gunicorn ingest.wsgi:app`."""

from __future__ import annotations

from ingest.app import create_app
from ingest.settings import door_settings
from shared import failpoints
from shared.process.logs import configure

settings = door_settings()
configure(settings, "door")
failpoints.arm(settings.mailroom_crash_at)
app = create_app(settings)
