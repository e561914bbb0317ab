"""Front's resources and events as JSON, key for key as its API and webhooks send them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sandbox.models import Comment, CustomField, Inbox, Link, MergedConversations, Message, Tag, Teammate

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.models import Attachment, Company, Conversation, Event, Recipient, Target

Json = dict[str, Any]
CREATED_AT = 1754300000.123
READ_STATUS = {"archived": "archived", "deleted": "deleted", "spam": "deleted"}


@dataclass(frozen=True, slots=True)
class Serializer:
    """Serializes the resources of one company, with links under one base address."""

    base: str
    company: Company

    def identity(self) -> Json:
        """`GET /me`."""
        return {**self._links("/me"), "id": self.company.id, "name": self.company.name}

    def teammate(self, teammate: Teammate) -> Json:
        """A teammate: a person or a bot."""
        path = f"/teammates/{teammate.id}"
        return {
            **self._links(path, inboxes=f"{path}/inboxes", conversations=f"{path}/conversations"),
            "id": teammate.id,
            "email": teammate.email,
            "username": teammate.first_name.lower(),
            "first_name": teammate.first_name,
            "last_name": teammate.last_name,
            "is_admin": teammate.is_admin,
            "is_available": not teammate.is_blocked,
            "is_blocked": teammate.is_blocked,
            "type": teammate.type,
            "custom_fields": {},
        }

    def inbox(self, inbox: Inbox) -> Json:
        """An inbox."""
        path = f"/inboxes/{inbox.id}"
        parts = {part: f"{path}/{part}" for part in ("teammates", "conversations", "channels")}
        return {
            **self._links(path, **parts, owner=f"/teams/{self.company.team_id}"),
            "id": inbox.id,
            "name": inbox.name,
            "is_private": inbox.is_private,
            "is_public": not inbox.is_private,
            "custom_fields": {},
        }

    def channel(self, inbox: Inbox) -> Json:
        """The one channel of an inbox. An SMTP channel has a technical address and a public `send_as`."""
        is_forwarded = inbox.channel_type == "smtp"
        return {
            **self._links(
                f"/channels/{inbox.channel_id}",
                inbox=f"/inboxes/{inbox.id}",
                owner=f"/teams/{self.company.team_id}",
            ),
            "id": inbox.channel_id,
            "name": f"{inbox.name} mail",
            "address": inbox.technical if is_forwarded else inbox.address,
            "type": inbox.channel_type,
            "send_as": inbox.address if is_forwarded else None,
            "settings": {"undo_send_time": 10, "all_teammates_can_reply": False},
            "is_private": inbox.is_private,
            "is_valid": True,
        }

    def tag(self, tag: Tag) -> Json:
        """A tag."""
        path = f"/tags/{tag.id}"
        owner = self.company.teammates[0].id
        return {
            **self._links(
                path,
                conversations=f"{path}/conversations",
                owner=f"/teammates/{owner}" if tag.is_private else f"/teams/{self.company.team_id}",
                parent_tag=None,
                children=None,
            ),
            "id": tag.id,
            "name": tag.name,
            "description": None,
            "highlight": tag.highlight,
            "is_private": tag.is_private,
            "is_visible_in_conversation_lists": not tag.is_private,
            "updated_at": CREATED_AT,
            "created_at": CREATED_AT,
        }

    def recipient(self, recipient: Recipient) -> Json:
        """A recipient of a message. Only people outside of the company are contacts."""
        is_own = recipient.handle.lower().endswith(f"@{self.company.domain}")
        contact = None if is_own else f"/contacts/crd_{hashlib.sha256(recipient.handle.encode()).hexdigest()[:8]}"
        return {
            "_links": {"related": {"contact": contact and self.base + contact}},
            "name": recipient.name,
            "handle": recipient.handle,
            "role": recipient.role,
        }

    def attachment(self, attachment: Attachment) -> Json:
        """The description of a file, which can be downloaded from `url`."""
        metadata: Json = {"is_inline": attachment.is_inline}
        if attachment.is_inline:
            metadata["cid"] = f"ii_{attachment.id}"
        return {
            "id": attachment.id,
            "url": attachment.url or f"{self.base}/download/{attachment.id}",
            "filename": attachment.filename,
            "content_type": attachment.content_type,
            "size": attachment.size,
            "metadata": metadata,
        }

    def message(self, message: Message) -> Json:
        """A message in full."""
        path = f"/messages/{message.id}"
        related = {"conversation": f"/conversations/{message.conversation_id}", "message_seen": f"{path}/seen"}
        if message.replied_to:
            related["message_replied_to"] = f"/messages/{message.replied_to}"
        return {
            **self._links(path, **related),
            "id": message.id,
            "message_uid": hashlib.md5(message.id.encode(), usedforsecurity=False).hexdigest(),
            "type": "email",
            "is_inbound": message.is_inbound,
            "draft_mode": None,
            "error_type": None,
            "version": None,
            "created_at": message.created_at,
            "subject": message.subject,
            "blurb": message.text[:100],
            "author": message.author and self.teammate(message.author),
            "recipients": [self.recipient(recipient) for recipient in message.recipients],
            "body": f"<div>{message.text}</div>",
            "text": message.text,
            "attachments": [self.attachment(attachment) for attachment in message.attachments],
            "signature": None,
            "metadata": {},
        }

    def comment(self, comment: Comment, conversation_id: str) -> Json:
        """A comment on a conversation."""
        path = f"/comments/{comment.id}"
        return {
            **self._links(path, conversation=f"/conversations/{conversation_id}", mentions=f"{path}/mentions"),
            "id": comment.id,
            "author": self.teammate(comment.author),
            "body": comment.body,
            "posted_at": comment.posted_at,
            "attachments": [],
            "is_pinned": False,
        }

    def link(self, link: Link) -> Json:
        """A link to something outside of Front."""
        return {
            **self._links(f"/links/{link.id}"),
            "id": link.id,
            "name": link.name,
            "type": "web",
            "external_url": link.external_url,
            "custom_fields": {},
        }

    def custom_field(self, field: CustomField) -> Json:
        """A custom field of conversations."""
        return {
            **self._links(f"/custom_fields/{field.id}"),
            "id": field.id,
            "name": field.name,
            "description": "",
            "type": "string",
        }

    def rule(self) -> Json:
        """The company's one rule."""
        return {
            **self._links(f"/rules/{self.company.rule_id}", owner=None),
            "id": self.company.rule_id,
            "name": "Tidy up",
            "actions": ["Archive", "Move to trash"],
            "is_private": False,
        }

    def conversation(self, conversation: Conversation) -> Json:
        """A conversation, with the statuses that Front uses in responses."""
        opened = "assigned" if conversation.assignee else "unassigned"
        body: Json = {
            **self._conversation_links(conversation),
            "id": conversation.id,
            "type": "conversation",
            "subject": conversation.subject,
            "status": READ_STATUS.get(conversation.status, opened),
            "ticket_ids": [],
            "assignee": conversation.assignee and self.teammate(conversation.assignee),
            "recipient": conversation.recipient and self.recipient(conversation.recipient),
            "tags": [self.tag(tag) for tag in conversation.tags],
            "links": [],
            "custom_fields": {},
            "created_at": conversation.created_at,
            "updated_at": conversation.updated_at,
            "is_private": False,
            "scheduled_reminders": [],
            "metadata": {},
        }
        if conversation.waiting_since is not None:
            body["waiting_since"] = conversation.waiting_since
        return body

    def event(self, event: Event) -> Json:
        """An event. Like Front, it leaves the key `target` out where there is none."""
        body: Json = {
            "_links": {"self": f"{self.base}/events/{event.id}"},
            "id": event.id,
            "type": event.type,
            "emitted_at": event.emitted_at,
            "conversation": self.conversation(event.conversation),
            "source": self._source(event),
        }
        if event.target is not None:
            name, data = self._target(event.target, event.conversation.id)
            body["target"] = {"_meta": {"type": name}, "data": data}
        return body

    def _source(self, event: Event) -> Json:
        source = event.source
        meta = {"_meta": {"type": source.type}}
        if source.type == "inboxes":
            inboxes = [inbox for inbox in self.company.inboxes if inbox.id == event.conversation.inbox_id]
            return {**meta, "data": [self.inbox(inbox) for inbox in inboxes]}
        if source.type == "rule":
            return {**meta, "data": self.rule()}
        return {**meta, "data": source.teammate and self.teammate(source.teammate)}

    def _target(self, target: Target, conversation_id: str) -> tuple[str, Json | list[str]]:
        if isinstance(target, MergedConversations):
            # Front names this target and documents no form of it.
            return "deleted_conversation_ids", list(target.ids)
        if isinstance(target, Comment):
            return "comment", self.comment(target, conversation_id)
        name, serialize = TARGETS[type(target)]
        return name, serialize(self, target)

    def _conversation_links(self, conversation: Conversation) -> Json:
        path = f"/conversations/{conversation.id}"
        parts: dict[str, str | None] = {
            part: f"{path}/{part}" for part in ("events", "followers", "messages", "comments", "inboxes")
        }
        if conversation.last_message_id:
            parts["last_message"] = f"/messages/{conversation.last_message_id}?referer=conversation"
        return self._links(path, **parts)

    def _links(self, path: str, **related: str | None) -> Json:
        links: Json = {"self": self.base + path}
        if related:
            links["related"] = {name: to and self.base + to for name, to in related.items()}
        return {"_links": links}


TARGETS: dict[type, tuple[str, Callable[[Serializer, Any], Json]]] = {
    Message: ("message", Serializer.message),
    Tag: ("tag", Serializer.tag),
    Link: ("link", Serializer.link),
    Teammate: ("teammate", Serializer.teammate),
    Inbox: ("inboxes", Serializer.inbox),
    CustomField: ("custom_field", Serializer.custom_field),
}
