"""`python -m sandbox serve`: a sandbox in a process of its own."""

from __future__ import annotations

import argparse
import signal
from dataclasses import MISSING, fields
from pathlib import Path

from sandbox.server import start_in_thread
from sandbox.settings import SandboxSettings

HELP = {
    "port": "where to listen; 0 takes any free port",
    "door": "where webhooks go",
    "signing_key": "what they are signed with",
    "data": "folder for ledger.jsonl",
    "latency_ms": "how long each API call takes",
    "delivery_seconds": "how long the door may take",
    "echo": "send webhooks for changes made through the API, too",
    "remember": "go on after a clean stop with the companies, mail and tokens there were; needs --data",
    "rotate_refresh_tokens": "give out a new refresh token with each refresh",
    "requests_per_minute": "for each company; 0 is no limit",
    "burst_per_second": "for each resource; 0 is no limit",
    "seed": "makes faults, duplicates and order repeatable",
}
EVENT_TYPES = {"data": Path, "seed": int, "door": str, "signing_key": str}


def main(arguments: list[str] | None = None) -> None:
    """Serve until TERM or INT."""
    settings = read_settings(arguments)
    ends = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)  # the threads to come inherit it: only the wait below takes them
    running = start_in_thread(settings)
    print(f"sandbox: listening on {running.url}, sending to {settings.door}", flush=True)
    signal.sigwait(ends)
    running.stop()


def read_settings(arguments: list[str] | None = None) -> SandboxSettings:
    """The settings a command line asks for; each field is an option."""
    parser = argparse.ArgumentParser(prog="sandbox", description="A small Front on your machine.")
    options = parser.add_subparsers(required=True).add_parser("serve", help="run until TERM")
    for field in fields(SandboxSettings):
        flag = f"--{field.name.replace('_', '-')}"
        if isinstance(field.default, bool):
            options.add_argument(flag, action="store_true", help=HELP.get(field.name))
            continue
        kind = EVENT_TYPES.get(field.name) or type(field.default)
        default = None if field.default is MISSING else field.default
        required = field.default is MISSING
        options.add_argument(flag, type=kind, default=default, required=required, help=HELP.get(field.name))
    settings = SandboxSettings(**vars(parser.parse_args(arguments)))
    if settings.remember and not settings.data:
        parser.error("--remember needs --data")
    return settings


if __name__ == "__main__":
    main()
