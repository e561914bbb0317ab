"""Run `mailroom up` with the Procfile of a test: python small_up.py FOLDER."""

from __future__ import annotations

import sys
from pathlib import Path

from console.up import up

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    up.ROOT = folder
    sys.exit(up.up(demo=False, data=folder / "data"))
