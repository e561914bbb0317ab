"""Stacks for tests, each in a folder of its own, stopped and checked when the test ends."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeAlias

import pytest

from tests.acceptance.stack import Stack

Start: TypeAlias = Callable[..., Stack]


@contextmanager
def running(*front: str, **settings: str) -> Iterator[Stack]:
    """Run a stack with these options of the sandbox; at the end it must stop cleanly and leave no process."""
    folder = Path(tempfile.mkdtemp(prefix="mailroom-acceptance-"))
    folder.chmod(0o711)  # PostgreSQL runs as another account when we are root
    stack = Stack(folder, front=front, settings=settings)
    try:
        stack.start()
        yield stack
    finally:
        try:
            stack.close()
        finally:
            shutil.rmtree(folder)


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a stack for this test: `start("--latency-ms", "300", WORKER_THREADS="8")`."""
    with ExitStack() as stacks:
        yield lambda *front, **settings: stacks.enter_context(running(*front, **settings))
