"""The door overrides only public parts of Flask, and leaves sessions out."""

from __future__ import annotations

import pytest
from flask import Flask, session

from ingest.minimal_flask import Answer, DoorFlask, Hold


@pytest.mark.parametrize("name", [name for name in vars(DoorFlask) if not name.startswith("_")])
def test_every_overridden_name_is_public_and_exists_in_flask(name: str) -> None:
    assert hasattr(Flask, name)


def test_no_cookie_is_ever_set() -> None:
    app = DoorFlask(__name__)
    app.add_url_rule("/", "view", lambda: Answer(str(dict(session))))
    answer = app.test_client().get("/", headers={"Cookie": "session=forged"})
    assert (answer.text, "Set-Cookie" in answer.headers) == ("{}", False)


def test_any_host_header_is_accepted() -> None:
    app = DoorFlask(__name__)
    app.add_url_rule("/", "view", Answer)
    assert app.test_client().get("/", headers={"Host": "a..b"}).status_code == 200


def test_an_error_of_the_server_goes_to_the_error_handlers() -> None:
    app, hold = DoorFlask(__name__), Hold()
    app.add_url_rule("/", "view", Answer)
    app.register_error_handler(KeyError, lambda exc: Answer(repr(exc), 418))
    hold.failure = KeyError("gone")
    answer = app.test_client().get("/", environ_overrides={Hold.KEY: hold})
    assert (answer.status_code, answer.text) == (418, "KeyError('gone')")
