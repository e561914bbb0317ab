"""The Procfile, compose file and Dockerfile agree with each other."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
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
#: Inside a container these do not depend on what somebody set.
INSIDE = {"MAILROOM_ENV", "MAILROOM_DATA", "HOST", "PORT", "CONSOLE_PORT", "METRICS_PORT"}
PROGRAMS = commands((ROOT / "Procfile").read_text(), demo=False)


@pytest.mark.parametrize("name", PROGRAMS)
def test_compose_runs_the_procfiles_command(name: str) -> None:
    words = shlex.split(SERVICES[name]["command"])
    command = words[2].removeprefix("exec ") if words[:2] == ["sh", "-c"] else " ".join(words)
    assert command.replace("$$", "$").split() == PROGRAMS[name].split()


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_process_has_time_to_finish_its_tasks(name: str) -> None:
    assert int(SERVICES[name]["stop_grace_period"].removesuffix("s")) >= 30


@pytest.mark.parametrize("name", [*PROGRAMS, "release"])
def test_every_setting_reaches_every_process(name: str) -> None:
    assert SERVICES[name]["env_file"] == [{"path": ".env", "required": False}]
    assert {each.lower() for each in SERVICES[name]["environment"]} == set(Settings.model_fields)


@pytest.mark.parametrize("name", [name for name in SERVICES["web"]["environment"] if name not in INSIDE])
def test_a_setting_is_passed_on_as_it_is_set(name: str) -> None:
    # Without a value compose passes the variable on, and leaves it out where it is not set.
    passed = SERVICES["web"]["environment"][name]
    assert passed is None or passed.startswith((f"${{{name}:-", f"${{{name}:?"))


def test_a_port_chooses_where_a_process_is_published() -> None:
    inside = SERVICES["web"]["environment"]
    assert SERVICES["web"]["ports"] == [f"127.0.0.1:${{PORT:-{inside['PORT']}}}:{inside['PORT']}"]
    port = inside["CONSOLE_PORT"]
    assert SERVICES["console"]["ports"] == [f"127.0.0.1:${{CONSOLE_PORT:-{port}}}:{port}"]


@pytest.mark.parametrize("name", SERVICES)
def test_no_log_fills_the_disk(name: str) -> None:
    assert set(SERVICES[name]["logging"]["options"]) == {"max-size", "max-file"}


@pytest.mark.parametrize("name", [name for name in SERVICES if name != "release"])
def test_a_service_that_stays_has_a_health_check(name: str) -> None:
    check = SERVICES[name]["healthcheck"]
    assert check["test"][0] == "CMD"
    assert int(check["interval"].removesuffix("s")) <= 30


@pytest.mark.parametrize("name", ["recorder", "worker", "sweeper"])
def test_a_health_check_asks_for_its_own_process(name: str) -> None:
    assert SERVICES[name]["healthcheck"]["test"] == ["CMD", "mailroom", "health", name]


@pytest.mark.parametrize("name", [*PROGRAMS, "release"])
def test_a_container_may_write_to_its_volume_alone(name: str) -> None:
    service = SERVICES[name]
    assert (service["read_only"], service["tmpfs"], service["volumes"]) == (True, ["/tmp"], ["data:/data"])
    assert (service["cap_drop"], service["security_opt"]) == (["ALL"], ["no-new-privileges:true"])


def test_compose_has_the_form_that_docker_reads() -> None:
    lint("check-jsonschema", "--builtin-schema", "vendor.compose-spec", "docker-compose.yml")


def test_a_wrong_word_in_compose_is_found(tmp_path: Path) -> None:
    wrong = tmp_path / "docker-compose.yml"
    wrong.write_text((ROOT / "docker-compose.yml").read_text().replace("stop_grace_period", "stop_grace_time"))
    with pytest.raises(AssertionError, match="stop_grace_time"):
        lint("check-jsonschema", "--builtin-schema", "vendor.compose-spec", str(wrong))


def test_the_dockerfile_has_no_fault_that_is_known() -> None:
    lint("hadolint", "deploy/Dockerfile")


def lint(program: str, *arguments: str) -> None:
    line = [Path(sys.executable).with_name(program), *arguments]
    ended = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


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


def test_image_compose_and_settings_agree() -> None:
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text()
    [line] = re.findall(r"^ENV (.* MAILROOM_ENV=.*)$", dockerfile, re.M)
    given = dict(pair.split("=", 1) for pair in line.split())
    ours = {name: value for name, value in given.items() if name.lower() in Settings.model_fields}
    assert set(ours) == {"MAILROOM_ENV", "HOST", "MAILROOM_DATA", "METRICS_PORT"}
    assert ours.items() <= SERVICES["web"]["environment"].items()
    ports = [Settings.model_fields[name].default for name in ("port", "console_port")]
    assert re.findall(r"^EXPOSE (.*)$", dockerfile, re.M) == [" ".join(map(str, ports))]
    assert [int(SERVICES["web"]["environment"][name]) for name in ("PORT", "CONSOLE_PORT")] == ports


def test_the_image_runs_without_root_as_a_number() -> None:
    assert re.findall(r"^USER (.*)$", (ROOT / "deploy" / "Dockerfile").read_text(), re.M) == ["10001:0"]
