"""The manifests for Kubernetes run the Procfile's commands, each with the secrets that it needs and no more rights."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from ingest.app import WEBHOOKS
from shared.process import private_port
from shared.settings import SECRETS, Settings
from tests.unit.start.deploy_files import DEPLOY, PROGRAMS, plain

FOLDER = DEPLOY / "kubernetes"
FILES = {path.name: list(yaml.safe_load_all(path.read_text())) for path in FOLDER.glob("*.yaml")}
OBJECTS = [each for objects in FILES.values() for each in objects]
#: The secrets without which a process does not start in production, as docs/configuration.md has them.
NEEDED = {
    "web": {"DATABASE_URL", "REDIS_URL", "FRONT_SIGNING_KEYS"},
    "recorder": {"DATABASE_URL", "REDIS_URL"},
    "sweeper": {"DATABASE_URL", "REDIS_URL"},
    "worker": {"DATABASE_URL", "REDIS_URL", "TOKEN_KEYS", "STORAGE_URL"},
    "console": {"DATABASE_URL", "REDIS_URL", "TOKEN_KEYS", "SECRET_KEY"},
    "migrate": {"DATABASE_URL"},
}
OAUTH = {"FRONT_CLIENT_ID", "FRONT_CLIENT_SECRET"}
ALSO = {"worker": OAUTH, "console": OAUTH | {"STORAGE_URL"}}


def found(kind: str, name: str) -> dict[str, Any]:
    [one] = [each for each in OBJECTS if each["kind"] == kind and each["metadata"]["name"] == name]
    return dict(one)


def pod(process: str) -> dict[str, Any]:
    kind = "Job" if process == "migrate" else "Deployment"
    return dict(found(kind, f"mailroom-{process}")["spec"]["template"]["spec"])


def container(process: str) -> dict[str, Any]:
    [one] = pod(process)["containers"]
    return dict(one)


def test_kustomize_has_every_file_but_the_one_that_needs_more() -> None:
    [kustomization] = FILES["kustomization.yaml"]
    assert {*kustomization["resources"], "kustomization.yaml", "autoscaling.yaml"} == set(FILES)


@pytest.mark.parametrize("process", PROGRAMS)
def test_a_container_runs_the_procfiles_command(process: str) -> None:
    words = container(process)["command"]
    assert (plain(words[2]) if words[:2] == ["sh", "-c"] else words) == plain(PROGRAMS[process])


@pytest.mark.parametrize("process", NEEDED)
def test_a_process_sees_the_secrets_that_it_needs_alone(process: str) -> None:
    secrets = pod(process)["volumes"][0]["secret"]
    files = {item["key"]: item["path"] for item in secrets["items"]}
    assert set(files) == NEEDED[process] | ALSO.get(process, set())
    assert set(files) <= set(SECRETS)
    [place] = [each["mountPath"] for each in container(process)["volumeMounts"] if each["name"] == "secrets"]
    assert container(process)["env"] == [{"name": f"{key}_FILE", "value": f"{place}/{key}"} for key in files]


@pytest.mark.parametrize("process", NEEDED)
def test_a_container_has_no_right_that_it_does_not_need(process: str) -> None:
    assert container(process)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    context = pod(process)["securityContext"]
    assert (context["runAsNonRoot"], context["runAsUser"], context["runAsGroup"]) == (True, 10001, 0)
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod(process)["automountServiceAccountToken"] is False


@pytest.mark.parametrize("process", PROGRAMS)
def test_probes_ask_ports_and_start_no_program(process: str) -> None:
    probes = {name: container(process)[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    ports = {each["name"] for each in container(process)["ports"]}
    assert {probe["port"] for probe in probes.values()} <= ports
    assert probes["livenessProbe"]["path"] == private_port.LIVEZ
    assert probes["readinessProbe"] == {"path": private_port.READYZ, "port": "metrics"}


@pytest.mark.parametrize("process", PROGRAMS)
def test_a_process_outlives_the_loss_of_a_node(process: str) -> None:
    assert found("Deployment", f"mailroom-{process}")["spec"]["replicas"] == 2
    assert found("PodDisruptionBudget", f"mailroom-{process}")["spec"]["maxUnavailable"] == 1
    assert pod(process)["terminationGracePeriodSeconds"] == (60 if process == "worker" else 30)


def test_settings_are_settings() -> None:
    settings = found("ConfigMap", "mailroom-settings")["data"]
    assert {name.lower() for name in settings} <= set(Settings.model_fields)
    assert not set(settings) & set(SECRETS)
    for process in PROGRAMS:
        ports = {each["name"]: each["containerPort"] for each in container(process)["ports"]}
        assert str(ports["metrics"]) == settings["METRICS_PORT"]


def test_the_ingress_has_one_path_of_the_door() -> None:
    rules = found("Ingress", "mailroom")["spec"]["rules"]
    paths = {each["backend"]["service"]["name"]: each for rule in rules for each in rule["http"]["paths"]}
    assert (paths["mailroom-web"]["path"], paths["mailroom-web"]["pathType"]) == (WEBHOOKS, "Exact")
    assert sum(len(rule["http"]["paths"]) for rule in rules) == 2


def test_nobody_reaches_a_pod_unless_a_policy_says_so() -> None:
    default = found("NetworkPolicy", "mailroom-default")["spec"]
    assert default["podSelector"] == {"matchLabels": {"app.kubernetes.io/name": "mailroom"}}
    assert default["policyTypes"] == ["Ingress", "Egress"]
    assert [port["port"] for rule in default["ingress"] for port in rule["ports"]] == ["metrics"]
    out = {port["port"] for rule in default["egress"] for port in rule["ports"]}
    assert 443 not in out


def test_workers_are_scaled_by_a_metric_of_the_console() -> None:
    [metric] = [each["external"]["metric"] for each in FILES["autoscaling.yaml"][0]["spec"]["metrics"]]
    source = (DEPLOY.parent / "console" / "installation_metrics.py").read_text()
    assert f'"{metric["name"]}"' in source
    assert f'"{metric["selector"]["matchLabels"]["queue"]}": ' in source


def test_a_deployments_labels_are_those_by_which_it_is_found() -> None:
    for process in PROGRAMS:
        labels = {"app.kubernetes.io/name": "mailroom", "app.kubernetes.io/component": process}
        deployment = found("Deployment", f"mailroom-{process}")
        assert deployment["spec"]["selector"]["matchLabels"] == labels
        assert deployment["spec"]["template"]["metadata"]["labels"] == labels
        assert found("PodDisruptionBudget", f"mailroom-{process}")["spec"]["selector"]["matchLabels"] == labels
