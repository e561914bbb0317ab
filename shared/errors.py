"""The errors that Mailroom raises, grouped by whether another try can help.

MailroomError
├── ConfigurationError          a setting is wrong; exit 78
├── Refused                     the door refuses a request
│   ├── MissingSignature        401  missing_signature
│   ├── InvalidSignature        401  invalid_signature
│   ├── StaleTimestamp          401  stale_timestamp
│   ├── BodyTooLarge            413  body_too_large
│   ├── BodyTooSlow             408  body_too_slow
│   ├── EncodedBody             415  encoded_body
│   └── ChallengeTooLong        400  challenge_too_long
├── ComeBack                    the door asks the sender to send the request again
│   ├── NothingStored           503  nothing_stored: neither Redis nor PostgreSQL took the delivery in time
│   └── DoorFull                503  door_full: the door holds too many large bodies
├── PermanentError              another try cannot help: the task fails at once
│   ├── MalformedEnvelope       malformed_envelope
│   ├── BodyGone                body_gone: retention removed the body
│   ├── FrontRejected           front_rejected: a 4xx that stays
│   ├── ConversationGone        conversation_gone: 404 on a conversation
│   ├── UnsafeRedirect          unsafe_redirect
│   ├── AttachmentTooLarge      attachment_too_large
│   └── InvalidPolicy           invalid_policy
├── TransientError              a later try may help
│   ├── FrontUnavailable        front_unavailable: 5xx, timeout, reset
│   ├── AttachmentMissing       attachment_missing: 404 of a file that may lag behind its event
│   ├── DownloadIncomplete      download_incomplete
│   ├── SizeMismatch            size_mismatch: the file has another size than its message announces
│   ├── StorageUnavailable      storage_unavailable
│   │   ├── FileMissing         file_missing: the storage has no such file
│   │   └── StorageFull         storage_full
│   ├── UnclearAnswer           unclear_answer: a write went out, and no clear answer came back
│   └── StoreUnavailable        store_unavailable: PostgreSQL or Redis is away
│       ├── NotMigrated         not_migrated: the schema lacks what this release needs
│       └── SchemaTooNew        schema_too_new: a newer release took away what this one needs
├── NotYet                      the task goes back as it was; this was no attempt
│   ├── BudgetExhausted         budget_exhausted: Front's 429, or our own count
│   ├── TokenUnavailable        token_unavailable: the token has expired, and Front gives no new one yet
│   ├── ConversationMoved       conversation_moved: it was merged; nothing happened under the old id
│   ├── LeaseTooShort           lease_too_short: too little of the lease is left for a write
│   ├── GivesWay                gives_way: something else goes first
│   └── ShuttingDown            shutting_down
├── Parking                     a person must repair the tenant's connection; this was no attempt
│   ├── NeedsReconnect          needs_reconnect
│   └── MissingScope            missing_scope
├── BeingErased                 being_erased: the tenant is being erased
└── Fenced                      fenced: another attempt owns the task; nothing may be written

Every class has a stable one-word `code`: logs, metrics, filters and tests use the same word.
"""

from __future__ import annotations

from typing import ClassVar


class MailroomError(Exception):
    """The base of every error that Mailroom raises itself."""

    code: str = "error"


class ConfigurationError(MailroomError):
    """A setting is wrong; the message lists every mistake and never the value of a secret."""

    code = "configuration"


class Refused(MailroomError):
    """The door refuses this request; the sender must change it."""

    code = "refused"
    status: ClassVar[int] = 400


class MissingSignature(Refused):
    """The request lacks one of the headers with which Front signs."""

    code = "missing_signature"
    status = 401


class InvalidSignature(Refused):
    """The signature does not match the body; check FRONT_SIGNING_KEYS against the app's signing key."""

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
    """The body did not arrive in time."""

    code = "body_too_slow"
    status = 408


class EncodedBody(Refused):
    """The body is compressed; Front sends plain bodies, and the door decompresses nothing."""

    code = "encoded_body"
    status = 415


class ChallengeTooLong(Refused):
    """The challenge is longer than Front's challenges are; the door does not echo it."""

    code = "challenge_too_long"


