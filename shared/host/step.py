"""The parts with which a step of the host application is written: a function that a worker runs for each message.

The package of a step names its function under the entry point group `mailroom.steps`:

    [project.entry-points."mailroom.steps"]
    crm = "acme_mailroom:store"

The function takes a notification and a Context, and returns nothing. These ends are distinguished:

- It returns: the notification is done.
- It raises TryLater, an OSError (network and files), or an error of Mailroom's that may pass: it is tried again, on the
  schedule of requests to endpoints.
- It raises GiveUp: the notification has failed, with that reason.
- It raises anything else: that is a bug. The notification has failed with the code `bug` and its traceback.

It may run twice for one notification, with the same `context.id`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypedDict

from shared.errors import MailroomError

GROUP: Final = "mailroom.steps"


class Notification(TypedDict):
    """A notification as docs/host.md has it: the same body that an endpoint gets."""

    type: str
    timestamp: str
    id: str
    position: str
    schema: str
    data: dict[str, Any]


class TryLater(MailroomError):
    """A step cannot do its work now. `seconds`: not before so many; the schedule may wait longer."""

    code = "step_tries_later"

    def __init__(self, reason: str, *, seconds: float | None = None):
        super().__init__(reason)
        self.seconds = seconds


class GiveUp(MailroomError):
    """A step can never do its work for this message: a person looks at it."""

    code = "step_gave_up"


@dataclass(frozen=True, kw_only=True)
class Context:
    """The things that a step has beside the message.

    `id` is the same whenever the notification is repeated; `attempt` counts from 1. `until` is a time of the monotonic
    clock: after it another worker may run the same notification.
    """

    step: str
    id: str
    attempt: int
    until: float
    _read: Callable[[str], Iterator[bytes]] = field(repr=False)

    def seconds_left(self) -> float:
        """Return the seconds in which the step should end."""
        return max(0.0, self.until - time.monotonic())

    def read_file(self, file: Mapping[str, Any]) -> Iterator[bytes]:
        """Return the bytes of one of the notification's `attachments`, in pieces.

        Raises ValueError for one that is not stored, and a MailroomError while the storage is away.
        """
        if file["state"] != "stored":
            raise ValueError(f"the file is {file['state']}, not stored")
        return self._read(file["id"])


Step = Callable[[Notification, Context], None]
