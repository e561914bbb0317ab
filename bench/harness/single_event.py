"""One event by itself, while others have much to do."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bench.harness.mail import desk
from bench.harness.processes import wait_until

if TYPE_CHECKING:
    from bench.harness.small_front import SmallFront

PAUSE = 0.5
GIVES_UP_AFTER = 60.0


def seconds_to_effect(front: SmallFront, company: str) -> float:
    """From before the webhook was sent until the conversation was seen to be archived, after a pause."""
    time.sleep(PAUSE)
    began = time.monotonic()
    to = [{"handle": desk(company), "role": "to"}]
    [event] = front.send("inbound_received", company, recipients=to, expect="archived")["events"]
    conversation = event["conversation_id"]
    wait_until(lambda: front.conversation(conversation)["status"] == "archived", GIVES_UP_AFTER, every=0.02)
    return time.monotonic() - began
