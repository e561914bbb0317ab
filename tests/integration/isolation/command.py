"""Run `mailroom …` in this process, on the servers of a harness."""

from __future__ import annotations

from typing import TYPE_CHECKING

from click.testing import CliRunner, Result

from console.cli import main

if TYPE_CHECKING:
    from tests.integration.pipeline.harness import Harness


def mailroom(harness: Harness, *words: str, code: int = 0) -> Result:
    """Run the command and expect this exit code."""
    environment = {
        "DATABASE_URL": harness.settings.database_url.get_secret_value(),
        "REDIS_URL": harness.settings.redis_url.get_secret_value(),
        "STORAGE_URL": harness.settings.storage,
        "TOKEN_KEYS": harness.settings.token_keys[0].get_secret_value(),
        "MAILROOM_ENV": None,
        "NO_COLOR": "1",
    }
    result = CliRunner().invoke(main, words, env=environment)
    assert result.exit_code == code, result.output + repr(result.exception)
    return result
