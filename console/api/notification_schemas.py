"""The schemas of what the host application gets: in the feed, and in the requests to its endpoints."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel

from shared.host.body import SCHEMA_VERSION
from shared.host.notification import ACTION_TYPES, FILE_TYPES, MESSAGE_TYPES, TENANT_TYPES, TYPES

#: The form in which OpenAPI documents keep schemas of their own.
REFERENCES = "#/components/schemas/{model}"


class Part(BaseModel):
    """A part of a notification. Fields may be added to it: ignore those that you do not know."""


class TenantOfNotification(Part):
    """The tenant that the notification is about."""

    id: int = Field(description="Our id")
    customer: str | None = Field(description="Your id of this customer")
    name: str


class FrontIds(Part):
    """Front's ids of the things that the notification is about."""

    event_id: str
    conversation_id: str | None
    message_id: str | None
    conversation_url: str | None = Field(description="The conversation in Front")


class FrontIdsOfMessage(FrontIds):
    """Front's ids of a message and its surroundings."""

    company_id: str | None
    inbox_ids: list[str]


class PartyOfMessage(Part):
    """Somebody whom a message names."""

    address: str
    name: str | None


class UserOfRecipient(Part):
    """A user of the tenant."""

    id: str = Field(description="Your id of the user")
    name: str | None


class RecipientOfMessage(Part):
    """A recipient of the message, with the user it belongs to, or the reason why it belongs to nobody."""

    role: str = Field(description="As Front says: from, to, cc, bcc, reply-to")
    address: str
    as_given: str = Field(description="The address as Front sent it")
    name: str | None
    user: UserOfRecipient | None
    reason: str = Field(description="Why the recipient was matched with this user, or with none")


class OmittedPart(Part):
    """A part that is not in the body, or not all of it."""

    field: str = Field(description="html, text, subject, or one of the lists")
    reason: Literal["not_asked_for", "too_large", "not_sent_by_front", "no_longer_kept"]
    bytes: int | None = Field(None, description="The size of a text")
    count: int | None = Field(None, description="The number of items, or of the characters of a subject")
    kept: int | None = Field(None, description="How many of them are in the body")
    url: str | None = Field(None, description="Where all of it is, with an API token")


class MessageOfNotification(Part):
    """The message."""

    internet_message_id: str | None = Field(description="The header Message-ID, where Front tells it")
    in_reply_to: str | None
    subject: str | None
    sent_at: datetime | None
    received_at: datetime = Field(description="When Front's webhook arrived here")
    emitted_at: datetime | None = Field(description="When it happened in Front")
    direction: Literal["inbound", "outbound"]
    channel: str | None = Field(description="As Front says: email, sms, custom, …")
    is_draft: bool
    sender: PartyOfMessage | None = Field(alias="from")
    reply_to: list[PartyOfMessage]
    recipients: list[RecipientOfMessage]
    text: str | None
    html: str | None
    omitted: list[OmittedPart]


class FileOfNotification(Part):
    """A file of the message."""

    id: str = Field(description="Front's id")
    filename: str = Field(description="The sender's words: show it, and never make a path of it")
    state: Literal["waiting", "stored", "failed", "discarded"]
    size: int | None = Field(description="In bytes: of the stored file, else as the message announced it")
    sha256: str | None
    content_type: str = Field(description="The sender's claim")
    inline: bool
    url: str = Field(description="The bytes, with an API token")
    download_url: str | None = Field(description="The bytes, for whoever has this address, until it expires")
    download_expires_at: datetime | None


class ActionOfNotification(Part):
    """The change of the conversation in Front."""

    kind: str | None = Field(description="none, archive, trash or tag:…")
    state: str | None
    reason: str | None


class PlannedActionOfNotification(ActionOfNotification):
    """The change of the conversation that follows from a message."""

    waits_for_you: bool = Field(description="It is not made before you have taken this notification")


class LinksOfNotification(Part):
    """Where there is more."""

    self: str = Field(description="This notification without any limit of size, with an API token")
    timeline: str = Field(description="The page for people")


