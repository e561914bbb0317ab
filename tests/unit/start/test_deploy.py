"""The Procfile, compose file and Dockerfile agree with each other."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from typing import Any

import pytest
import yaml

from ingest.app import WEBHOOKS
from shared.process import private_port
from shared.settings import Settings
from tests.unit.start.deploy_files import PROGRAMS, ROOT, plain

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
#: Inside a container these do not depend on what somebody set.
INSIDE = {
    *("MAILROOM_DATA", "HOST", "PORT", "CONSOLE_PORT", "SANDBOX_PORT", "WEB_MODULE", "METRICS_PORT", "METRICS_HOST"),
}
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text()
PROBE = [*("CMD", "python", "-m", "shared.process.probe")]


@pytest.mark.parametrize("name", PROGRAMS)
def test_compose_runs_the_procfiles_command(name: str) -> None:
    words = shlex.split(SERVICES[name]["command"])
    command = words[2].replace("$$", "$") if words[:2] == ["sh", "-c"] else " ".join(words)
    assert plain(command) == plain(PROGRAMS[name])


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


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_health_check_asks_whether_the_process_does_its_work(name: str) -> None:
    assert SERVICES[name]["healthcheck"]["test"] == [*PROBE, private_port.READYZ]


def test_the_image_asks_whether_its_process_is_alive() -> None:
    [line] = re.findall(r"^HEALTHCHECK .* CMD (\[.*\])$", DOCKERFILE, re.M)
    assert ["CMD", *json.loads(line)] == [*PROBE, private_port.LIVEZ]


@pytest.mark.parametrize("name", SERVICES)
def test_an_image_has_a_version(name: str) -> None:
    image, _, tag = SERVICES[name]["image"].partition(":")
    assert tag not in {"", "latest"}
    if image.startswith("mailroom"):
        assert tag == PROJECT["version"]


@pytest.mark.parametrize("name", [name for name in SERVICES if name != "release"])
def test_a_service_is_started_again(name: str) -> None:
    assert SERVICES[name]["restart"] == "unless-stopped"


def test_a_profile_adds_what_production_goes_without() -> None:
    profiles = {name: service["profiles"] for name, service in SERVICES.items() if "profiles" in service}
    assert profiles == {"sandbox": ["sandbox"], "prometheus": ["monitoring"]}


def test_the_last_target_of_the_image_has_no_sandbox() -> None:
    stages = re.findall(r"^FROM (\S+)(?: AS (\S+))?$", DOCKERFILE, re.M)
    assert stages[-1] == ("runtime", "mailroom")
    assert {SERVICES[name]["build"]["target"] for name in PROGRAMS} == {"mailroom"}
    assert SERVICES["sandbox"]["build"]["target"] == "sandbox"
    assert DOCKERFILE.rstrip().endswith("COPY --from=without-sandbox /opt/mailroom /opt/mailroom")


def test_the_file_for_the_sandbox_sets_what_compose_asks_for() -> None:
    lines = (ROOT / "deploy" / "sandbox.env").read_text().splitlines()
    given = dict(line.split("=", 1) for line in lines if not line.startswith("#"))
    assert {"FRONT_SIGNING_KEYS", "POSTGRES_PASSWORD", "PUBLIC_URL"} < set(given)
    port = SERVICES["sandbox"]["environment"]["SANDBOX_PORT"]
    assert given["FRONT_API_URL"] == f"http://sandbox:{port}"
    assert given["MAILROOM_ENV"] == "development"


def test_prometheus_asks_every_process() -> None:
    [job] = yaml.safe_load((ROOT / "deploy/monitoring/prometheus.yml").read_text())["scrape_configs"]
    [where] = job["dns_sd_configs"]
    assert sorted(where["names"]) == sorted(PROGRAMS)
    assert {str(where["port"])} == {SERVICES[name]["environment"]["METRICS_PORT"] for name in PROGRAMS}
    assert {SERVICES[name]["environment"]["METRICS_HOST"] for name in PROGRAMS} == {"0.0.0.0"}
    mounted = [source.split(":")[:2] for source in SERVICES["prometheus"]["volumes"] if source.startswith("./")]
    assert mounted == [
        [f"./deploy/monitoring/{name}", f"/etc/prometheus/{name}"] for name in ("prometheus.yml", "alerts.yml")
    ]


@pytest.mark.parametrize("name", [*PROGRAMS, "release"])
def test_a_container_may_write_to_its_volume_alone(name: str) -> None:
    service = SERVICES[name]
    assert (service["read_only"], service["tmpfs"], service["volumes"]) == (True, ["/tmp"], ["data:/data"])
    assert (service["cap_drop"], service["security_opt"]) == (["ALL"], ["no-new-privileges:true"])


def test_compose_asks_for_what_it_cannot_make() -> None:
    variables = re.findall(r"(?<!\$)\$\{(\w+)([^}]*)\}", (ROOT / "docker-compose.yml").read_text())
    asked = {name for name, default in variables if default.startswith(":?")}
    assert asked == {"FRONT_SIGNING_KEYS", "POSTGRES_PASSWORD", "PUBLIC_URL"}, "sandbox.env sets these"
    assert {name for name, default in variables if not default.startswith(":-")} == asked


def test_compose_opens_ports_on_this_machine_alone() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert published
    assert [port for port in published if not port.startswith("127.0.0.1:")] == []


def test_metrics_and_readiness_have_one_port_everywhere_that_nobody_outside_reaches() -> None:
    port = SERVICES["web"]["environment"]["METRICS_PORT"]
    page = (ROOT / "docs" / "configuration.md").read_text()
    exposed = re.search(r"^EXPOSE (.*)$", DOCKERFILE, re.MULTILINE)
    assert exposed
    assert f" METRICS_PORT={port} " in DOCKERFILE
    assert f"`METRICS_PORT={port}`" in page
    assert str(port) not in exposed[1].split()
    assert str(port) not in str([service.get("ports") for service in SERVICES.values()])
    assert port not in {Settings().port, Settings().console_port, Settings().sandbox_port}


def test_the_pages_name_the_one_path_of_the_door_that_a_proxy_forwards() -> None:
    configuration, *pages = (
        (ROOT / "docs" / name).read_text() for name in ("configuration.md", "connect-front.md", "private-app.md")
    )
    assert f"A proxy forwards `{WEBHOOKS}` to `PORT`, and nothing else of the door." in configuration
    passed = re.findall(r"`https://your\.host(/[^`]*)` to the door", "".join(pages))
    assert passed
    assert set(passed) == {WEBHOOKS}


def test_image_and_compose_are_for_production() -> None:
    assert SERVICES["web"]["environment"]["MAILROOM_ENV"] == "${MAILROOM_ENV:-production}"
    assert " MAILROOM_ENV=production " in DOCKERFILE


@pytest.mark.parametrize("option", ["--appendonly yes", "--appendfsync always", "--maxmemory-policy noeviction"])
def test_valkey_in_compose_syncs_every_write_and_evicts_nothing(option: str) -> None:
    assert option in SERVICES["valkey"]["command"]


def test_image_compose_and_settings_agree() -> None:
    [line] = re.findall(r"^ENV (.* MAILROOM_ENV=.*)$", DOCKERFILE, re.M)
    given = dict(pair.split("=", 1) for pair in line.split())
    ours = {name: value for name, value in given.items() if name.lower() in Settings.model_fields}
    assert set(ours) == {"MAILROOM_ENV", "HOST", "MAILROOM_DATA", "METRICS_PORT"}
    inside = SERVICES["web"]["environment"] | {"MAILROOM_ENV": "production"}
    assert ours.items() <= inside.items()
    ports = [Settings.model_fields[name].default for name in ("port", "console_port")]
    assert re.findall(r"^EXPOSE (.*)$", DOCKERFILE, re.M) == [" ".join(map(str, ports))]
    assert [int(SERVICES["web"]["environment"][name]) for name in ("PORT", "CONSOLE_PORT")] == ports


def test_the_image_runs_without_root_as_a_number() -> None:
    assert re.findall(r"^USER (.*)$", DOCKERFILE, re.M) == ["10001:0"]
