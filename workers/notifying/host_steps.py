"""Finds the steps that packages of the host application bring, and runs them as endpoints inside the worker."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import entry_points

import structlog

from shared.errors import MailroomError
from shared.host.step import GROUP, Context, GiveUp, Step, TryLater
from shared.process.scrub import hide
from shared.storage import Storage, attachment_path
from workers.notifying.decisions import EndpointAnswer
from workers.notifying.sending import SendResult

#: Of the reason that a step gives, in characters.
LONGEST_REASON = 1_000
#: A step that returned counts like an endpoint that answered this.
_DONE = 200
log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class HostSteps:
    """The steps of this process, by name. `broken` says of each that cannot be loaded what happened."""

    found: Mapping[str, Step] = field(default_factory=dict)
    broken: Mapping[str, str] = field(default_factory=dict)

    def run(self, name: str, body: bytes, *, attempt: int, until: float, storage: Storage) -> SendResult:
        """Run a step with a notification. Raises what a step raises by a bug; everything else is an answer."""
        notification = json.loads(body)
        if name not in self.found:
            return SendResult(answer=EndpointAnswer(problem=self.problem(name)), seconds=0.0)
        began = time.monotonic()
        read = partial(_read, storage, (notification["data"]["tenant"] or {}).get("id", 0))
        context = Context(step=name, id=notification["id"], attempt=attempt, until=until, _read=read)
        answer = EndpointAnswer(status=_DONE)
        if notification["type"] != "ping":  # a test asks only whether the step is here
            answer = _answer_of(self.found[name], notification, context)
        return SendResult(answer=answer, seconds=time.monotonic() - began)

    def problem(self, name: str) -> str:
        """Return why this process cannot run a step."""
        if name in self.broken:
            return f"cannot be loaded: {self.broken[name]}"
        return f"is not here: no package that is installed with this worker has a step {name!r}"


def load_steps() -> HostSteps:
    """Load the steps of all installed packages, and say in the log what was found and what is broken."""
    found, broken = dict[str, Step](), dict[str, str]()
    for point in entry_points(group=GROUP):
        try:
            step = point.load()
            if not callable(step):
                raise TypeError("it is no function")
        except Exception as exc:
            broken[point.name] = type(exc).__name__
            log.exception("step_broken", step=point.name, function=point.value)
        else:
            found[point.name] = step
            log.info("step_loaded", step=point.name, function=point.value)
    return HostSteps(found=found, broken=broken)


def _answer_of(step: Step, notification: object, context: Context) -> EndpointAnswer:
    try:
        step(notification, context)  # type: ignore[arg-type] # a body that was built here
    except GiveUp as exc:
        return EndpointAnswer(problem=f"gave up: {_reason(exc)}", wish="abort-message")
    except TryLater as exc:
        return EndpointAnswer(problem=f"tries later: {_reason(exc)}", retry_after=exc.seconds)
    except MailroomError as exc:
        return EndpointAnswer(problem=f"raised {exc.code}: {_reason(exc)}")
    except OSError as exc:  # its message may hold an address or a secret
        return EndpointAnswer(problem=f"raised {type(exc).__name__}")
    return EndpointAnswer(status=_DONE)


def _reason(error: MailroomError) -> str:
    return hide(str(error))[:LONGEST_REASON]


def _read(storage: Storage, tenant_id: int, file_id: str) -> Iterator[bytes]:
    return storage.read(attachment_path(tenant_id, file_id))
