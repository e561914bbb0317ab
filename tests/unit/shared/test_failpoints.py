"""Failpoints: only the known ones, never in production, once a process, and each is reached somewhere."""

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
def _unarmed() -> Iterator[None]:
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
def test_a_crash_is_a_point_and_a_way(text: str, crash: Crash | None) -> None:
    assert parse(text) == crash


@pytest.mark.parametrize(("text", "known"), [("nowhere", POINTS), (f"{HERE}:loudly", tuple(EFFECTS))])
def test_what_is_unknown_is_refused_with_what_is_known(text: str, known: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=", ".join(known)):
        parse(text)


@pytest.mark.parametrize("program", ["ingest", "workers.sweeping.sweeper", "workers.app"])
def test_a_program_that_is_told_an_unknown_point_does_not_start(program: str) -> None:
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
def test_it_fires_once(how: str, error: type[BaseException]) -> None:
    arm(f"{HERE}:{how}")
    with pytest.raises(error):
        reach(HERE)
    reach(HERE)


@pytest.mark.parametrize(("how", "died_of"), [("kill", signal.SIGKILL), ("segv", signal.SIGSEGV)])
def test_a_death_is_a_real_one(how: str, died_of: signal.Signals) -> None:
    done = subprocess.run([sys.executable, "-c", REACH % how], cwd=ROOT, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (-died_of, f"failpoint {HERE}: {how}\n".encode())


def test_only_the_armed_point_fires_and_only_at_its_kind_of_work() -> None:
    arm(f"{HERE}:error:store_attachment")
    reach("half_stored")
    reach(HERE, of="apply_action")
    with pytest.raises(RuntimeError):
        reach(HERE, of="store_attachment")


def test_every_point_is_reached_at_one_place() -> None:
    sources = [path.read_text() for folder in ("ingest", "workers", "shared") for path in (ROOT / folder).rglob("*.py")]
    reached = re.findall(r'failpoints\.reach\("(\w+)"', "\n".join(sources))
    assert sorted(reached) == sorted(failpoints.POINTS)
