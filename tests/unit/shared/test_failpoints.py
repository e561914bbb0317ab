"""Failpoints fire once a process, never in production, and unknown names are refused."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared import failpoints
from shared.failpoints import EFFECTS, POINTS, Crash, arm, parse, reach
from shared.settings import Settings

ROOT = Path(__file__).parents[3]
HERE = "claimed_before_run"
REACH = f"from shared.failpoints import arm, reach; arm('{HERE}:%s'); reach('{HERE}')"


@pytest.fixture(autouse=True)
def _disarm_afterwards() -> Iterator[None]:
    yield
    arm("")


@pytest.mark.parametrize(
    ("text", "crash"),
    [
        ("", None),
        ("half_stored", Crash(point="half_stored", how="kill")),
        ("half_stored:stop", Crash(point="half_stored", how="stop")),
        (f"{HERE}:segv:store_attachment", Crash(point=HERE, how="segv", of="store_attachment")),
    ],
)
def test_a_crash_has_a_point_an_effect_and_a_kind_of_task(text: str, crash: Crash | None) -> None:
    assert parse(text) == crash


@pytest.mark.parametrize(("text", "known"), [("nowhere", POINTS), (f"{HERE}:loudly", tuple(EFFECTS))])
def test_an_unknown_name_is_refused_with_the_known_ones(text: str, known: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=", ".join(known)):
        parse(text)


@pytest.mark.parametrize("program", ["ingest", "workers.sweeping.sweeper", "workers.app"])
def test_a_program_with_an_unknown_point_does_not_start(program: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", program],
        env={"MAILROOM_CRASH_AT": "nowhere"},
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 78
    assert "MAILROOM_CRASH_AT: no such point; one of received_before_keep" in done.stderr.decode()


def test_production_refuses_to_crash() -> None:
    with pytest.raises(ValueError, match="not for production"):
        Settings(mailroom_env="production", mailroom_crash_at=HERE)


@pytest.mark.parametrize(("how", "error"), [("exit", SystemExit), ("memory", MemoryError), ("error", RuntimeError)])
def test_a_failpoint_fires_once(how: str, error: type[BaseException]) -> None:
    arm(f"{HERE}:{how}")
    with pytest.raises(error):
        reach(HERE)
    reach(HERE)


@pytest.mark.parametrize(("how", "signal_number"), [("kill", signal.SIGKILL), ("segv", signal.SIGSEGV)])
def test_the_process_really_dies(how: str, signal_number: signal.Signals) -> None:
    done = subprocess.run([sys.executable, "-c", REACH % how], cwd=ROOT, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (-signal_number, f"failpoint {HERE}: {how}\n".encode())


def test_only_the_armed_point_fires_and_only_for_its_kind_of_task() -> None:
    arm(f"{HERE}:error:store_attachment")
    reach("half_stored")
    reach(HERE, of="apply_action")
    with pytest.raises(RuntimeError):
        reach(HERE, of="store_attachment")


def test_every_point_is_reached_at_one_place() -> None:
    sources = [path.read_text() for folder in ("ingest", "workers", "shared") for path in (ROOT / folder).rglob("*.py")]
    reached = re.findall(r'failpoints\.reach\("(\w+)"', "\n".join(sources))
    assert sorted(reached) == sorted(failpoints.POINTS)
