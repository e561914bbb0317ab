"""The sandbox's answers fit the schemas of Front's own API document, but for the deviations listed here."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

from tests.front_document import DOCUMENT, skip_without_document

if TYPE_CHECKING:
    from tests.integration.sandbox.conftest import Client

skip_without_document()

# Real bodies differ from the document here: each (schema, property) may be null
NULL_IN_PRACTICE = [
    ("MessageResponse", "author"),
    ("MessageResponse", "signature"),
    ("MessageResponse", "version"),
    ("MessageResponse", "error_type"),
]
# The document requires these without a definition, and Front does not send them
NEVER_SENT = [("TeammateResponse", "license_type")]


@pytest.fixture(scope="module")
def document() -> Any:
    document = json.loads(DOCUMENT.read_text(encoding="utf-8"))
    schemas = document["components"]["schemas"]
    for schema, name in NULL_IN_PRACTICE:
        schemas[schema]["properties"][name]["nullable"] = True
    for schema, name in NEVER_SENT:
        schemas[schema]["required"].remove(name)
    # The list of tags takes a page token, so it must give one
    pagination = _content(document, "listOfEvents")["_pagination"]
    _content(document, "listOfTags")["_pagination"] = pagination
    # The source of an event caused through the API is null
    schemas["EventResponse"]["properties"]["source"]["properties"]["data"]["nullable"] = True
    # The document names these targets and gives no form of them
    targets = schemas["EventResponse"]["properties"]["target"]["properties"]["data"]["oneOf"]
    targets += [{"type": "array", "items": {"type": "string"}}, {"$ref": "#/components/schemas/CustomFieldResponse"}]
    return translated(document)


def _content(document: Any, response: str) -> Any:
    return document["components"]["responses"][response]["content"]["application/json"]["schema"]["properties"]


def translated(node: Any) -> Any:
    """OpenAPI 3.0 as JSON Schema: `nullable`, `oneOf` without a discriminator, no unknown keys."""
    if isinstance(node, list):
        return [translated(item) for item in node]
    if not isinstance(node, dict):
        return node
    schema = {name: translated(item) for name, item in node.items()}
    if isinstance(schema.get("oneOf"), list):
        schema["anyOf"] = schema.pop("oneOf")
    if isinstance(schema.get("properties"), dict) and "additionalProperties" not in schema:
        schema["additionalProperties"] = False
    if schema.pop("nullable", False) is True:
        return {"anyOf": [schema, {"type": "null"}]}
    return schema


def errors(document: Any, route: str, body: Any) -> list[str]:
    """Validate the body of a 200 to `GET route`, and return each error with its place."""
    reference = document["paths"][route]["get"]["responses"]["200"]["$ref"]
    place = f"{reference}/content/application~1json/schema"
    validator = Draft202012Validator({"$ref": place, "components": document["components"]})
    return [f"{error.json_path}: {error.message[:300]}" for error in validator.iter_errors(body)]


@pytest.mark.parametrize(
    ("route", "path"),
    [
        ("/me", "/me"),
        ("/teammates", "/teammates"),
        ("/inboxes", "/inboxes"),
        ("/channels", "/channels"),
        ("/tags", "/tags"),
        ("/conversations/{conversation_id}", "/conversations/{conversation_id}"),
        ("/conversations/{conversation_id}/messages", "/conversations/{conversation_id}/messages"),
        ("/conversations/{conversation_id}/events", "/conversations/{conversation_id}/events"),
        ("/messages/{message_id}", "/messages/{message_id}"),
        ("/events/{event_id}", "/events/{event_id}"),
        ("/events", "/events"),
        ("/events", "/events?limit=1"),
    ],
)
def test_an_answer_fits_its_schema(route: str, path: str, client: Client, document: Any) -> None:
    [event] = client.send(
        recipients=[{"handle": "lena@bakery.example", "role": role} for role in ("from", "cc", "reply-to")],
        attachments=[{"filename": "a.png", "is_inline": True}, {"filename": "b.pdf"}],
    )
    client.send("outbound_sent", conversation=event["conversation_id"])
    change = {"status": "archived", "tag_ids": [client.company["tags"][0]["id"]]}
    client.call("PATCH", f"/conversations/{event['conversation_id']}", json=change)
    answer = client.call("GET", path.format(**event))
    assert answer.status_code == 200
    assert errors(document, route, answer.json()) == []


@pytest.mark.parametrize(
    "application_type",
    [
        "inbound_received",
        "outbound_sent",
        "conversation_archived",
        "conversation_reopened",
        "conversation_deleted",
        "conversation_restored",
        "conversation_snooze_expired",
        "conversation_moved",
        "new_comment_added",
        "assignee_changed",
        "tag_added",
        "tag_removed",
        "link_added",
        "link_removed",
        "message_delivery_failed",
        "unassign",
        "out_reply",
        "mention",
        "forward",
        "sending_error",
        "message_bounce_error",
        "conversations_merged",
        "custom_field_updated",
        "macro_triggered",
        "topic_identified",
        "ticket_status_update",
        "call_started",
    ],
)
def test_every_kind_of_event_fits_the_schema(application_type: str, client: Client, document: Any) -> None:
    client.send(application_type, deliver=False)
    assert errors(document, "/events", client.call("GET", "/events").json()) == []


def test_the_check_would_notice_a_wrong_body(client: Client, document: Any) -> None:
    body = client.call("GET", "/me").json()
    assert errors(document, "/me", body | {"surprise": 1})
    assert errors(document, "/me", {"id": "cmp_1"})
