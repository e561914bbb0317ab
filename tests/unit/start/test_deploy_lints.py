"""The deployment files pass the linters of their formats, and each linter finds what it is there for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.promtool import run_promtool
from tests.unit.start.deploy_files import DEPLOY, ROOT, lint

if TYPE_CHECKING:
    from pathlib import Path

COMPOSE = (ROOT / "docker-compose.yml").read_text()
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
YAML = ("docker-compose.yml", ".pre-commit-config.yaml", ".yamllint.yaml", "deploy")
SHELL = ("run", ".ci/run", ".profile")
MANIFESTS = sorted(path for path in (DEPLOY / "kubernetes").glob("*.yaml") if path.name != "kustomization.yaml")
#: Each linter, what it is run on, a good text, and what makes a bad one of it: old, new, and the linter's word for it.
COMPOSE_SPEC = ("check-jsonschema", "--builtin-schema", "vendor.compose-spec")
YAMLLINT = ("yamllint", "--strict", "-c", str(ROOT / ".yamllint.yaml"))
SHELLCHECK = ("shellcheck", "--severity=warning")
KUBERNETES = ("kubernetes-validate", "--strict", "--quiet")
WEB = (DEPLOY / "kubernetes" / "web.yaml").read_text()
WRONG = [
    (COMPOSE_SPEC, "docker-compose.yml", COMPOSE, "stop_grace_period", "stop_grace_time", "stop_grace_time"),
    (("hadolint",), "Dockerfile", DOCKERFILE, "FROM python:3.11-slim AS runtime", "FROM python AS runtime", "DL3006"),
    (("hadolint",), "Dockerfile", DOCKERFILE, "USER 10001:0\n", "USER root\n", "DL3002"),
    (KUBERNETES, "web.yaml", WEB, "livenessProbe:", "livenessProb:", "livenessProb"),
    (KUBERNETES, "web.yaml", WEB, "containerPort: 8080", 'containerPort: "8080"', "containerPort"),
    (YAMLLINT, "compose.yml", COMPOSE, "\nvolumes:\n", "\nvolumes:\n  data:\n", "duplication of key"),
    (SHELLCHECK, "start.sh", "#!/bin/sh\ncd /opt || exit\n", " || exit", "", "SC2164"),
]


def test_compose_has_the_form_that_docker_reads() -> None:
    lint(*COMPOSE_SPEC, "docker-compose.yml")


def test_the_dockerfile_has_no_fault_that_is_known() -> None:
    lint("hadolint", "deploy/Dockerfile")


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda path: path.name)
def test_a_manifest_has_the_form_that_kubernetes_reads(manifest: Path) -> None:
    lint(*KUBERNETES, manifest)


def test_yaml_is_sound() -> None:
    lint(*YAMLLINT, *YAML)


def test_shell_scripts_have_no_fault_that_is_known() -> None:
    lint(*SHELLCHECK, *SHELL)


def promtool(configuration: Path) -> None:
    ended = run_promtool("check", "config", configuration)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_prometheus_reads_its_configuration(tmp_path: Path) -> None:
    configuration = DEPLOY / "monitoring" / "prometheus.yml"
    promtool(configuration)
    wrong = tmp_path / "prometheus.yml"
    wrong.write_text(configuration.read_text().replace("refresh_interval", "refresh_intervall"))
    with pytest.raises(AssertionError, match="refresh_intervall"):
        promtool(wrong)


@pytest.mark.parametrize(("linter", "name", "text", "old", "new", "word"), WRONG)
def test_a_linter_finds_what_is_wrong(
    linter: tuple[str, ...], name: str, text: str, old: str, new: str, word: str, tmp_path: Path
) -> None:
    assert old in text
    (tmp_path / name).write_text(text.replace(old, new))
    with pytest.raises(AssertionError, match=word):
        lint(*linter, tmp_path / name)
