"""The requests that the door rejected: how many for each reason, what to do, and the last ones of each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from console.web.pages.shell import page, render
from console.web.resources import current_resources
from shared.errors import StoreUnavailable

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue


@page("/rejected")
def rejected_page() -> ResponseReturnValue:
    """List the reasons of the last 24 hours, the most frequent first. The counts are in Redis, which may be away."""
    try:
        reasons = current_resources().lookups.rejected.get().reasons
    except StoreUnavailable:
        reasons = None
    return render("pages/rejected.html", title="Rejected", section="Rejected", reasons=reasons)
