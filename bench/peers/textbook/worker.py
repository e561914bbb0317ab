"""The same work as a Celery task: `celery -A bench.peers.textbook.worker worker -P threads`.

The row is committed with the change. So a failed try leaves no row, and a second delivery waits for the first one.
"""

from __future__ import annotations

import os

import psycopg
import requests
from psycopg_pool import ConnectionPool
from requests.adapters import HTTPAdapter

from bench.peers.textbook.tasks import TASK, queue
from bench.peers.webhook import SLOTS, TIMEOUT_SECONDS, TRIES, message_of

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
    """Find the tenant, record the event, archive the conversation."""
    message = message_of(body)
    with pool.connection() as conn:
        found = conn.execute(FIND, (message.company_id, message.addresses)).fetchone()
        is_new = conn.execute(RECORD, (message.event_id, message.company_id, message.conversation_id)).rowcount
        if found and is_new:
            archive(message.conversation_id, found[0])


def archive(conversation_id: str, token: str) -> None:
    """Archive a conversation. Raises requests.RequestException unless Front confirms it."""
    url = f"{os.environ['FRONT_API_URL']}/conversations/{conversation_id}"
    bearer = {"Authorization": f"Bearer {token}"}
    front.patch(url, json={"status": "archived"}, headers=bearer, timeout=TIMEOUT_SECONDS).raise_for_status()
