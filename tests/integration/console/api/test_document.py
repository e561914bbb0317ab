"""The OpenAPI document is valid and describes the API exactly."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from console.api.problems import problem_codes

if TYPE_CHECKING:
    from flask_openapi3 import OpenAPI

    from tests.integration.console.api.client import ApiClient


ROOT = Path(__file__).parents[4]


@pytest.fixture
def document(application: OpenAPI) -> dict[str, Any]:
    read: dict[str, Any] = application.test_client().get("/api/openapi.json").get_json()
    return read


def of_schema(document: dict[str, Any], name: str) -> Draft202012Validator:
    return Draft202012Validator({"$ref": f"#/components/schemas/{name}", "components": document["components"]})


def test_the_committed_document_is_the_served_one(document: dict[str, Any]) -> None:
    """`python -m docs.openapi_document` writes it anew."""
    assert json.loads((ROOT / "docs" / "openapi.json").read_text(encoding="utf-8")) == document


def test_it_is_valid_openapi(document: dict[str, Any]) -> None:
    assert document["openapi"] == "3.1.0"
    assert [error.message for error in OpenAPIV31SpecValidator(document).iter_errors()] == []


def test_it_has_every_route_and_no_other(application: OpenAPI, document: dict[str, Any]) -> None:
    served = {
        (re.sub(r"<\w+:(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in application.url_map.iter_rules()
        if rule.rule.startswith("/api/v1")
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    told = {(path, method) for path, operations in document["paths"].items() for method in operations}
    assert told == served
    assert len(told) > 10


def test_every_operation_takes_a_token_and_says_how_it_fails(document: dict[str, Any]) -> None:
    assert document["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    operations = [each for operations in document["paths"].values() for each in operations.values()]
    assert [each for each in operations if each["security"] != [{"token": []}] or not each["summary"]] == []
    for operation in operations:
        problems = {status for status in operation["responses"] if status >= "400"}
        wanted = {"401", "403", "404", "422", "500", "503"} | (
            {"400", "413", "415"} if "requestBody" in operation else set()
        )
        assert problems - {"409", "410", "416"} == wanted
        for status in problems:
            assert list(operation["responses"][status]["content"]) == ["application/problem+json"]
    ids = [operation["operationId"] for operation in operations]
    assert len(set(ids)) == len(ids)


def test_every_body_has_an_example_that_fits_its_schema(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    bodies = [
        content["schema"]["$ref"].rsplit("/", 1)[1]
        for operations in document["paths"].values()
        for operation in operations.values()
        for content in operation.get("requestBody", {}).get("content", {}).values()
    ]
    assert len(bodies) == 16
    for name in bodies:
        of_schema(document, name).validate(schemas[name]["example"])


def test_every_example_fits_its_schema(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    with_examples = {name: schema["example"] for name, schema in schemas.items() if "example" in schema}
    assert len(with_examples) > 10
    for name, example in with_examples.items():
        of_schema(document, name).validate(example)


def test_answers_and_problems_are_as_described(api: ApiClient, users: str, document: dict[str, Any]) -> None:
    body = {"users": [{"external_id": "1", "name": "N", "addresses": ["n@acme.example"]}]}
    of_schema(document, "BulkResult").validate(api("POST", f"{users}/bulk", body))
    of_schema(document, "UserPage").validate(api("GET", users))
    of_schema(document, "UserShown").validate(api("GET", f"{users}/1"))
    of_schema(document, "TenantPage").validate(api("GET", "/tenants"))
    problem = api("PUT", f"{users}/1", {}, code=422)
    of_schema(document, "Problem").validate(problem)
    assert set(problem) <= set(document["components"]["schemas"]["Problem"]["properties"])


def test_everything_that_can_be_sent_is_described(document: dict[str, Any]) -> None:
    sent = [
        (name, field.get("description"))
        for schema in document["components"]["schemas"].values()
        if schema.get("additionalProperties") is False
        for name, field in schema["properties"].items()
    ]
    sent += [
        (parameter["name"], parameter.get("description"))
        for operations in document["paths"].values()
        for operation in operations.values()
        for parameter in operation.get("parameters", [])
    ]
    assert len(sent) > 20
    assert [name for name, description in sent if not description] == []


def test_the_page_for_people_names_every_operation_and_loads_nothing_of_others(
    application: OpenAPI, document: dict[str, Any]
) -> None:
    answer = application.test_client().get("/api/docs")
    page = answer.get_data(as_text=True)
    loaded: list[str | None] = []

    class Loads(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            loaded.extend(
                value for name, value in attrs if tag in {"script", "link", "img"} and name in {"src", "href"}
            )

    Loads().feed(page)
    assert loaded == ["/static/mailroom.css"]
    assert answer.content_type.startswith("text/html")
    assert [code for _, code, _ in problem_codes() if f"<code>{code}</code>" not in page] == []
    for path, operations in document["paths"].items():
        assert [f"{method.upper()} {path}" in page for method in operations] == [True] * len(operations)
