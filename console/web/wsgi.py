"""The application as Granian's process serves it, and the process' heartbeat."""

from __future__ import annotations

from multiprocessing.util import Finalize

from console.web.app import create_app
from console.web.resources import open_resources
from shared.process.heartbeat import Heartbeat
from shared.process.logs import configure
from shared.settings import current

configure(current(), "console")
_resources = open_resources(current())
app = create_app(current(), resources=_resources)
_heartbeat = Heartbeat(_resources.pool, _resources.name, "console")
_heartbeat.start()
# A forked process runs these at its end, and nothing that is registered with atexit.
Finalize(None, _resources.pool.close, exitpriority=1)
Finalize(None, _heartbeat.stop, exitpriority=2)
