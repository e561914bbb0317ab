"""Whatever takes too long ends, and nothing else does."""

from __future__ import annotations

import asyncio
import time

import pytest

from ingest.keeper import Deadlines


async def answer(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "an answer"


def test_in_time_the_answer_is_its_own() -> None:
    assert asyncio.run(Deadlines(10).within(answer(0.001))) == "an answer"


def test_an_error_is_its_own() -> None:
    async def fail() -> None:
        await asyncio.sleep(0)
        raise KeyError("gone")

    with pytest.raises(KeyError):
        asyncio.run(Deadlines(10).within(fail()))


def test_those_that_are_late_end_in_time_and_the_others_go_on() -> None:
    async def story() -> tuple[list[object], float]:
        deadlines, began = Deadlines(0.1), time.monotonic()
        late = [deadlines.within(answer(60)) for _ in range(1000)]
        ends: list[object] = await asyncio.gather(*late, deadlines.within(answer(0.001)), return_exceptions=True)
        return ends, time.monotonic() - began

    ends, took = asyncio.run(story())
    assert {type(end) for end in ends[:-1]} == {TimeoutError}
    assert ends[-1] == "an answer"
    assert 0.1 <= took < 5


def test_a_task_that_was_late_is_not_cancelled_afterwards() -> None:
    async def story() -> str:
        deadlines = Deadlines(0.02)
        with pytest.raises(TimeoutError):
            await deadlines.within(answer(60))
        async with asyncio.timeout(10):  # which looks at how often its task was cancelled
            await asyncio.sleep(0.03)
        return await deadlines.within(answer(0))

    assert asyncio.run(story()) == "an answer"


def test_who_is_cancelled_by_somebody_else_is_cancelled() -> None:
    async def story() -> None:
        task = asyncio.create_task(Deadlines(10).within(answer(60)))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(story())
