"""Run all of Mailroom on this machine, with embedded servers where no URL is set."""

from __future__ import annotations

import os
import secrets
import shlex
import signal
import socket
import sys
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from console.up.data_folder import ensure_secrets, locked, program_environment, published
from console.up.demo import add_endpoint_of_host, login_path
from console.up.embedded import Postgres, Server, Valkey
from console.up.runner import EXIT_CONFIGURATION, Program, Runner, say
from shared.db.core.migrate import migrate
from shared.db.core.session import operator_errors, session
from shared.db.users.users import rekey_addresses
from shared.errors import ConfigurationError, MailroomError
from shared.host.endpoint_rules import may_connect
from shared.process import stopping
from shared.settings import REQUIRED_IN_PRODUCTION, Settings, load, unusable_data

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ROOT = Path(__file__).parents[2]
# The Procfile stands beside the packages in the source, and beside this module in a wheel.
PACKED_PROCFILE = Path(__file__).with_name("Procfile")
RELEASE = "release"  # the Procfile's command that runs once; `up` migrates by itself
# A demo has two programs more: a small Front, and one that sends mail through it.
DEMO = {"sandbox": "python -m console sandbox serve --remember", "demo": "python -m console.up.demo"}
# A third one gets the messages. It is there in the source alone, and not where Mailroom is installed as a package.
HOST, HOST_FILE = "host", Path("examples", "host", "app.py")
# The setting with a program's port; that of the metrics is the door's, too.
PORTS = {
    "web": "port",
    "console": "console_port",
    "sandbox": "sandbox_port",
    HOST: "demo_host_port",
    "metrics": "metrics_port",
}
# The demo's host application is on this machine.
LOOPBACK = "127.0.0.0/8,::1/128"


class PortTaken(MailroomError):
    """Another program listens on a port of ours."""

    code = "port_taken"


def up(demo: bool, data: Path) -> int:
    """Run everything until Ctrl-C or TERM (0). Return 78 if the configuration is wrong, 1 if it cannot start."""
    data = data.resolve()
    os.environ["MAILROOM_DATA"] = str(data)  # the settings and all programs mean the same folder
    try:
        with locked(data), ExitStack() as stack:
            return _run(demo, data, stopping.on_signals(signal.SIGHUP), stack)
    except ConfigurationError as error:
        say(str(error))
        return EXIT_CONFIGURATION
    except MailroomError as error:
        say(str(error))
        return 1
    except OSError as error:
        say(_unusable(error, data))
        return EXIT_CONFIGURATION


def _unusable(error: OSError, data: Path) -> str:
    """Say what the embedded servers may not use: a folder in MAILROOM_DATA, or one for their sockets."""
    place = Path(str(error.filename or data))
    if place.is_relative_to(data):
        return str(unusable_data(data, error))
    return (
        f"cannot use {place} ({error.strerror}); let user {os.geteuid()} write to {place.parent}, or set DATABASE_URL "
        "and REDIS_URL to servers of your own"
    )


def commands(procfile: str, *, demo: bool) -> dict[str, str]:
    """Return the commands to keep running, by name."""
    lines = (line.partition(":") for line in procfile.splitlines() if line.strip())
    listed = {name: command.strip() for name, _, command in lines if name != RELEASE}
    return listed | (DEMO if demo else {})


def _procfile() -> Path:
    return PACKED_PROCFILE if PACKED_PROCFILE.exists() else ROOT / "Procfile"


def _typed() -> str:
    """Return the command that people type: the source has a script for it."""
    return "./run" if (ROOT / "run").exists() else "mailroom"


def host_command(root: Path, data: Path, settings: Settings) -> str | None:
    """Return the command of the demo's host application.

    None where its file or one of its packages is missing, or where ENDPOINT_NETWORKS is set to other networks.
    """
    is_allowed = "endpoint_networks" not in settings.model_fields_set or may_connect(
        "127.0.0.1", "http", settings.endpoint_networks
    )
    if not is_allowed or not (root / HOST_FILE).exists() or find_spec("standardwebhooks") is None:
        return None
    return f"python {HOST_FILE} --port {settings.demo_host_port} --folder {shlex.quote(str(data / HOST))}"


def demo_oauth_client(settings: Settings) -> dict[str, str]:
    """Make the OAuth client that sandbox and console share; none if the settings name one in full."""
    if settings.front_client_id and settings.front_client_secret.get_secret_value():
        return {}
    return {"FRONT_CLIENT_ID": "sandbox-client", "FRONT_CLIENT_SECRET": secrets.token_urlsafe(24)}


def _run(demo: bool, data: Path, stop: stopping.Stop, stack: ExitStack) -> int:
    if demo:
        load().refuse_in_production("the demo")
    production = load().mailroom_env == "production"
    ensure_secrets(data, production=production)
    settings = load(*REQUIRED_IN_PRODUCTION) if production else load()
    command_of = commands(_procfile().read_text(encoding="utf-8"), demo=demo)
    if demo and (host := host_command(ROOT, data, settings)):
        command_of[HOST] = host
    ports = {name: getattr(settings, PORTS[name]) for name in command_of if name in PORTS}
    _refuse_taken(ports | ({"metrics": settings.metrics_port} if settings.metrics_port else {}))
    servers = _start_servers(settings, data, stack)
    values = stack.enter_context(
        published(data, _temporary_settings(servers, settings, demo=demo), production=production)
    )
    url = load().database_url.get_secret_value()
    with operator_errors():
        migrate(url)
    with session(url) as conn:
        rekey_addresses(conn)
        console = load().public_url + (login_path(conn) if demo else "/")
        secret = add_endpoint_of_host(conn, load()) if HOST in command_of else ""
    environment = _environment(values, settings, data)
    environments = {HOST: _environment_of_host(environment, secret)}
    programs = [
        Program(name, text, environment=environments.get(name, environment | _own_metrics(name, settings)), folder=ROOT)
        for name, text in command_of.items()
    ]
    return Runner(programs, servers).run(stop, _welcome_once_all_listen(ports, console))


