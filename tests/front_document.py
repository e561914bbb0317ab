"""Front's own API document beside the project: `core-api.json` of github.com/frontapp/front-api-specs.

The repository has no copy because the document is too large. Tests that need it are skipped without it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

DOCUMENT = Path(__file__).parents[2] / "shared" / "front" / "core-api.json"


def skip_without_document() -> None:
    """Skip the whole calling module if the document is missing."""
    if not DOCUMENT.exists():
        pytest.skip("Front's API document does not lie beside the project", allow_module_level=True)
