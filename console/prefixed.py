"""Shows the output of many programs as one, each line with its program's name in front."""

from __future__ import annotations

import os
import selectors
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import subprocess


class PrefixedOutput:
    """The lines of all followed processes, on our stdout."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._selector = selectors.DefaultSelector()
        self._rest: dict[int, bytes] = {}

    def follow(self, name: str, process: subprocess.Popen[bytes]) -> None:
        """Show this process's output too, if it has any for us."""
        if process.stdout:
            self._selector.register(process.stdout, selectors.EVENT_READ, name)

    def show(self, wait: float) -> bool:
        """Print what has come; wait for it at most `wait` seconds. False when nothing came."""
        ready = self._selector.select(wait)
        for key, _ in ready:
            self._take(key)
        return bool(ready)

    def close(self) -> None:
        """Print what is left, without waiting for whoever still holds a pipe."""
        while self.show(0):
            pass
        self._selector.close()

    def _take(self, key: selectors.SelectorKey) -> None:
        chunk = os.read(key.fd, 65536)
        *lines, rest = (self._rest.pop(key.fd, b"") + chunk).split(b"\n")
        if chunk:
            self._rest[key.fd] = rest
        else:
            lines += [rest] if rest else []
            self._selector.unregister(key.fileobj)
        for line in lines:
            print(f"{key.data:<{self._width}} | {line.decode(errors='replace').rstrip()}", flush=True)


def say(text: str) -> None:
    """Tell whoever started us something; stdout belongs to the programs."""
    print(text, file=sys.stderr, flush=True)
