"""Front's own API document, where it lies beside the project: `core-api.json` of github.com/frontapp/front-api-specs.

It is too large to keep a copy here. Tests that need it are skipped where it is not.
"""

from __future__ import annotations

from pathlib import Path

import pytest

DOCUMENT = Path(__file__).parents[2] / "shared" / "front" / "core-api.json"


def skip_without_document() -> None:
    """Skip the whole calling module where the document is not."""
    if not DOCUMENT.exists():
        pytest.skip("Front's API document does not lie beside the project", allow_module_level=True)
