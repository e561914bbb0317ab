"""The same work as an arq job: `python -m arq bench.peers.fastapi_arq.worker.WorkerSettings`.

The row is committed with the change, as in the textbook worker.
"""

from __future__ import annotations

import os
from typing import Any, ClassVar

import asyncpg
import httpx
from arq import Retry
from arq.connections import RedisSettings

from bench.peers.webhook import SLOTS, TIMEOUT_SECONDS, TRIES, VISIBILITY_SECONDS, message_of

FIND = """
SELECT token FROM peer.tenants JOIN peer.users USING (company_id) WHERE company_id = $1 AND address = ANY($2) LIMIT 1
"""
RECORD = """
INSERT INTO peer.events (event_id, company_id, conversation_id) VALUES ($1, $2, $3)
ON CONFLICT DO NOTHING RETURNING event_id
"""
#: arq waits this much longer than the job timeout before another worker gets the job of a dead one.
ARQ_ADDS_SECONDS = 10


async def process_webhook(ctx: dict[str, Any], body: str) -> None:
    """Do the work of one webhook; arq retries a job that raises Retry."""
    try:
        await _process(ctx, body)
    except (httpx.HTTPError, asyncpg.PostgresConnectionError, OSError) as error:
        raise Retry(defer=2 ** (ctx["job_try"] - 1)) from error


async def _process(ctx: dict[str, Any], body: str) -> None:
    message = message_of(body)
    async with ctx["pool"].acquire() as conn, conn.transaction():
        token = await conn.fetchval(FIND, message.company_id, message.addresses)
        is_new = await conn.fetchval(RECORD, message.event_id, message.company_id, message.conversation_id)
        if token and is_new:
            await _archive(ctx["front"], message.conversation_id, token)


async def _archive(front: httpx.AsyncClient, conversation_id: str, token: str) -> None:
    bearer = {"Authorization": f"Bearer {token}"}
    answer = await front.patch(f"/conversations/{conversation_id}", json={"status": "archived"}, headers=bearer)
    answer.raise_for_status()


async def startup(ctx: dict[str, Any]) -> None:
    """Open the connections that jobs share."""
    ctx["pool"] = await asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=SLOTS, max_size=SLOTS)
    ctx["front"] = httpx.AsyncClient(base_url=os.environ["FRONT_API_URL"], timeout=TIMEOUT_SECONDS)


async def shutdown(ctx: dict[str, Any]) -> None:
    """Close them."""
    await ctx["front"].aclose()
    await ctx["pool"].close()


class WorkerSettings:
    """The settings of arq."""

    functions: ClassVar = [process_webhook]
    redis_settings = RedisSettings.from_dsn(os.environ["REDIS_URL"])
    on_startup = startup
    on_shutdown = shutdown
    max_jobs = SLOTS
    poll_delay = 0.05  # the default of half a second alone would decide the measurement
    max_tries = TRIES
    job_timeout = VISIBILITY_SECONDS - ARQ_ADDS_SECONDS
