"""Add one violation after the other to a copy of the tree, and print the contracts that it breaks.

One process does all of it, because starting import-linter costs ten times as much as running it. The tests' own
process cannot do it, because it has imported the packages from their real place.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import sys
from pathlib import Path

from importlinter.cli import lint_imports

BROKEN = re.compile(r"^(.+) BROKEN(?: \(.+\))?$", re.MULTILINE)


def broken_contracts() -> list[str]:
    """Return the names of the contracts that the tree breaks as it is."""
    told = io.StringIO()
    with contextlib.redirect_stdout(told):
        lint_imports(no_logo=True, no_cache=True)
    if "Contracts: " not in told.getvalue():
        raise RuntimeError(told.getvalue())
    return BROKEN.findall(told.getvalue())


def broken_with(module: str, offence: str) -> list[str]:
    """Return the same after adding `offence` to a module, or as a new module."""
    path = Path(module)
    innocent = path.read_text(encoding="utf-8") if path.exists() else None
    path.write_text(f"{innocent or ''}\n{offence}\n", encoding="utf-8")
    try:
        return broken_contracts()
    finally:
        path.unlink() if innocent is None else path.write_text(innocent, encoding="utf-8")


if __name__ == "__main__":
    sys.path[0] = str(Path.cwd())
    offences = json.load(sys.stdin)
    json.dump([broken_contracts(), *(broken_with(module, offence) for module, offence in offences)], sys.stdout)
