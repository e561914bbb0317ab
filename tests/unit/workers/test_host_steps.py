"""A step's end as an answer, and steps that are missing or broken."""

from __future__ import annotations

import json
import time
from importlib.metadata import EntryPoint
from typing import Any

import pytest

from shared.errors import StorageUnavailable
from shared.host.body import build
from shared.host.step import GROUP, Context, GiveUp, Notification, TryLater
from tests.unit.host.builders import LINKS, event, file, notification
from workers.notifying import host_steps
from workers.notifying.decisions import Again, EndpointAnswer, GivenUp, Sent, decide
from workers.notifying.host_steps import HostSteps, load_steps

BODY = build(notification(event=event(files=[file()])), links=LINKS)
seen: list[tuple[Notification, Context]] = []


class Storage:
    """A storage whose files hold their own path."""

    def read(self, path: str) -> Any:
        return iter([path.encode()])


def run(step: Any, body: bytes = BODY) -> EndpointAnswer:
    storage: Any = Storage()
    return HostSteps(found={"s": step}).run("s", body, attempt=2, until=time.monotonic() + 50, storage=storage).answer


def raising(error: BaseException) -> Any:
    def step(message: Notification, context: Context) -> None:
        raise error

    return step


def note(message: Notification, context: Context) -> None:
    seen.append((message, context))


def test_a_step_gets_the_notification_and_what_it_needs_beside_it() -> None:
    seen.clear()
    assert run(note).status == 200
    [(message, context)] = seen
    assert message == json.loads(BODY)
    assert (context.step, context.id, context.attempt) == ("s", message["id"], 2)
    assert 0 < context.seconds_left() <= 50
    [content] = context.read_file(message["data"]["attachments"][0])
    assert content.startswith(b"7/")
    with pytest.raises(ValueError, match="failed"):
        context.read_file({**message["data"]["attachments"][0], "state": "failed"})


@pytest.mark.parametrize(
    ("error", "decision", "said"),
    [
        (TryLater("the books are closed", seconds=900), Again, "the books are closed"),
        (ConnectionResetError("10.1.2.3"), Again, "raised ConnectionResetError"),
        (TimeoutError(), Again, "raised TimeoutError"),
        (StorageUnavailable("the storage is away"), Again, "the storage is away"),
        (GiveUp("no such customer"), GivenUp, "no such customer"),
    ],
)
def test_what_a_step_raises_decides_what_follows(error: Exception, decision: type, said: str) -> None:
    answer = run(raising(error))
    decided = decide(answer, attempt=1)
    assert isinstance(decided, decision)
    assert said in decided.reason  # type: ignore[attr-defined]
    assert "10.1.2.3" not in decided.reason  # type: ignore[attr-defined]


def test_a_step_names_the_earliest_time_of_the_next_try() -> None:
    decided = decide(run(raising(TryLater("closed", seconds=900))), attempt=1)
    assert isinstance(decided, Again)
    assert decided.delay == 900


@pytest.mark.parametrize("error", [KeyError("a bug"), MemoryError()])
def test_a_bug_goes_on_to_whoever_settles_the_attempt(error: BaseException) -> None:
    with pytest.raises(type(error)):
        run(raising(error))


def test_a_test_runs_no_step() -> None:
    seen.clear()
    body = build(notification("ping", event=None, facts={"endpoint_id": 1, "endpoint": "s"}), links=LINKS)
    assert isinstance(decide(run(note, body), attempt=1, is_test=True), Sent)
    assert seen == []


def test_installed_steps_are_loaded_and_broken_ones_named(monkeypatch: pytest.MonkeyPatch) -> None:
    points = {"good": f"{__name__}:note", "gone": "no.such.module:step", "odd": f"{__name__}:BODY"}
    found = [EntryPoint(name=name, value=value, group=GROUP) for name, value in points.items()]
    monkeypatch.setattr(host_steps, "entry_points", lambda group: found if group == GROUP else [])
    steps = load_steps()
    assert (list(steps.found), steps.broken) == (["good"], {"gone": "ModuleNotFoundError", "odd": "TypeError"})
    assert "cannot be loaded: TypeError" in steps.problem("odd")
    storage: Any = Storage()
    answers = [steps.run(name, BODY, attempt=1, until=0, storage=storage).answer for name in ("odd", "other")]
    assert all(isinstance(decide(answer, attempt=1), Again) for answer in answers)
    assert "no package" in answers[1].problem
