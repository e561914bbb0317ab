"""The project's files agree with each other: settings, pages, hooks and lengths."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import yaml

from docs.settings_table import BEGIN, END, FOR_COMPOSE, FOR_TRACES, example, table
from tests import conftest

ROOT = Path(__file__).parents[3]
PACKAGES = ("ingest", "workers", "console", "shared", "sandbox", "bench")
#: Folders with hand-written files, without generated and downloaded ones.
WRITTEN = (*PACKAGES, "tests", "docs", "deploy", "examples")
TEXT = {".py", ".sql", ".md", ".toml", ".yml", ".html", ".css", ".js", ".sh"}

#: Files with more than 400 lines, and the reason of each.
LONG: dict[str, str] = {}
#: Modules that may name Front's hosts; documents may, too.
FRONTS_HOSTS = {
    "shared/settings.py",  # the defaults
    "shared/front/tenant_requests.py",  # the hosts that get a token
}
UNFINISHED = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")


def written(*folders: str) -> Iterator[tuple[str, str]]:
    """Yield the path and text of every file below these folders."""
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in TEXT and path.is_file() and "node_modules" not in path.parts:
                yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")


def test_the_example_environment_is_current() -> None:
    current = (ROOT / ".env.example").read_text(encoding="utf-8")
    assert current == example(), "run: python -m docs.settings_table env > .env.example"


def test_the_configuration_page_has_the_current_settings_table() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    block = re.search(f"^{re.escape(BEGIN)}.*?{re.escape(END)}\n", text, re.MULTILINE | re.DOTALL)
    assert block, f"no {BEGIN} … {END} in docs/configuration.md; python -m docs.settings_table prints it"
    assert block.group() == table(), "replace the block by what python -m docs.settings_table prints"


def test_the_table_has_a_row_for_every_setting() -> None:
    named = set(re.findall(r"^\| `([A-Z_]+)`", table(), re.MULTILINE))
    assert named == set(re.findall(r"^#([A-Z_]+)=", example().removesuffix(FOR_TRACES + FOR_COMPOSE), re.MULTILINE))


def test_the_example_has_every_variable_of_compose() -> None:
    compose = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    variables = set(re.findall(r"(?<!\$)\$\{([A-Z_]+)", compose))
    assert variables - set(re.findall(r"^#([A-Z_]+)=", example(), re.MULTILINE)) == set()
    defaults = re.findall(r"^#([A-Z_]+)=(.*)$", FOR_COMPOSE, re.MULTILINE)
    assert [name for name, default in defaults if default and f"${{{name}:-{default}}}" not in compose] == []


def test_no_file_has_a_note_of_unfinished_work() -> None:
    assert [path for path, text in written(*WRITTEN) if UNFINISHED.search(text)] == []


def test_a_long_file_has_a_reason() -> None:
    lengths = {path: text.count("\n") for path, text in written(*PACKAGES) if path.endswith(".py")}
    assert {path for path, lines in lengths.items() if lines > 400} == set(LONG)


def test_every_test_file_that_starts_first_is_there() -> None:
    assert [name for name in conftest.LONG if not (conftest.FOLDER / name).is_file()] == []


def test_reasons_for_long_files_are_few() -> None:
    assert len(LONG) <= 3


def test_fronts_hosts_are_named_in_the_settings_only() -> None:
    ours = written("ingest", "workers", "console", "shared", "bench")
    assert {path for path, text in ours if "frontapp.com" in text} <= FRONTS_HOSTS


def checks_of_lint(script: str) -> list[str]:
    """Return the checks that `./run lint` runs, read from the script."""
    function = script[script.index("lint() {") :].partition("\n}\n")[0].replace("\\\n", "")
    loop = re.search(r"for check in (.*); do", function)
    assert loop
    syntax = re.findall(r"^ +((?:ba)?sh -n .*) \|\| status=1$", function, re.MULTILINE)
    return [f".venv/bin/{check}" for check in shlex.split(loop[1])] + syntax


def test_checks_are_found_in_the_script() -> None:
    script = 'lint() {\n    for check in "a b" \\\n  c; do\n    done\n    sh -n run || status=1\n    return 0\n}\n'
    assert checks_of_lint(script) == [".venv/bin/a b", ".venv/bin/c", "sh -n run"]


def test_a_commit_runs_the_checks_of_lint() -> None:
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    assert [hook["entry"] for hook in repository["hooks"]] == checks_of_lint((ROOT / "run").read_text(encoding="utf-8"))


def test_a_hook_downloads_nothing() -> None:
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    assert repository["repo"] == "local"
    assert {hook["language"] for hook in repository["hooks"]} == {"system"}


def test_every_file_names_the_same_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    named = {
        "CHANGELOG.md": r"^## \[(\d[\d.]*)\]",
        "docker-compose.yml": r"image: mailroom(?:-sandbox)?:([\d.]+)$",
        "deploy/kubernetes/kustomization.yaml": r'newTag: "([\d.]+)"',
        "docs/deploy.md": r"/mailroom:([\d.]+)",
        "docs/openapi.json": r'^  "version": "([\d.]+)"',
    }
    for path, pattern in named.items():
        assert re.findall(pattern, (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE)[0] == version, path
