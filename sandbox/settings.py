"""Everything that can be chosen when a sandbox starts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class SandboxSettings:
    """One sandbox: where it listens, where it sends, how strict and how slow it is."""

    door: str
    signing_key: str
    port: int = 8082
    host: str = "127.0.0.1"
    data: Path | None = None
    requests_per_minute: int = 120
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
