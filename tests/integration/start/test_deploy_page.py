"""The commands of docs/deploy.md are typed as they stand there where they need no platform; others name our things."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from console.up.up import commands
from shared.settings import SECRETS, Settings
from tests.documents import marked
from tests.integration.start.test_refused_settings import environment_of

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
BLOCKS = {mark.removeprefix("deploy: "): text for mark, text in marked("docs/deploy.md").items()}
PROGRAMS = commands((ROOT / "Procfile").read_text(), demo=False)
MANIFESTS = ROOT / "deploy" / "kubernetes"


def run(name: str, folder: Path, *, text: str | None = None) -> None:
    line = ["/bin/sh", "-euc", text or BLOCKS[name]]
    subprocess.run(line, cwd=folder, env=environment_of(folder, {}), check=True)


def settings_in(path: Path) -> dict[str, str]:
    """Return a file of settings as systemd and compose read it."""
    return dict(line.split("=", 1) for line in path.read_text().splitlines())


def doctor_reads(folder: Path, given: dict[str, str]) -> None:
    """Every process can read these settings, in production."""
    script = "from shared.settings import *; load(*REQUIRED_IN_PRODUCTION)"
    own = environment_of(folder, {"MAILROOM_ENV": "production", **given})
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=own, capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")


def test_compose_gets_what_it_asks_for(tmp_path: Path) -> None:
    run("compose", tmp_path)
    given = settings_in(tmp_path / ".env")
    asked = set(re.findall(r"\$\{(\w+):\?", (ROOT / "docker-compose.yml").read_text()))
    assert set(given) == asked
    assert re.fullmatch(r"[0-9a-z]{32,}", given["POSTGRES_PASSWORD"])
    assert (tmp_path / ".env").stat().st_mode & 0o077 == 0


def test_the_units_are_installed_with_settings_that_can_be_read(tmp_path: Path) -> None:
    opt, etc = tmp_path / "opt/mailroom", tmp_path / "etc"
    shutil.copytree(ROOT / "deploy", opt / "deploy")
    (opt / ".venv/bin").mkdir(parents=True)
    (opt / ".venv/bin/mailroom").symlink_to(Path(sys.executable).with_name("mailroom"))
    block = BLOCKS["systemd"].replace("/opt/mailroom", str(opt)).replace(" /etc/", f" {etc}/")
    run("systemd", tmp_path, text=block)
    units = ROOT / "deploy" / "systemd"
    installed = {
        path.relative_to(etc / "systemd/system") for path in (etc / "systemd/system").rglob("*") if path.is_file()
    }
    assert installed == {path.relative_to(units) for path in units.rglob("*") if path.is_file()} - {
        Path("sysusers.conf")
    }
    assert (etc / "sysusers.d/mailroom.conf").read_text() == (units / "sysusers.conf").read_text()
    assert (etc / "mailroom/settings").stat().st_mode & 0o077 == 0
    doctor_reads(tmp_path, settings_in(etc / "mailroom/settings"))


def test_the_secrets_for_kubernetes_are_those_of_the_manifests(tmp_path: Path) -> None:
    run("kubernetes", tmp_path)
    files = {path.name: str(path) for path in (tmp_path / "secrets").iterdir()}
    mounted = re.findall(r"\{key: (\w+), path: \w+\}", "".join(path.read_text() for path in MANIFESTS.glob("*.yaml")))
    assert set(files) == set(mounted)
    doctor_reads(tmp_path, {f"{name}_FILE": path for name, path in files.items()})


@pytest.mark.parametrize("name", ["heroku", "console app"])
def test_a_platform_is_told_our_settings_and_processes(name: str) -> None:
    told = set(re.findall(r"\b([A-Z][A-Z_]+)=", BLOCKS[name])) - {"PGSSLMODE"}
    assert {each.lower() for each in told} <= set(Settings.model_fields)
    scaled = re.findall(r"\b(\w+)=\d", BLOCKS[name].partition("ps:scale")[2])
    assert set(scaled) == set(PROGRAMS) - {"console"}


def test_the_page_names_every_port_of_the_units() -> None:
    for path in (ROOT / "deploy" / "systemd").glob("*.service"):
        if port := re.search(r"METRICS_PORT=(\d+)(%i)?", path.read_text()):
            assert port[1] + ("1" if port[2] else "") in PAGE


def test_app_json_names_our_settings_and_processes() -> None:
    app = yaml.safe_load((ROOT / "app.json").read_text())  # JSON is YAML
    assert {name.lower() for name in app["env"]} <= set(Settings.model_fields)
    assert set(app["formation"]) == set(PROGRAMS)
    asked = {
        name
        for name, each in app["env"].items()
        if each.get("required", True) and not {"value", "generator"} & set(each)
    }
    assert asked | {"SECRET_KEY"} <= {*SECRETS, "PUBLIC_URL"}
    assert {addon["as"] for addon in app["addons"]} == {"DATABASE", "REDIS"}


def test_one_version_of_python_is_named_everywhere() -> None:
    version = (ROOT / ".python-version").read_text().strip()
    named = re.findall(r"^FROM python:([\d.]+)-slim", (ROOT / "deploy/Dockerfile").read_text(), re.M)
    assert set(named) == {version}
    assert f'requires-python = ">={version}"' in (ROOT / "pyproject.toml").read_text()
