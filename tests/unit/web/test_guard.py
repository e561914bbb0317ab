"""Every route is behind a log-in or meant for everybody, and a page may stay open for as long as a session."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

from itsdangerous import TimestampSigner

from console.web.app import VERBS_OF_PAGES
from tests.unit.web.conftest import FixedPool

if TYPE_CHECKING:
    import pytest

    from tests.unit.web.conftest import Console

#: What answers without a log-in, and the reason why.
FOR_EVERYBODY = {
    "livez": "a platform asks for it",
    "readyz": "a platform asks for it",
    "static": "styles and scripts",
    "openapi": "describes the API, and holds nothing of an installation",
    "api_docs": "the same for people",
    "notification_schema": "describes what is sent, and holds nothing of an installation",
    "connect.start": "the link is the secret",
    "connect.go_on": "the link is the secret",
    "connect.callback": "the state is the secret",
    "connect.connected": "shows what this browser connected",
    "pages.login_page": "leads in",
    "pages.log_in": "leads in",
    "pages.log_out": "ends the browser's own session",
    "pages.login_link": "the link is the secret",
    "pages.use_login_link": "the link is the secret",
    "pages.password_link": "the link is the secret",
    "pages.use_password_link": "the link is the secret",
    "pages.begin_oidc": "leads in",
    "pages.finish_oidc": "leads in",
    "pages.set_view": "sets how times are shown in this browser",
}
TOKEN = re.compile(r'name="csrf_token" value="([^"]+)"')
HOURS = 5 * 3_600


def test_every_route_is_behind_a_log_in_or_a_token_or_for_everybody(console: Console) -> None:
    rules = list(console().url_map.iter_rules())
    guarded = {(rule, method) for rule, methods, _ in VERBS_OF_PAGES for method in methods}
    open_ones = {
        rule.endpoint
        for rule in rules
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if not rule.rule.startswith("/api/v1/") and (rule.rule, method) not in guarded
    }
    assert open_ones == set(FOR_EVERYBODY)


def test_a_page_that_changes_something_is_no_get(console: Console) -> None:
    looks = {verb for _, methods, verb in VERBS_OF_PAGES if "GET" in methods}
    # All but the first show forms of changes.
    assert looks <= {"read", "addresses", "manage_accounts", "simulate", "edit_action"}
    assert [rule for rule, methods, _ in VERBS_OF_PAGES if len(methods) != 1] == []


def test_a_page_that_was_open_over_lunch_still_sends_its_form(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = console(pool=FixedPool(None)).test_client()
    monkeypatch.setattr(TimestampSigner, "get_timestamp", lambda _: int(time.time()) - HOURS)
    page: Any = client.get("/login")
    monkeypatch.undo()
    [token] = TOKEN.findall(page.text)
    form, headers = {"csrf_token": token, "zone": "local"}, {"Sec-Fetch-Site": "same-origin"}
    assert client.post("/view", data=form, headers=headers).status_code == 303
    assert client.post("/view", data={**form, "csrf_token": token[:-1]}, headers=headers).status_code == 403