class ComeBack(MailroomError):
    """The door cannot take the request now, and asks the sender to send it again."""

    code = "come_back"


class NothingStored(ComeBack):
    """Neither Redis nor PostgreSQL took the delivery in time."""

    code = "nothing_stored"


class DoorFull(ComeBack):
    """The door holds as many large bodies as it has room for."""

    code = "door_full"


class PermanentError(MailroomError):
    """Another try cannot help."""

    code = "permanent"


class MalformedEnvelope(PermanentError):
    """The signed body is not one of Front's envelopes."""

    code = "malformed_envelope"


class BodyGone(PermanentError):
    """The body of the event is no longer stored."""

    code = "body_gone"


class FrontRejected(PermanentError):
    """Front answered a 4xx that another try would not change."""

    code = "front_rejected"


class ConversationGone(PermanentError):
    """Front does not know the conversation, or hides it from this connection."""

    code = "conversation_gone"


class UnsafeRedirect(PermanentError):
    """Front's answer points to a place that must not get a token."""

    code = "unsafe_redirect"


class AttachmentTooLarge(PermanentError):
    """The file is over MAX_ATTACHMENT_BYTES."""

    code = "attachment_too_large"


class InvalidPolicy(PermanentError):
    """The action does not exist, or Front's API cannot do it."""

    code = "invalid_policy"


class TransientError(MailroomError):
    """A later try may help.

    `retry_after`: the seconds to wait that Front names, None when it names none.
    """

    code = "transient"

    def __init__(self, message: str, *, retry_after: float | None = None):
        super().__init__(message)
        self.retry_after = retry_after


class FrontUnavailable(TransientError):
    """Front did not answer, or answered 5xx."""

    code = "front_unavailable"


class AttachmentMissing(TransientError):
    """Front does not know the file, perhaps not yet: a file may lag behind its event."""

    code = "attachment_missing"


class DownloadIncomplete(TransientError):
    """Fewer bytes arrived than the answer promises, or it promises no end."""

    code = "download_incomplete"


class SizeMismatch(TransientError):
    """The file has another size than its message announces."""

    code = "size_mismatch"


class StorageUnavailable(TransientError):
    """The file storage refused the write or does not answer; check STORAGE_URL."""

    code = "storage_unavailable"


class FileMissing(StorageUnavailable):
    """The storage answers, and has no such file."""

    code = "file_missing"


class StorageFull(StorageUnavailable):
    """The file storage has no space left; make room at STORAGE_URL."""

    code = "storage_full"


class UnclearAnswer(TransientError):
    """A write went out, and no clear answer came back: the change may have happened."""

    code = "unclear_answer"


class StoreUnavailable(TransientError):
    """PostgreSQL or Redis is away."""

    code = "store_unavailable"


class NotMigrated(StoreUnavailable):
    """The database lacks tables, columns or functions of this release; run `mailroom migrate`."""

    code = "not_migrated"


class SchemaTooNew(StoreUnavailable):
    """A migration of a newer release took away what this release needs; run the newer release."""

    code = "schema_too_new"


class NotYet(MailroomError):
    """The task goes back as it was, and this does not count as an attempt.

    `retry_after`: the seconds until another try makes sense. `affects_tenant`: the tenant's other tasks would go back
    for the same reason.
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
    """The token has expired, and Front's token endpoint gives no new one yet, or gives it to another worker."""

    code = "token_unavailable"
    affects_tenant = True


class ConversationMoved(NotYet):
    """The conversation was merged into another one; nothing was changed under its old id."""

    code = "conversation_moved"

    def __init__(self, message: str, *, merged_id: str = "", surviving_id: str = ""):
        super().__init__(message)
        self.merged_id = merged_id
        self.surviving_id = surviving_id


class LeaseTooShort(NotYet):
    """Too little of the lease is left to start a write."""

    code = "lease_too_short"


class GivesWay(NotYet):
    """Other work goes first; this continues later."""

    code = "gives_way"


class ShuttingDown(NotYet):
    """This worker is stopping."""

    code = "shutting_down"


class Parking(MailroomError):
    """A person must repair the tenant's connection; its tasks wait with a cause."""

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
