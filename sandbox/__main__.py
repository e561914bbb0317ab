"""`python -m sandbox serve`: a sandbox in a process of its own."""

from __future__ import annotations

import signal

from sandbox.server import start_in_thread
from sandbox.settings import read_settings


def main(arguments: list[str] | None = None) -> None:
    """Serve until TERM or INT."""
    settings = read_settings(arguments)
    stop_signals = {signal.SIGTERM, signal.SIGINT}
    # All threads inherit the mask, so only sigwait below receives the signals.
    signal.pthread_sigmask(signal.SIG_BLOCK, stop_signals)
    running = start_in_thread(settings)
    print(f"sandbox: listening on {running.url}, sending to {settings.door}", flush=True)
    signal.sigwait(stop_signals)
    running.stop()


if __name__ == "__main__":
    main()
