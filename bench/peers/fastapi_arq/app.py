"""An asynchronous view that enqueues an arq job: `uvicorn bench.peers.fastapi_arq.app:app`."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from arq import create_pool
from arq.connections import RedisSettings
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse

from bench.peers.webhook import MAX_BODY_BYTES, accepted, event_id

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

#: Whether the event's id is the job's, so that arq drops the second delivery of an event.
BY_EVENT = os.environ.get("JOB_ID") == "event"


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Keep one pool of connections for the life of the process."""
    app.state.queue = await create_pool(RedisSettings.from_dsn(os.environ["REDIS_URL"]))
    yield
    await app.state.queue.aclose()


app = FastAPI(lifespan=lifespan)


@app.post("/webhooks/front")
async def receive(request: Request) -> JSONResponse:
    """Check the webhook, queue it, answer."""
    if int(request.headers.get("content-length", 0)) > MAX_BODY_BYTES:
        raise HTTPException(413)
    body = await request.body()
    headers = request.headers
    if not accepted(body, headers.get("x-front-request-timestamp", ""), headers.get("x-front-signature", "")):
        raise HTTPException(401)
    job_id = event_id(body) if BY_EVENT else None
    job = await request.app.state.queue.enqueue_job("process_webhook", body.decode(), _job_id=job_id)
    return JSONResponse({"delivery_id": job.job_id if job else job_id})


@app.get("/livez")
async def livez() -> JSONResponse:
    """Answer that the process runs."""
    return JSONResponse({"alive": True})
