"""The lock files install anywhere, because they name no registry and no machine."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[3]
LOCKS = [
    "requirements.txt",
    "requirements.lock",
    "requirements-lowest.lock",
    "requirements-uv.lock",
    "bench/peers/fastapi_arq/requirements.lock",
]
NODE_LOCK = "bench/peers/express_bullmq/package-lock.json"
OPTION = re.compile(r"^\s*--(?!hash=sha256:)\S+", re.MULTILINE)
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
DEPLOYED = [*EXTRAS["oidc"], *EXTRAS["otel"], *EXTRAS["sentry"]]
DIRECT = [*PROJECT["dependencies"], *EXTRAS["embedded"], *DEPLOYED]
MAKE_LOWEST = (
    "uv pip compile pyproject.toml --extra embedded --extra oidc --extra otel --extra sentry "
    "--resolution lowest-direct --universal --python-version 3.11 --no-build --generate-hashes --no-annotate "
    "--no-header -o requirements-lowest.lock"
)
PINNED = re.compile(r"^[a-zA-Z0-9._-]+(\[[a-z,]+\])?==\S+ (; .+ )?\\$")


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_names_no_url(name: str) -> None:
    assert "://" not in (ROOT / name).read_text()


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_has_no_option_but_hashes(name: str) -> None:
    assert OPTION.findall((ROOT / name).read_text()) == []


@pytest.mark.parametrize("name", LOCKS)
def test_every_line_of_a_lock_is_an_exact_version_or_a_hash(name: str) -> None:
    lines = (ROOT / name).read_text().splitlines()
    packages = [line for line in lines if line and not line.startswith((" ", "#"))]
    assert [line for line in packages if not PINNED.match(line)] == []


def test_the_lock_for_node_names_no_registry() -> None:
    packages = json.loads((ROOT / NODE_LOCK).read_text())["packages"]
    assert {name for name, package in packages.items() if name and "integrity" not in package} == set()
    assert {name for name, package in packages.items() if "resolved" in package} == set()


def test_the_product_runs_with_the_tested_versions() -> None:
    installed = set((ROOT / "requirements.lock").read_text().splitlines())
    assert set((ROOT / "requirements.txt").read_text().splitlines()) <= installed


def test_a_deployment_can_switch_each_extra_on() -> None:
    deployed = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    assert [line for line in DEPLOYED if f"\n{Requirement(line).name}==" not in f"\n{deployed}"] == []


@pytest.mark.parametrize("line", DIRECT)
def test_a_lower_bound_is_the_version_that_is_tried(line: str) -> None:
    requirement = Requirement(line)
    bounds = {Version(each.version) for each in requirement.specifier if each.operator in {">=", "=="}}
    lock = (ROOT / "requirements-lowest.lock").read_text(encoding="utf-8")
    tried = {Version(found) for found in re.findall(rf"^{re.escape(requirement.name)}==(\S+)", lock, re.MULTILINE)}
    assert bounds
    assert bounds <= tried, f"run: {MAKE_LOWEST}"
