"""Rules that import-linter cannot check: imports of tests, calls of a clock, loaded modules and circles."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
OURS = {"ingest", "workers", "console", "shared", "sandbox"}
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
PURE: list[str] = next(each["source_modules"] for each in CONTRACTS if each["name"] == "decisions are pure")
IMPURE_CALLS = {"now", "today", "utcnow", "open", "input", "print", "exec", "eval", "__import__", "import_module"}


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name.partition(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]


def called(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def module(source: str) -> ast.AST:
    return ast.parse(source)


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import shared.front.signature", {"shared"}),
        ("from workers import app", {"workers"}),
        ("def f():\n    from console.cli import main", {"console"}),
        ("import hmac, sandbox as front", {"hmac", "sandbox"}),
    ],
)
def test_an_import_is_found_wherever_it_stands(source: str, found: set[str]) -> None:
    assert set(imported(module(source))) == found


def test_acceptance_tests_import_nothing_of_the_product() -> None:
    sources = (ROOT / "tests" / "acceptance").rglob("*.py")
    guilty = [path.name for path in sources if OURS & set(imported(module(path.read_text(encoding="utf-8"))))]
    assert guilty == []


@pytest.mark.parametrize("source", ["datetime.now(UTC)", "x = [open(p) for p in q]", "date.today()"])
def test_an_impure_call_is_found(source: str) -> None:
    assert IMPURE_CALLS & set(called(module(source)))


@pytest.mark.parametrize("name", PURE)
def test_a_decision_reads_no_clock_and_opens_no_file(name: str) -> None:
    source = (ROOT / name.replace(".", "/")).with_suffix(".py").read_text(encoding="utf-8")
    assert IMPURE_CALLS & set(called(module(source))) == set()


def test_the_door_loads_neither_psycopg_nor_requests_nor_fronts_models() -> None:
    look = "import json, sys, ingest.server; print(json.dumps(sorted(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", look], cwd=ROOT, capture_output=True, text=True, check=True)
    libraries = {"psycopg", "psycopg_pool", "requests", "requests_oauthlib", "oauthlib", "obstore"}
    unwanted = {*libraries, "shared.front.envelope", "shared.front.client"}
    assert unwanted & set(json.loads(ran.stdout)) == set()


def graph_of(sources: Mapping[str, str]) -> dict[str, set[str]]:
    """Return the modules that each module imports, also in functions and for types only."""
    graph: dict[str, set[str]] = {name: set() for name in sources}
    for name, source in sources.items():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Import):
                graph[name] |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                inside = {f"{node.module}.{alias.name}" for alias in node.names}
                graph[name] |= {each if each in sources else node.module for each in inside}
    return {name: {each for each in found if each in sources and each != name} for name, found in graph.items()}


def circle_in(sources: Mapping[str, str]) -> list[str]:
    """Return the modules of one import circle; empty when there is none."""
    try:
        TopologicalSorter(graph_of(sources)).prepare()
    except CycleError as exc:
        return list(exc.args[1])
    return []


@pytest.mark.parametrize(
    "back",
    ["from a import x", "def f():\n    import a", "if TYPE_CHECKING:\n    from a import X"],
    ids=["at the top", "in a function", "for types only"],
)
def test_a_circle_is_found_wherever_its_import_stands(back: str) -> None:
    assert circle_in({"a": "from b import y", "b": back})
    assert not circle_in({"a": "from b import y", "b": "import os"})


def test_no_modules_import_each_other_in_a_circle() -> None:
    paths = (path for folder in (*OURS, "bench") for path in (ROOT / folder).rglob("*.py"))
    sources = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path.read_text(
            encoding="utf-8"
        )
        for path in paths
    }
    assert circle_in(sources) == []
