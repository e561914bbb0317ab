"""The commands of the Dockerfile make an installation without the sandbox, in which every process works."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from console.up.up import commands
from tests.integration.start.test_readiness import Process

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[3]
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
PROCFILE = commands((ROOT / "Procfile").read_text(encoding="utf-8"), demo=False)
PLACE = "/opt/mailroom"
PYTHON = f"python3.{sys.version_info.minor}"
pytestmark = pytest.mark.timeout(600)  # it downloads every package


def runs_of(stage: str) -> list[str]:
    """Return the commands of one stage of the Dockerfile."""
    [text] = re.findall(rf"^FROM \S+ AS {stage}\n(.*?)(?=^FROM )", DOCKERFILE, re.M | re.S)
    return [line.replace("\\\n", "") for line in re.findall(r"^RUN ((?:.*\\\n)*.*)$", text, re.M)]


def context(folder: Path) -> Path:
    """Return a copy of what the build sees: everything but what .dockerignore names."""
    named = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line]
    ignored = shutil.ignore_patterns(*(line.removeprefix("**/") for line in named), ".*_cache", "node_modules")
    shutil.copytree(ROOT, folder, ignore=ignored)
    return folder


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the Dockerfile fills at /opt/mailroom, at another place."""
    place = tmp_path_factory.mktemp("image") / "mailroom"
    source = context(place.with_name("build"))
    for line in (*runs_of("build"), *runs_of("without-sandbox")):
        command = line.replace(PLACE, str(place)).replace("python3.11", PYTHON)
        # `python` is the one that the base image has, not that of our own environment.
        command = re.sub(r"(^|&& )python ", rf"\g<1>{Path(sys.base_prefix) / 'bin' / PYTHON} ", command)
        ended = subprocess.run(["/bin/sh", "-ec", command], cwd=source, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, f"{command}\n{ended.stdout}{ended.stderr}"
    shutil.rmtree(source)
    return place


@pytest.fixture
def processes(image: Path, database: str, redis_db: str, tmp_path: Path) -> Iterator[list[Process]]:
    started = [
        Process(kind, database, redis_db, tmp_path, cwd=tmp_path, PATH=f"{image}/bin:/usr/bin:/bin")
        for kind in PROCFILE
    ]
    yield started
    for each in started:
        each.end()


def run(image: Path, *words: str, **given: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": f"{image}/bin:/usr/bin:/bin", **given}
    return subprocess.run(words, cwd=image, env=environment, capture_output=True, text=True, check=False)


def test_every_process_works_in_the_image(processes: list[Process], image: Path) -> None:
    [check] = re.findall(r"^HEALTHCHECK .* CMD (\[.*\])$", DOCKERFILE, re.M)
    for each in processes:
        each.wait_for(200)
        ended = run(image, *json.loads(check), METRICS_PORT=str(each.port))
        assert (ended.returncode, ended.stdout) == (0, '{"alive": true}\n')


def test_the_image_has_neither_the_sandbox_nor_what_installs_packages(image: Path) -> None:
    assert run(image, "python", "-c", "import sandbox").returncode == 1
    assert run(image, "python", "-c", "import pip").returncode == 1
    development = {"MAILROOM_ENV": "development", "FRONT_SIGNING_KEYS": "k"}
    ended = run(image, "mailroom", "sandbox", "serve", **development)
    assert ended.returncode == 1
    assert (
        ended.stderr.splitlines()[-1]
        == "Error: this installation has no sandbox; build the image with --target sandbox"
    )
