"""The API answers any request as its document says, and never with a bug."""

from __future__ import annotations

import copy
import json
import re
import string
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from tests.integration.console.api.client import ApiClient, token_for
from tests.integration.console.rows import insert_archived_event, insert_event, insert_task

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg
    from flask_openapi3.openapi import OpenAPI

    from tests.integration.console.conftest import Mailroom

PREFIX = "/api/v1"
LIKELY = ["state:failed", "tenant:Acme", "since:2h", "until:2026-01-01", "failed", "open", "Acme", "evt_1", "retry"]
ODD = ["\x00", "a\x00b", "0001-01-01T00:00+14:00", "9999-12-31T23:59-14:00", "since:0001-01-01T00:00+14:00", "'", "1,2"]
SURROGATE = "\ud800"  # in JSON anybody can write one
WORDS = (
    st.sampled_from(LIKELY)
    | st.sampled_from(ODD)
    | st.text(max_size=20)
    | st.lists(st.sampled_from(LIKELY), max_size=3).map(" ".join)
)
NUMBERS = st.integers(0, 3) | st.sampled_from([-1, 2**31, 2**63 - 1, 2**63, 10**30])
VALUES = (
    st.none()
    | st.booleans()
    | NUMBERS
    | WORDS
    | st.just(SURROGATE)
    | st.lists(NUMBERS | WORDS, max_size=2)
    | st.dictionaries(st.sampled_from(string.ascii_lowercase), NUMBERS, max_size=2)
)


@st.composite
def requests(draw: st.DrawFn, operations: list[tuple[str, str, dict[str, Any]]], examples: dict[str, Any]) -> Any:
    """Choose an operation, and values for its parameters and body that are often right and sometimes odd."""
    method, path, operation = draw(st.sampled_from(operations))
    query: dict[str, Any] = {}
    for parameter in operation.get("parameters", ()):
        if parameter["in"] == "path":
            allowed = parameter["schema"].get("enum")
            number = parameter["schema"].get("type") == "integer"
            value = draw(st.sampled_from(allowed)) if allowed else draw(st.integers(1, 3)) if number else "17"
            path = path.replace(f"{{{parameter['name']}}}", str(value))
        elif parameter["in"] == "query" and draw(st.booleans()):
            query[parameter["name"]] = draw(NUMBERS if parameter["schema"].get("type") == "integer" else WORDS)
    body = None
    if "requestBody" in operation:
        reference = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
        body = copy.deepcopy(examples[reference.rsplit("/", 1)[1]])
        for name in draw(st.sets(st.sampled_from([*body, "odd"]), max_size=2)):
            body[name] = draw(VALUES)
    return method, path, query, body, operation


@pytest.fixture
def some_rows(tenant: int, conn: psycopg.Connection) -> None:
    insert_archived_event(conn)
    insert_task(conn, insert_event(conn, front_id="evt_2", conversation_id="cnv_2", state="failed"))
    conn.execute("INSERT INTO repairs (tenant_id, requested_by) VALUES (%s, 'nora')", (tenant,))
    conn.execute("INSERT INTO seen_event_types (type) VALUES ('inbound')")


@pytest.mark.parametrize("options", [(), ("--tenant", "Acme")], ids=["all tenants", "one tenant"])
def test_any_request_is_answered_as_documented(
    application: OpenAPI, mailroom: Mailroom, some_rows: None, options: tuple[str, ...]
) -> None:
    client = application.test_client()
    api = ApiClient(client=client, token=token_for(mailroom, "any", "--scope", "write", *options))
    document = client.get("/api/openapi.json").get_json()
    schemas = document["components"]["schemas"]
    operations = [
        (method.upper(), path.removeprefix(PREFIX), operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]

    @settings(
        max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None, derandomize=True
    )
    @given(requests(operations, {name: schema.get("example") for name, schema in schemas.items()}))
    def answered(request: Any) -> None:
        method, path, query, body, operation = request
        answer = api.answer(method, path, body, query_string=query)
        described = operation["responses"].get(str(answer.status_code))
        assert described is not None, (method, path, query, body, answer.get_data(as_text=True))
        assert answer.status_code < 500, (method, path, query, body, answer.get_data(as_text=True))
        schema = described.get("content", {}).get(answer.mimetype, {}).get("schema")
        if answer.is_json or answer.mimetype == "application/problem+json":
            whole = {**schema, "components": document["components"]}
            Draft202012Validator(whole).validate(json.loads(answer.get_data()))

    answered()


def odd_requests(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield requests each of which has odd text in one place: a parameter or a member of the body."""
    for path, methods in document["paths"].items():
        plain = re.sub(r"\{(tenant_id|number)\}", "1", path.removeprefix(PREFIX))
        plain = plain.replace("{step}", "cancel").replace("{external_id}", "17")
        for method, operation in methods.items():
            names = [each["name"] for each in operation.get("parameters", ()) if each["in"] == "query"]
            for name, odd in product(names, ODD):
                yield method, plain, {"query_string": {"verb": "retry", name: odd} if "verb" in names else {name: odd}}
            for body, odd in product(odd_bodies(document, operation), [*ODD, SURROGATE]):
                name, example = body
                yield method, plain, {"json": {**example, name: odd}}


def odd_bodies(document: dict[str, Any], operation: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Return the example of the operation's body, once for each text in it, with the name of that."""
    for content in operation.get("requestBody", {}).get("content", {}).values():
        example = document["components"]["schemas"][content["schema"]["$ref"].rsplit("/", 1)[1]]["example"]
        return [(name, example) for name, value in example.items() if isinstance(value, str)]
    return []


def test_odd_text_is_no_bug_in_any_place(application: OpenAPI, api: ApiClient, some_rows: None) -> None:
    document = application.test_client().get("/api/openapi.json").get_json()
    sent = list(odd_requests(document))
    assert len(sent) > 300
    for method, path, given_ in sent:
        assert api.answer(method.upper(), path, **given_).status_code < 500, (method, path, given_)
