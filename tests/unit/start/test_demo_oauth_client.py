"""The demo has an app that its Front knows, so that its links connect."""

from __future__ import annotations

from console.up.up import demo_oauth_client
from shared.settings import Settings


def test_an_app_is_made_where_none_is_set() -> None:
    made = demo_oauth_client(Settings(front_client_id="", front_client_secret=""))
    assert (set(made), all(made.values())) == ({"FRONT_CLIENT_ID", "FRONT_CLIENT_SECRET"}, True)


def test_half_an_app_is_none() -> None:
    assert len(demo_oauth_client(Settings(front_client_id="mine", front_client_secret=""))) == 2


def test_an_app_that_is_set_is_taken() -> None:
    assert demo_oauth_client(Settings(front_client_id="mine", front_client_secret="secret")) == {}