def _environment_of_host(environment: Mapping[str, str], secret: str) -> dict[str, str]:
    """Return the environment of the host application, which is not ours: it has none of our settings."""
    return {"PATH": environment["PATH"], "PYTHONUNBUFFERED": "1", "WEBHOOK_SECRET": secret}


def _start_servers(settings: Settings, data: Path, stack: ExitStack) -> list[Server]:
    """Start a server for each missing URL. They stop in reverse order: Valkey, then PostgreSQL."""
    kinds: list[Callable[[], Server]] = []
    if not settings.database_url.get_secret_value():
        kinds.append(lambda: Postgres(data))
    if not settings.redis_url.get_secret_value():
        kinds.append(lambda: Valkey(data))
    return [stack.enter_context(kind()) for kind in kinds]


def _temporary_settings(servers: list[Server], settings: Settings, *, demo: bool) -> dict[str, str]:
    sandbox = f"http://127.0.0.1:{settings.sandbox_port}"
    front = {"FRONT_API_URL": sandbox, "FRONT_APP_URL": sandbox, "ENDPOINT_NETWORKS": LOOPBACK}
    added = front | demo_oauth_client(settings) if demo else {}
    return {server.setting: server.url for server in servers} | added | _public_url(settings)


def _public_url(settings: Settings) -> dict[str, str]:
    """Return the console's address on this machine, unless somebody set PUBLIC_URL."""
    if "public_url" in settings.model_fields_set:
        return {}
    return {"PUBLIC_URL": f"http://localhost:{settings.console_port}"}


def _environment(values: Mapping[str, str], settings: Settings, data: Path) -> dict[str, str]:
    """Return the environment of the programs, with our own interpreter first on PATH."""
    environment = program_environment(values, data)
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', os.defpath)}"
    environment["WEB_MODULE"] = "ingest"  # the console is a program of its own here
    if settings.mailroom_env == "development":
        environment["HOST"] = settings.host or "127.0.0.1"  # a PORT chosen here is no platform's
    if os.geteuid() == 0:  # usual in a container; Celery would warn at each start
        environment.setdefault("PYTHONWARNINGS", "ignore:You're running the worker with superuser")
    if sys.stdout.isatty():
        environment.setdefault("LOG_FORMAT", "console")  # the programs themselves only see a pipe
    return environment


def _own_metrics(program: str, settings: Settings) -> dict[str, str]:
    """Leave METRICS_PORT to the door: the other programs of this machine take any free port each."""
    return {} if program == "web" or settings.metrics_port is None else {"METRICS_PORT": "0"}


def _refuse_taken(ports: Mapping[str, int]) -> None:
    taken = {name: port for name, port in ports.items() if _listens(port)}
    if taken:
        which = ", ".join(f"port {port} ({name})" for name, port in taken.items())
        settings = ", ".join(PORTS[name].upper() for name in taken)
        raise PortTaken(f"taken: {which}. Stop the program that listens there, or choose other ports with {settings}")


def _listens(port: int) -> bool:
    with socket.socket() as client:
        client.settimeout(0.2)
        return client.connect_ex(("127.0.0.1", port)) == 0


def _welcome_once_all_listen(ports: Mapping[str, int], console: str) -> Callable[[], bool]:
    def is_ready() -> bool:
        if not all(_listens(port) for port in ports.values()):
            return False
        say(_welcome(ports, console))
        return True

    return is_ready


def _way_in(console: str) -> str:
    is_link = not console.endswith("/")
    added = f"({_typed()} admin add YOU@EXAMPLE.COM prints a link to log in)"
    return "(this link logs you in, once)" if is_link else added


def _welcome(ports: Mapping[str, int], console: str) -> str:
    typed = _typed()
    places = {
        "web": "Front sends its webhooks to  http://localhost:{}/webhooks/front",
        "console": f"customers connect Front at   http://localhost:{{}}/connect/… ({typed} tenant connect NAME)",
        "sandbox": "a small Front is at          http://localhost:{}/",
        HOST: "an application gets mail at  http://localhost:{}/ (examples/host)",
    }
    return "\n".join(
        [
            "",
            "Mailroom is running; Ctrl-C stops it when the running tasks are done.",
            *(f"  {places[name].format(port)}" for name, port in ports.items()),
            f"  the console is at            {console}",
            f"                               {_way_in(console)}",
            "Try in another terminal:",
            f"  {typed} status            count what waits, runs and is done",
            f"  {typed} event list        list the events with their ids",
            f"  {typed} event show EVT    show one event: its people, files, action and history",
            "",
        ]
    )
