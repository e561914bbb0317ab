"""The headers that all answers of the console share, and its refusals."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from flask import request

from console.web.app import MAX_BODY_BYTES

if TYPE_CHECKING:
    from tests.unit.web.conftest import Console

WEB = Path(__file__).parents[3] / "console" / "web"
TEMPLATES, STATIC = WEB / "templates", WEB / "static"
OWN_SCRIPT = re.compile(
    r"<script src=\"{{ url_for\('static', filename='[\w./-]+'\) }}\" (defer|type=\"module\")></script>"
)


@pytest.mark.parametrize("path", ["/livez", "/no/such/page", "/api/nothing", "/static/mailroom.css"])
def test_every_answer_forbids_loading_framing_and_caching(console: Console, path: str) -> None:
    with console().test_client().get(path) as answer:
        headers = answer.headers
    policy = headers["Content-Security-Policy"].split("; ")
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert not [part for part in policy if part.startswith("script-src") or "unsafe" in part]
    assert (headers["Referrer-Policy"], headers["Cache-Control"], headers["X-Content-Type-Options"]) == (
        "no-referrer",
        "no-store",
        "nosniff",
    )


@pytest.mark.parametrize(
    ("url", "name", "secure"),
    [("https://mail.example", "__Host-mailroom", True), ("http://localhost:8081", "mailroom", False)],
)
def test_the_cookie_is_bound_to_the_host_with_https(console: Console, url: str, name: str, secure: bool) -> None:
    config = console(public_url=url).config
    assert (config["SESSION_COOKIE_NAME"], config["SESSION_COOKIE_SECURE"]) == (name, secure)
    assert (config["SESSION_COOKIE_HTTPONLY"], config["SESSION_COOKIE_SAMESITE"]) == (True, "Lax")


def test_only_a_console_with_https_sends_hsts(console: Console) -> None:
    [plain, https] = [
        console(public_url=f"{scheme}://x").test_client().get("/livez").headers for scheme in ("http", "https")
    ]
    assert "Strict-Transport-Security" not in plain
    assert "Strict-Transport-Security" in https


def test_the_console_is_alive_while_postgresql_is_away(console: Console) -> None:
    assert console().test_client().get("/livez").json == {"alive": True}


def test_the_openapi_document_is_served_without_the_librarys_pages(console: Console) -> None:
    client = console().test_client()
    assert client.get("/api/openapi.json").json["info"]["title"] == "Mailroom"  # type: ignore[index]
    assert [client.get(path).status_code for path in ("/openapi/", "/openapi/openapi.json")] == [404, 404]


def test_browsers_get_a_page_and_programs_problem_json(console: Console) -> None:
    client = console().test_client()
    page, problem = client.get("/nothing"), client.get("/api/nothing")
    assert (page.status_code, page.mimetype) == (404, "text/html")
    assert (problem.status_code, problem.mimetype) == (404, "application/problem+json")
    assert json.loads(problem.data)["code"] == "not_found"


def test_a_405_names_the_allowed_methods(console: Console) -> None:
    answer = console().test_client().post("/livez")
    assert (answer.status_code, "GET" in answer.headers["Allow"]) == (405, True)


def test_a_bug_is_answered_without_details(console: Console) -> None:
    app = console()
    app.add_url_rule("/broken", view_func=lambda: 1 / 0)
    answer = app.test_client().get("/broken?code=canary")
    assert answer.status_code == 500
    assert b"Zero" not in answer.data


def test_an_oversized_body_is_not_read(console: Console) -> None:
    app = console()
    app.add_url_rule("/take", view_func=lambda: str(len(request.get_data())), methods=["POST"])
    assert app.test_client().post("/take", data=b"x" * (MAX_BODY_BYTES + 1)).status_code == 413


def test_pages_load_nothing_from_other_hosts_and_run_no_script_but_ours() -> None:
    files = [*TEMPLATES.rglob("*.html"), *STATIC.glob("*.css")]
    assert len(files) > 2
    for path in files:
        text = path.read_text(encoding="utf-8")
        if path.parent == TEMPLATES / "pages":
            text = OWN_SCRIPT.sub("", text)
        assert [word for word in ("<script", "//", "@import", "style=", "safe", "url(") if word in text] == [], path
