"""The Procfile, compose file and Dockerfile agree with each other."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from console.up.up import commands
from ingest.app import WEBHOOKS
from shared.process import private_port
from shared.settings import Settings

ROOT = Path(__file__).parents[3]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
PROGRAMS = commands((ROOT / "Procfile").read_text(), demo=False)


@pytest.mark.parametrize("name", PROGRAMS)
def test_compose_runs_the_procfiles_command(name: str) -> None:
    words = shlex.split(SERVICES[name]["command"])
    command = words[2].removeprefix("exec ") if words[:2] == ["sh", "-c"] else " ".join(words)
    assert command.replace("$$", "$").split() == PROGRAMS[name].split()


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_process_has_time_to_finish_its_tasks(name: str) -> None:
    assert int(SERVICES[name]["stop_grace_period"].removesuffix("s")) >= 30


def test_every_setting_of_compose_exists() -> None:
    assert {name.lower() for name in SERVICES["web"]["environment"]} <= set(Settings.model_fields)


def test_compose_asks_for_what_it_cannot_make() -> None:
    variables = re.findall(r"(?<!\$)\$\{(\w+)([^}]*)\}", (ROOT / "docker-compose.yml").read_text())
    asked = {name for name, default in variables if default.startswith(":?")}
    assert asked == {"FRONT_SIGNING_KEYS", "POSTGRES_PASSWORD", "PUBLIC_URL"}
    assert {name for name, default in variables if not default.startswith(":-")} == asked


def test_compose_opens_ports_on_this_machine_alone() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert published
    assert [port for port in published if not port.startswith("127.0.0.1:")] == []


def test_metrics_and_readiness_have_one_port_everywhere_that_nobody_outside_reaches() -> None:
    port = SERVICES["web"]["environment"]["METRICS_PORT"]
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text()
    readme = (ROOT / "README.md").read_text()
    exposed = re.search(r"^EXPOSE (.*)$", dockerfile, re.MULTILINE)
    assert exposed
    assert f" METRICS_PORT={port} " in dockerfile
    assert f"`METRICS_PORT={port}`" in readme
    assert str(port) not in exposed[1].split()
    assert str(port) not in str([service.get("ports") for service in SERVICES.values()])
    assert f"http://127.0.0.1:{port}{private_port.READYZ}" in str(SERVICES["web"]["healthcheck"])
    assert port not in {Settings().port, Settings().console_port, Settings().sandbox_port}


def test_the_readme_names_the_one_path_of_the_door_that_a_proxy_forwards() -> None:
    readme = (ROOT / "README.md").read_text()
    assert f"A proxy forwards `{WEBHOOKS}` to `PORT`, and nothing else of the door." in readme
    passed = re.findall(r"`https://your\.host(/[^`]*)` to the door", readme)
    assert passed
    assert set(passed) == {WEBHOOKS}


def test_image_and_compose_are_for_production() -> None:
    assert SERVICES["web"]["environment"]["MAILROOM_ENV"] == "production"
    assert " MAILROOM_ENV=production " in (ROOT / "deploy" / "Dockerfile").read_text()


@pytest.mark.parametrize("option", ["--appendonly yes", "--appendfsync always", "--maxmemory-policy noeviction"])
def test_valkey_in_compose_syncs_every_write_and_evicts_nothing(option: str) -> None:
    assert option in SERVICES["valkey"]["command"]


def test_the_image_runs_without_root() -> None:
    assert "\nUSER mailroom\n" in (ROOT / "deploy" / "Dockerfile").read_text()
