"""A user without a name, such as a platform picks, works in the image's folder, or is told in one line what to mend."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from shared.settings import load
from tests.integration.start.test_refused_settings import KEY, STORES, environment_of

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[3]
USER = 1_000_650_000  # OpenShift begins there
#: Root becomes that user, and may still read the Python that belongs to root. It may write nowhere.
AS_USER = (
    *("setpriv", f"--reuid={USER}", "--regid=0", "--clear-groups"),
    *(
        "--inh-caps=-all,+dac_read_search",
        "--ambient-caps=-all,+dac_read_search",
        "--bounding-set=-all,+dac_read_search",
    ),
)
NAMED = STORES | {"DATABASE_URL": "postgresql://mailroom@127.0.0.1:1/mailroom"}
WORKER = "celery -q -A workers.app worker -Q work -P threads --concurrency 1"
is_root = pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="only root can become a user")


def run(command: str, folder: Path, **given: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end as a user without a name; if we are not root, as ourselves."""
    line = [*(AS_USER if os.geteuid() == 0 else ()), "/bin/sh", "-c", f"exec {command}"]
    environment = environment_of(folder, given)
    return subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[Path]:
    """A folder that the user may look into and not write to."""
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o555)
    yield folder
    folder.chmod(0o700)


@pytest.fixture
def reachable() -> Iterator[Path]:
    """A folder that every user can reach; those of pytest are closed."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def image_folder(parent: Path) -> Path:
    """Return /data as the Dockerfile makes it, at another place."""
    [line] = re.findall(r"install -d .* /data$", (ROOT / "deploy/Dockerfile").read_text(), re.M)
    folder = parent / "data"
    subprocess.run([*shlex.split(line)[:-1], folder], check=True)
    return folder


@is_root
def test_the_images_folder_takes_secrets_from_any_user_of_group_0(tmp_path: Path) -> None:
    folder = image_folder(tmp_path)
    ended = run(f"{sys.executable} -m console.up.data_folder", folder, MAILROOM_ENV="production")
    assert (ended.returncode, ended.stderr) == (0, "")
    found = dict(line.split("=", 1) for line in (folder / "environment").read_text().splitlines())
    assert set(found) == {"TOKEN_KEYS", "SECRET_KEY"}


@is_root
def test_the_images_folder_takes_files_from_any_user_of_group_0(tmp_path: Path) -> None:
    folder = image_folder(tmp_path)
    storage = f"from shared.storage import Storage; Storage('file://{folder}/files').check()"
    ended = run(f"{sys.executable} -c {shlex.quote(storage)}", folder)
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize("command", ["mailroom up", "mailroom up --demo", "python -m console.up.data_folder"])
@pytest.mark.parametrize("place", [".", "new", "new/deeper"])
def test_a_data_folder_without_rights_is_told_in_one_line(closed: Path, command: str, place: str) -> None:
    ended = run(command, closed / place)
    assert ended.returncode == 78
    [line] = ended.stderr.splitlines() + ended.stdout.splitlines()
    user = USER if os.geteuid() == 0 else os.geteuid()
    assert re.search(rf"MAILROOM_DATA: cannot use \S+ \(Permission denied\); let user {user} or group 0 read", line)


@pytest.mark.parametrize("command", ["mailroom up", "python -m console.up.data_folder"])
def test_a_data_folder_that_is_a_file_is_told_in_one_line(tmp_path: Path, command: str) -> None:
    (tmp_path / "data").write_text("")
    ended = run(command, tmp_path / "data")
    assert ended.returncode == 78
    [line] = ended.stderr.splitlines() + ended.stdout.splitlines()
    assert "MAILROOM_DATA: cannot use " in line


def test_secrets_from_the_environment_need_no_folder(closed: Path) -> None:
    ended = run("python -m console.up.data_folder", closed, TOKEN_KEYS=KEY, SECRET_KEY="s" * 32)
    assert (ended.returncode, ended.stdout + ended.stderr) == (0, "")


@pytest.mark.parametrize("place", ["files", "files/deeper"])
def test_a_worker_that_cannot_make_the_storages_folder_says_so_in_one_line(closed: Path, place: str) -> None:
    url = f"file://{closed}/{place}"
    ended = run(WORKER, closed, **NAMED, TOKEN_KEYS=KEY, STORAGE_URL=url, PYTHONWARNINGS="ignore")
    assert ended.returncode == 78
    assert "Traceback" not in ended.stderr
    assert re.search(
        r"^STORAGE_URL: cannot use \S+ \(Permission denied\); let user \d+ or group \d+ read and write",
        ended.stderr,
        re.M,
    )


@is_root
@pytest.mark.parametrize("command", ["mailroom migrate", "python -m ingest", "python -m workers.sweeping.sweeper"])
def test_a_database_url_without_a_user_asks_for_one_where_the_system_has_no_name(tmp_path: Path, command: str) -> None:
    ended = run(command, tmp_path, **STORES, FRONT_SIGNING_KEYS="k")
    assert ended.returncode == 78
    [line] = ended.stderr.splitlines()
    assert f"DATABASE_URL: names no user, and user {USER} has no name" in line


READ_SETTINGS = """
import os, sys
import shared.db.core, shared.redis_clients, shared.settings
if os.geteuid() == 0:
    os.setgroups([]), os.setgid(int(sys.argv[1])), os.setuid(12345)
try:
    shared.settings.load()
except shared.settings.ConfigurationError as error:
    sys.exit(str(error))
"""


def read_settings(data: Path, *, group: int) -> subprocess.CompletedProcess[str]:
    """Read the settings as user 12345, without any right of root."""
    line = [sys.executable, "-c", READ_SETTINGS, str(group)]
    return subprocess.run(line, cwd=ROOT, env=environment_of(data, {}), capture_output=True, text=True, check=False)


@is_root
@pytest.mark.parametrize("group", [0, 12345])
def test_a_process_that_needs_no_file_runs_as_any_user_of_any_group(reachable: Path, group: int) -> None:
    ended = read_settings(image_folder(reachable), group=group)
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize("closed_part", ["environment", "."])
def test_another_users_settings_are_told_in_one_line(reachable: Path, closed_part: str) -> None:
    data = reachable / "data"
    data.mkdir()
    (data / "environment").write_text("SECRET_KEY=x\n")
    (data / closed_part).chmod(0)
    ended = read_settings(data, group=0)
    data.chmod(0o700)
    assert ended.returncode == 1
    [text] = ended.stderr.splitlines()
    assert "MAILROOM_DATA: cannot use " in text
    assert "(Permission denied)" in text


def test_a_folder_that_is_not_there_is_no_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAILROOM_DATA", str(tmp_path / "nowhere"))
    assert load().mailroom_data == tmp_path / "nowhere"