class MessageData(Part):
    """A message and what was found out about it."""

    tenant: TenantOfNotification | None
    front: FrontIdsOfMessage
    message: MessageOfNotification
    users: list[str] = Field(description="Your ids of the users for whom it is")
    attachments: list[FileOfNotification]
    action: PlannedActionOfNotification | None
    links: LinksOfNotification


class FileData(Part):
    """A file that was stored, or could not be."""

    tenant: TenantOfNotification | None
    front: FrontIds
    attachment: FileOfNotification | None
    links: LinksOfNotification


class ActionData(Part):
    """A change of a conversation that was made, or that something overruled."""

    tenant: TenantOfNotification | None
    front: FrontIds
    action: ActionOfNotification
    links: LinksOfNotification


class TenantData(Part):
    """A tenant whose connection changed."""

    tenant: TenantOfNotification | None


class OtherData(Part):
    """Anything else. Its fields are those of the type."""

    model_config = ConfigDict(extra="allow")

    tenant: TenantOfNotification | None


class Notification(Part):
    """The fields of every notification."""

    type: str
    timestamp: datetime = Field(description="When it happened")
    id: str = Field(pattern=r"^msg_[0-9a-f]{32}$", description="The same in the feed, in every retry and replay")
    position: str = Field(pattern=r"^[a-z0-9]+\.[0-9]{12,}$", description="Its cursor in the feed")
    schema_url: str = Field(alias="schema", description="Where the JSON Schema of this type is")


class MessageNotification(Notification):
    """A message was received or sent, and all of its files are stored, failed or discarded."""

    type: Literal[MESSAGE_TYPES]  # type: ignore[valid-type]
    data: MessageData


class FileNotification(Notification):
    """A file of a message was stored, or could not be."""

    type: Literal[FILE_TYPES]  # type: ignore[valid-type]
    data: FileData


class ActionNotification(Notification):
    """A conversation was archived, trashed or tagged, or something overruled that."""

    type: Literal[ACTION_TYPES]  # type: ignore[valid-type]
    data: ActionData


class TenantNotification(Notification):
    """A tenant was connected to Front, lost its connection, or was paused."""

    type: Literal[TENANT_TYPES]  # type: ignore[valid-type]
    data: TenantData


class OtherNotification(Notification):
    """A test, or news of an endpoint."""

    data: OtherData


class AnyNotification(RootModel[Any]):
    """A notification of any type."""

    root: MessageNotification | FileNotification | ActionNotification | TenantNotification | OtherNotification


MODELS: dict[str, type[Notification]] = {
    **dict.fromkeys(TYPES, OtherNotification),
    **dict.fromkeys(MESSAGE_TYPES, MessageNotification),
    **dict.fromkeys(FILE_TYPES, FileNotification),
    **dict.fromkeys(ACTION_TYPES, ActionNotification),
    **dict.fromkeys(TENANT_TYPES, TenantNotification),
}


def json_schema(notification_type: str) -> dict[str, Any] | None:
    """Return the JSON Schema of the bodies of this type; None when there is no such type."""
    model = MODELS.get(notification_type)
    if model is None:
        return None
    schema = model.model_json_schema(mode="serialization")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"{notification_type} {SCHEMA_VERSION}",
        **schema,
    }


def webhooks() -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the `webhooks` of the OpenAPI document, and the schemas that they refer to."""
    schemas: dict[str, Any] = {}
    for model in dict.fromkeys(MODELS.values()):
        schema = model.model_json_schema(mode="serialization", ref_template=REFERENCES)
        schemas |= schema.pop("$defs", {}) | {model.__name__: schema}
    return {each: {"post": _operation(each)} for each in TYPES}, schemas


def _operation(notification_type: str) -> dict[str, Any]:
    model = MODELS[notification_type]
    reference = {"$ref": REFERENCES.format(model=model.__name__)}
    return {
        "operationId": notification_type.replace(".", "_"),
        "summary": (model.__doc__ or "").split("\n")[0],
        "requestBody": {"required": True, "content": {"application/json": {"schema": reference}}},
        "responses": {"2XX": {"description": "Taken. Anything else is sent again"}},
    }
