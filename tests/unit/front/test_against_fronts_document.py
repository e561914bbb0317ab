"""Every call, permission, query and body of the client agrees with Front's own API document."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import requests
import responses
from jsonschema import Draft202012Validator

from shared.front import answers
from shared.front.client import TenantClient
from tests.front_document import DOCUMENT, skip_without_document
from tests.unit.front.conftest import API

skip_without_document()

AT = datetime(2026, 8, 11, 12, tzinfo=UTC)
CALLS: dict[answers.Route, Callable[[TenantClient], object]] = {
    answers.ME: lambda client: client.me(),
    answers.EVENTS: lambda client: client.events(types=["inbound"], after=AT, before=AT, inboxes=["inb_1"]),
    answers.INBOXES: lambda client: client.inboxes(),
    answers.CHANNELS: lambda client: client.channels(),
    answers.TEAMMATES: lambda client: client.teammates(),
    answers.MESSAGE: lambda client: client.message("msg_1"),
    answers.DOWNLOAD: lambda client: client.download("fil_1", max_bytes=10).__enter__(),
    answers.CONVERSATION: lambda client: client.conversation("cnv_1"),
    answers.CONVERSATION_EVENTS: lambda client: client.conversation_events("cnv_1", since=AT),
    answers.CONVERSATION_MESSAGES: lambda client: client.latest_message("cnv_1"),
    answers.SET_STATUS: lambda client: client.set_status("cnv_1", "archived"),
    answers.ADD_TAG: lambda client: client.add_tag("cnv_1", "tag_1"),
    answers.REMOVE_TAG: lambda client: client.remove_tag("cnv_1", "tag_1"),
}
ANSWERS: dict[answers.Route, dict[str, Any]] = {
    answers.ME: {"json": {"id": "cmp_1", "name": "Acme"}},
    answers.MESSAGE: {"json": {"id": "msg_1", "recipients": [], "attachments": []}},
    answers.DOWNLOAD: {"body": b"bytes"},
    answers.CONVERSATION: {"json": {"id": "cnv_1", "status": "unassigned", "tags": []}},
    answers.CONVERSATION_MESSAGES: {"json": {"_results": [{"id": "msg_1"}]}},
    answers.SET_STATUS: {"status": 204},
    answers.ADD_TAG: {"status": 204},
    answers.REMOVE_TAG: {"status": 204},
}
every_route = pytest.mark.parametrize("route", CALLS, ids=str)


@pytest.fixture(scope="module")
def document() -> Any:
    return json.loads(DOCUMENT.read_text(encoding="utf-8"))


@pytest.fixture
def sent_request(client: TenantClient, front: responses.RequestsMock, route: answers.Route) -> requests.PreparedRequest:
    """The request that the client sends for this route."""
    path = route.path.format(id={"messages": "msg_1", "download": "fil_1"}.get(route.path.split("/")[1], "cnv_1"))
    answer = {"auto_calculate_content_length": True, **ANSWERS.get(route, {"json": {"_results": []}})}
    front.add(route.method, f"{API}{path}", **answer)
    CALLS[route](client)
    return front.calls[0].request


def operation(document: Any, route: answers.Route) -> Any:
    """Return the document's entry for a route; its path parameters have names of their own."""
    pattern = re.compile(route.path.replace("{id}", r"\{\w+\}"))
    [found] = [item for path, item in document["paths"].items() if pattern.fullmatch(path)]
    return found[route.method.lower()]


def test_every_route_is_covered() -> None:
    assert set(CALLS) == {each for each in vars(answers).values() if isinstance(each, answers.Route)}


@every_route
def test_a_call_and_its_permission_are_documented(document: Any, route: answers.Route) -> None:
    assert operation(document, route).get("x-required-scopes", [answers.ME.scope]) == [route.scope]


@every_route
def test_every_query_parameter_is_documented(
    document: Any, route: answers.Route, sent_request: requests.PreparedRequest
) -> None:
    given = {name.partition("[")[0] for name, _ in parse_qsl(urlsplit(str(sent_request.url)).query)}
    parameters = operation(document, route).get("parameters", [])
    referred = document["components"]["parameters"]
    assert given <= {
        referred[each["$ref"].rpartition("/")[2]]["name"] if "$ref" in each else each["name"] for each in parameters
    }


@pytest.mark.parametrize("route", [answers.SET_STATUS, answers.ADD_TAG], ids=str)
def test_every_body_fits_the_documented_schema(
    document: Any, route: answers.Route, sent_request: requests.PreparedRequest
) -> None:
    named = operation(document, route)["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    body = json.loads(sent_request.body or b"")
    schema = {"$ref": f"#/components/schemas/{named.rpartition('/')[2]}", "components": document["components"]}
    assert list(Draft202012Validator(schema).iter_errors(body)) == []
    assert set(body) <= set(document["components"]["schemas"][named.rpartition("/")[2]]["properties"])


def test_the_statuses_are_documented(document: Any) -> None:
    statuses = document["components"]["schemas"]["UpdateConversation"]["properties"]["status"]["enum"]
    assert {"archived", "deleted", "open"} <= set(statuses)
