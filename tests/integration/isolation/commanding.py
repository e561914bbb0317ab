"""Runs `mailroom …` in this process, on a rig's servers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from click.testing import CliRunner, Result

from console.cli import main

if TYPE_CHECKING:
    from tests.integration.pipeline.rig import Rig


def mailroom(rig: Rig, *words: str, code: int = 0) -> Result:
    """Run it and expect this exit code."""
    environment = {
        "DATABASE_URL": rig.settings.database_url.get_secret_value(),
        "REDIS_URL": rig.settings.redis_url.get_secret_value(),
        "STORAGE_URL": rig.settings.storage,
        "TOKEN_KEYS": rig.settings.token_keys[0].get_secret_value(),
        "MAILROOM_ENV": None,
        "NO_COLOR": "1",
    }
    result = CliRunner().invoke(main, words, env=environment)
    assert result.exit_code == code, result.output + repr(result.exception)
    return result
