"""What can go wrong, and whether trying again can help.

MailroomError
├── ConfigurationError          a setting is wrong; exit 78
├── Refused                     the door says no to a request
│   ├── InvalidSignature        401  invalid_signature
│   ├── StaleTimestamp          401  stale_timestamp
│   ├── BodyTooLarge            413  body_too_large
│   ├── BodyTooSlow             408  body_too_slow
│   ├── EncodedBody             415  encoded_body
│   └── ChallengeTooLong        400  challenge_too_long
├── ComeBack                    the door asks the sender to send it again
│   ├── NothingStored           503  nothing_stored: neither Redis nor PostgreSQL took the delivery in time
│   └── DoorFull                503  door_full: more large bodies, or questions, at once than there is room for
├── PermanentError              trying again cannot help: the task fails at once
│   ├── MalformedEnvelope       malformed_envelope
│   ├── FrontRejected           front_rejected: a 4xx that stays
│   ├── ConversationGone        conversation_gone: 404 on a conversation
│   ├── UnsafeRedirect          unsafe_redirect
│   ├── AttachmentTooLarge      attachment_too_large
│   └── InvalidPolicy           invalid_policy
├── TransientError              trying again later may help
│   ├── FrontUnavailable        front_unavailable: 5xx, timeout, reset
│   ├── AttachmentMissing       attachment_missing: 404 of a file that may lag behind its event
│   ├── DownloadIncomplete      download_incomplete
│   ├── StorageUnavailable      storage_unavailable
│   │   └── StorageFull         storage_full
│   ├── UnclearAnswer           unclear_answer: a write went out and no answer came back
│   └── StoreUnavailable        store_unavailable: PostgreSQL or Redis is away
├── NotYet                      give the task back; this was no attempt
│   ├── BudgetExhausted         budget_exhausted: Front's 429, or our own count
│   ├── TokenUnavailable        token_unavailable: a token has ended, and Front's token endpoint gives no new one yet
│   ├── ConversationMoved       conversation_moved: merged; nothing happened under the old id
│   ├── LeaseTooShort           lease_too_short: too little lease left for a write
│   ├── GivesWay                gives_way: something else goes first
│   └── ShuttingDown            shutting_down
├── Parking                     the tenant's connection needs somebody; this was no attempt
│   ├── NeedsReconnect          needs_reconnect
│   └── MissingScope            missing_scope
├── BeingErased                 being_erased: the tenant is about to be gone
└── Fenced                      fenced: another attempt owns the task; write nothing

Every class carries a stable one-word `code`: the same word in log, metric, filter and test.
"""

from __future__ import annotations

from typing import ClassVar


class MailroomError(Exception):
    """Anything Mailroom itself raises."""

    code: ClassVar[str] = "error"


class ConfigurationError(MailroomError):
    """The settings are wrong; the message lists every mistake and never a secret's value."""

    code = "configuration"


class Refused(MailroomError):
    """The door does not take this request; the sender must change it."""

    code = "refused"
    status: ClassVar[int] = 400


class InvalidSignature(Refused):
    """The signature does not fit the bytes; check FRONT_SIGNING_KEYS against the app's signing key."""

    code = "invalid_signature"
    status = 401


class StaleTimestamp(Refused):
    """The signed timestamp is outside the window; check FRESHNESS_SECONDS and this machine's clock."""

    code = "stale_timestamp"
    status = 401


class BodyTooLarge(Refused):
    """The body is over MAX_BODY_BYTES."""

    code = "body_too_large"
    status = 413


class BodyTooSlow(Refused):
    """The body was not here in time."""

    code = "body_too_slow"
    status = 408


class EncodedBody(Refused):
    """The body is compressed; Front sends plain bodies, and the door does not inflate."""

    code = "encoded_body"
    status = 415


class ChallengeTooLong(Refused):
    """The challenge is longer than any of Front's; the door does not echo it."""

    code = "challenge_too_long"


class ComeBack(MailroomError):
    """The door cannot take the request now; the sender is asked to come back."""

    code = "come_back"


