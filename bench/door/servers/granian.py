"""Runs another application on the door's server: `python -m bench.door.servers.granian MODULE:FACTORY`."""

from __future__ import annotations

import sys

from ingest.__main__ import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
