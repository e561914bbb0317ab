"""The first page: what waits, how old it is, and what needs somebody."""

from __future__ import annotations

from typing import TYPE_CHECKING

from console.web.pages.shell import page, reading, render
from shared.db.reading import status

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue


@page("/")
def overview() -> ResponseReturnValue:
    """Show the figures of all tenants together."""
    with reading() as conn:
        parked = status.parked_work(conn)
        processes = status.running_processes(conn)
    return render("pages/overview.html", title="Overview", section="Overview", parked=parked, processes=processes)
