"""The same work as a Celery task: `celery -A bench.peers.textbook.worker worker -P threads`.

The row is committed with the change: a try that failed leaves none behind, so that the next one is not taken for a
second delivery, and a second delivery meanwhile waits for the first.
"""

from __future__ import annotations

import os

import psycopg
import requests
from psycopg_pool import ConnectionPool
from requests.adapters import HTTPAdapter

from bench.peers.terms import PATIENCE_SECONDS, SLOTS, TRIES
from bench.peers.textbook.tasks import TASK, queue
from bench.peers.wanted import wanted

FIND = """
SELECT token FROM peer.tenants JOIN peer.users USING (company_id) WHERE company_id = %s AND address = ANY(%s) LIMIT 1
"""
RECORD = "INSERT INTO peer.events (event_id, company_id, conversation_id) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING"

pool = ConnectionPool(os.environ["DATABASE_URL"], min_size=SLOTS, max_size=SLOTS, open=True)
front = requests.Session()
front.mount("http://", HTTPAdapter(pool_maxsize=SLOTS))


@queue.task(
    name=TASK,
    autoretry_for=(requests.RequestException, psycopg.OperationalError),
    retry_backoff=True,
    max_retries=TRIES - 1,
)
def process_webhook(body: str) -> None:
    """Find out whom it concerns, record it, archive."""
    asked = wanted(body)
    with pool.connection() as conn:
        found = conn.execute(FIND, (asked.company_id, asked.addresses)).fetchone()
        is_new = conn.execute(RECORD, (asked.event_id, asked.company_id, asked.conversation_id)).rowcount
        if found and is_new:
            archive(asked.conversation_id, found[0])


def archive(conversation_id: str, token: str) -> None:
    """Raises requests.RequestException unless Front says that it is done."""
    url = f"{os.environ['FRONT_API_URL']}/conversations/{conversation_id}"
    bearer = {"Authorization": f"Bearer {token}"}
    front.patch(url, json={"status": "archived"}, headers=bearer, timeout=PATIENCE_SECONDS).raise_for_status()
