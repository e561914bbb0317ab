"""The page after connecting: it listens for the first event, and shows it without a word of what was written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from flask import Blueprint, make_response, render_template

from console.web import browser
from console.web.problems import page
from console.web.resources import current
from shared.db.reading import live

if TYPE_CHECKING:
    from flask.wrappers import Response

    from shared.db.reading.live import FirstEvent

LISTENS_FOR = timedelta(minutes=10)
AGAIN_SECONDS = 3
#: What a state means to somebody who has never seen Mailroom.
STATES = {
    "processing": "it is being worked on",
    "done": "nothing is left to do",
    "ignored": "nothing has to be done for events of this type",
    "parked": "it waits until the account can work",
    "failed": "the work on it failed; tell the people who sent you the link",
}

bp = Blueprint("connected", __name__)


@bp.get("/connected")
def show() -> Response:
    """What was connected, and the first event since. Only the browser that connected it gets to see it."""
    connected = browser.connected()
    if connected is None:
        return page(
            404, "Nothing was connected in this browser", "Open the link that you were sent, and allow access in Front."
        )
    first = current().pool.run(lambda conn: live.first_since(conn, connected.tenant_id, connected.at))
    listens = datetime.now(UTC) - connected.at < LISTENS_FOR
    answer = make_response(
        render_template("connected.html", connected=connected, first=first, listens=listens, states=STATES)
    )
    if listens and _is_open(first):
        answer.headers["Refresh"] = str(AGAIN_SECONDS)
    return answer


def _is_open(first: FirstEvent | None) -> bool:
    return first is None or first.state == "processing"
