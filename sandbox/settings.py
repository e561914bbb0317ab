"""The settings of a sandbox, and the command line that sets them."""

from __future__ import annotations

import argparse
from dataclasses import MISSING, dataclass, fields
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class SandboxSettings:
    """The settings of one sandbox. Each is an option of the command line."""

    door: str
    signing_key: str
    port: int = 8082
    host: str = "127.0.0.1"
    data: Path | None = None
    requests_per_minute: int = 120
    minute_seconds: float = 60.0
    burst_per_second: int = 5
    latency_ms: float = 0.0
    delivery_seconds: float = 5.0
    retry_seconds: float = 5.0
    tries: int = 3
    client_id: str = "sandbox-client"
    client_secret: str = "sandbox-client-secret"  # noqa: S105 - of the sandbox, not of Front
    access_token_seconds: float = 3600.0
    rotate_refresh_tokens: bool = False
    echo: bool = False
    remember: bool = False
    seed: int | None = None


HELP = {
    "door": "URL that webhooks go to",
    "signing_key": "key that signs webhooks",
    "port": "port to listen on; 0 takes any free port",
    "host": "address to listen on",
    "data": "folder of ledger.jsonl",
    "requests_per_minute": "API calls per minute of a company; 0 is no limit",
    "minute_seconds": "seconds that a minute of that limit lasts",
    "burst_per_second": "API calls per second of one resource; 0 is no limit",
    "latency_ms": "milliseconds that each API call takes",
    "delivery_seconds": "seconds until a webhook times out",
    "retry_seconds": "seconds between two tries of a webhook",
    "tries": "number of tries of a webhook",
    "client_id": "OAuth client id of the app",
    "client_secret": "OAuth client secret of the app",
    "access_token_seconds": "seconds until an OAuth access token expires",
    "rotate_refresh_tokens": "issue a new refresh token with each refresh",
    "echo": "send webhooks also for changes made through the API",
    "remember": "keep companies, mail and tokens over a clean stop; needs --data",
    "seed": "makes faults, duplicates and order repeatable",
}
TYPES = {"data": Path, "seed": int, "door": str, "signing_key": str}


def read_settings(arguments: list[str] | None = None) -> SandboxSettings:
    """Read the settings from a command line: `serve`, and an option for each setting."""
    parser = argparse.ArgumentParser(prog="sandbox", description="A small Front on your machine.")
    options = parser.add_subparsers(required=True).add_parser("serve", help="run until TERM")
    for field in fields(SandboxSettings):
        flag = f"--{field.name.replace('_', '-')}"
        if isinstance(field.default, bool):
            options.add_argument(flag, action="store_true", help=HELP[field.name])
            continue
        value_type = TYPES.get(field.name) or type(field.default)
        default = None if field.default is MISSING else field.default
        required = field.default is MISSING
        options.add_argument(flag, type=value_type, default=default, required=required, help=HELP[field.name])
    settings = SandboxSettings(**vars(parser.parse_args(arguments)))
    if settings.remember and not settings.data:
        parser.error("--remember needs --data")
    return settings
