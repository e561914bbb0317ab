"""Runs all of Mailroom on this machine, with servers of its own where none are given."""

from __future__ import annotations

import os
import secrets
import socket
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from console.up.embedded import Postgres, Server, Valkey, hold
from console.up.environment import for_programs, keep_secrets, published
from console.up.runner import CONFIGURATION, Program, Runner, StopRequests, say, stop_on_signals
from shared.db.core.migrate import migrate
from shared.db.core.session import operator_errors
from shared.errors import ConfigurationError, MailroomError
from shared.settings import Settings, load

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


ROOT = Path(__file__).parents[1]
NOT_KEPT_RUNNING = "release"
# The rest of a demo: a small Front, and what fills it with people and mail.
DEMO = {"sandbox": "mailroom sandbox serve --remember", "demo": "python -m console.up.demo"}
# Which setting holds the port of a program.
PORTS = {"web": "port", "console": "console_port", "sandbox": "sandbox_port"}


class PortTaken(MailroomError):
    """Another program listens where ours should."""

    code = "port_taken"


def up(demo: bool, data: Path) -> int:
    """Run everything until Ctrl-C or TERM (0); 78 when the configuration is wrong, 1 when it cannot start."""
    data = data.resolve()
    os.environ["MAILROOM_DATA"] = str(data)  # the settings and all programs mean the same folder
    try:
        with hold(data), stop_on_signals() as stop, ExitStack() as stack:
            return _run(demo, data, stop, stack)
    except ConfigurationError as error:
        say(str(error))
        return CONFIGURATION
    except (MailroomError, PermissionError) as error:
        say(str(error))
        return 1


def commands(procfile: str, *, demo: bool) -> dict[str, str]:
    """The commands to keep running, by name."""
    lines = (line.partition(":") for line in procfile.splitlines() if line.strip())
    listed = {name: command.strip() for name, _, command in lines if name != NOT_KEPT_RUNNING}
    return listed | (DEMO if demo else {})


def _run(demo: bool, data: Path, stop: StopRequests, stack: ExitStack) -> int:
    keep_secrets(data)
    settings = load()
    named = commands((ROOT / "Procfile").read_text(encoding="utf-8"), demo=demo)
    ports = {name: getattr(settings, PORTS[name]) for name in named if name in PORTS}
    _refuse_taken(ports)
    servers = _start_servers(settings, data, stack)
    values = stack.enter_context(published(data, _passing(servers, settings, demo=demo)))
    with operator_errors():
        migrate(load().database_url.get_secret_value())
    environment = _environment(values, data)
    programs = [Program(name, text, environment=environment, folder=ROOT) for name, text in named.items()]
    return Runner(programs, servers).run(stop, _when_all_listen(ports))


def _start_servers(settings: Settings, data: Path, stack: ExitStack) -> list[Server]:
    """Start what has no URL. They stop in the opposite order: Valkey, then PostgreSQL."""
    kinds: list[Callable[[], Server]] = []
    if not settings.database_url.get_secret_value():
        kinds.append(lambda: Postgres(data))
    if not settings.redis_url.get_secret_value():
        kinds.append(lambda: Valkey(data))
    return [stack.enter_context(kind()) for kind in kinds]


def _passing(servers: list[Server], settings: Settings, *, demo: bool) -> dict[str, str]:
    sandbox = f"http://127.0.0.1:{settings.sandbox_port}"
    front = {"FRONT_API_URL": sandbox, "FRONT_APP_URL": sandbox, **demo_app(settings)} if demo else {}
    return {server.setting: server.url for server in servers} | front | _where_people_come(settings)


def demo_app(settings: Settings) -> dict[str, str]:
    """The app that the demo's Front is to know, where the settings name none in full; Front is started with it, too."""
    if settings.front_client_id and settings.front_client_secret.get_secret_value():
        return {}
    return {"FRONT_CLIENT_ID": "sandbox-client", "FRONT_CLIENT_SECRET": secrets.token_urlsafe(24)}


def _where_people_come(settings: Settings) -> dict[str, str]:
    """The console here, unless somebody said how people reach it."""
    if "public_url" in settings.model_fields_set:
        return {}
    return {"PUBLIC_URL": f"http://localhost:{settings.console_port}"}


def _environment(values: Mapping[str, str], data: Path) -> dict[str, str]:
    """That of the programs: ours, the file's, and our own interpreter first on PATH."""
    environment = for_programs(values, data)
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', os.defpath)}"
    if os.geteuid() == 0:  # usual in a container; Celery would warn at each start
        environment.setdefault("PYTHONWARNINGS", "ignore:You're running the worker with superuser")
    if sys.stdout.isatty():
        environment.setdefault("LOG_FORMAT", "console")  # the programs themselves only see a pipe
    return environment


def _refuse_taken(ports: Mapping[str, int]) -> None:
    taken = {name: port for name, port in ports.items() if _listens(port)}
    if taken:
        which = ", ".join(f"port {port} ({name})" for name, port in taken.items())
        settings = ", ".join(PORTS[name].upper() for name in taken)
        raise PortTaken(f"taken: {which}. Stop what listens there, or choose others with {settings}")


def _listens(port: int) -> bool:
    with socket.socket() as client:
        client.settimeout(0.2)
        return client.connect_ex(("127.0.0.1", port)) == 0


def _when_all_listen(ports: Mapping[str, int]) -> Callable[[], bool]:
    def ready() -> bool:
        if not all(_listens(port) for port in ports.values()):
            return False
        say(_welcome(ports))
        return True

    return ready


def _welcome(ports: Mapping[str, int]) -> str:
    places = {
        "web": "Front sends its webhooks to  http://localhost:{}/webhooks/front",
        "console": "customers connect Front at   http://localhost:{}/connect/… (./run tenant connect NAME)",
        "sandbox": "a small Front is at          http://localhost:{}/",
    }
    return "\n".join(
        [
            "",
            "Mailroom is running; Ctrl-C stops it when the running tasks are done.",
            *(f"  {places[name].format(port)}" for name, port in ports.items()),
            "Try in another terminal:",
            "  ./run status            what waits, runs and is done",
            "  ./run event list        the events, and their ids",
            "  ./run event show EVT    one event: its people, files, action and history",
            "",
        ]
    )