class NothingStored(ComeBack):
    """Neither Redis nor PostgreSQL took the delivery in time."""

    code = "nothing_stored"


class DoorFull(ComeBack):
    """More at once than the door has room for."""

    code = "door_full"


class PermanentError(MailroomError):
    """Trying again cannot help."""

    code = "permanent"


class MalformedEnvelope(PermanentError):
    """The signed body is not an envelope of Front's."""

    code = "malformed_envelope"


class FrontRejected(PermanentError):
    """Front answered a 4xx that will stay the same."""

    code = "front_rejected"


class ConversationGone(PermanentError):
    """Front does not know the conversation, or hides it from this connection."""

    code = "conversation_gone"


class UnsafeRedirect(PermanentError):
    """Front's answer points somewhere a token must not go."""

    code = "unsafe_redirect"


class AttachmentTooLarge(PermanentError):
    """The file is over MAX_ATTACHMENT_BYTES."""

    code = "attachment_too_large"


class InvalidPolicy(PermanentError):
    """The wanted action does not exist or cannot be done through Front's API."""

    code = "invalid_policy"


class TransientError(MailroomError):
    """Trying again later may help."""

    code = "transient"

    def __init__(self, message: str, *, retry_after: float | None = None):
        super().__init__(message)
        self.retry_after = retry_after


class FrontUnavailable(TransientError):
    """Front did not answer, or answered 5xx."""

    code = "front_unavailable"


class AttachmentMissing(TransientError):
    """Front does not know the file (yet): files may lag behind their event."""

    code = "attachment_missing"


class DownloadIncomplete(TransientError):
    """Fewer bytes arrived than were announced."""

    code = "download_incomplete"


class StorageUnavailable(TransientError):
    """The file storage refused the write or does not answer; check STORAGE_URL."""

    code = "storage_unavailable"


class StorageFull(StorageUnavailable):
    """The file storage has no space left; make room at STORAGE_URL."""

    code = "storage_full"


class UnclearAnswer(TransientError):
    """A write went out and no clear answer came back: it may have happened."""

    code = "unclear_answer"


class StoreUnavailable(TransientError):
    """PostgreSQL or Redis is away."""

    code = "store_unavailable"


class NotYet(MailroomError):
    """The task goes back as it was, and this was no attempt.

    `affects_tenant`: the tenant's other tasks would go back for the same reason.
    """

    code = "not_yet"
    affects_tenant: ClassVar[bool] = False

    def __init__(self, message: str, *, retry_after: float = 0.0):
        super().__init__(message)
        self.retry_after = retry_after


class BudgetExhausted(NotYet):
    """The company's share of Front's rate limit is used up."""

    code = "budget_exhausted"
    affects_tenant = True


class TokenUnavailable(NotYet):
    """The tenant's token has ended and Front's token endpoint gives no new one yet, or gives it to another worker."""

    code = "token_unavailable"
    affects_tenant = True


class ConversationMoved(NotYet):
    """The conversation was merged into another one; nothing was changed under the id that was asked for."""

    code = "conversation_moved"

    def __init__(self, message: str, *, merged_id: str = "", surviving_id: str = ""):
        super().__init__(message)
        self.merged_id = merged_id
        self.surviving_id = surviving_id


class LeaseTooShort(NotYet):
    """Too little of the lease is left to start a write."""

    code = "lease_too_short"


class GivesWay(NotYet):
    """Something else goes before this; it goes on later."""

    code = "gives_way"


class ShuttingDown(NotYet):
    """This worker is stopping."""

    code = "shutting_down"


class Parking(MailroomError):
    """The tenant's connection needs somebody; its tasks wait with a cause."""

    code = "parked"


class NeedsReconnect(Parking):
    """Front no longer accepts the tenant's token; connect the tenant again."""

    code = "needs_reconnect"


class MissingScope(Parking):
    """The tenant's token lacks a permission; add the scope to the Front app or token."""

    code = "missing_scope"


class BeingErased(MailroomError):
    """The tenant is being erased; nothing of it can be changed."""

    code = "being_erased"


class Fenced(MailroomError):
    """Another attempt owns the task now; nothing may be written."""

    code = "fenced"
