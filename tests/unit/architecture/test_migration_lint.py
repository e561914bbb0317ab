"""squawk, as ./run lint runs it, finds what would stop the release before or lock a table for long."""

from __future__ import annotations

import fnmatch
import subprocess
import sysconfig
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SQUAWK = Path(sysconfig.get_path("scripts")) / "squawk"
CONFIG = ROOT / ".squawk.toml"


@pytest.mark.parametrize(
    ("statement", "rule"),
    [
        ("ALTER TABLE events DROP COLUMN type;", "ban-drop-column"),
        ("ALTER TABLE events RENAME COLUMN type TO kind;", "renaming-column"),
        ("ALTER TABLE events ADD COLUMN size bigint NOT NULL;", "adding-required-field"),
        ("ALTER TABLE events ALTER COLUMN type TYPE varchar(9);", "changing-column-type"),
        ("CREATE INDEX events_by_type ON events (type);", "require-concurrent-index-creation"),
        ("ALTER TABLE events ADD CONSTRAINT short CHECK (type <> '');", "constraint-missing-not-valid"),
    ],
)
def test_a_migration_that_breaks_or_blocks_is_found(statement: str, rule: str, tmp_path: Path) -> None:
    (tmp_path / "0099_bad.sql").write_text(statement + "\n")
    ended = subprocess.run(
        [SQUAWK, "--config", CONFIG, "--reporter", "gcc", tmp_path / "0099_bad.sql"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert rule in ended.stdout


def test_only_migrations_that_were_merged_before_are_left_out() -> None:
    patterns = tomllib.loads(CONFIG.read_text())["excluded_paths"]
    migrations = sorted(path.name for path in (ROOT / "shared/db/migrations").glob("*.sql"))
    left_out = [
        name for name in migrations if any(fnmatch.fnmatch(f"shared/db/migrations/{name}", p) for p in patterns)
    ]
    assert [name for name in left_out if name >= "0018"] == ["0018_feed.sql", "0019_endpoints.sql", "0022_filters.sql"]
