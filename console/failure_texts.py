"""Explain each cause of a failure: its meaning, the remedy, and whether a retry can help. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, kw_only=True)
class FailureText:
    """A cause in words. `retry`: whether the same task may succeed when it is tried again."""

    meaning: str
    what_to_do: str
    retry: bool


UNKNOWN: Final = FailureText(
    meaning="The work ended with an error that has no words of its own.",
    what_to_do="Read the detail and the attempts; the log of the worker has a line with the task's number.",
    retry=True,
)
TEXTS: Final[Mapping[str, FailureText]] = {
    "attachment_missing": FailureText(
        meaning="Front no longer has the file.",
        what_to_do="Ask the sender for it, or discard the task: then the action goes on without the file.",
        retry=False,
    ),
    "attachment_too_large": FailureText(
        meaning="The file is larger than MAX_ATTACHMENT_BYTES.",
        what_to_do="Raise the setting and retry, or discard the task.",
        retry=True,
    ),
    "size_mismatch": FailureText(
        meaning="The file came with another size than its message announced.",
        what_to_do="Look at the file in Front. If it is whole, retry and accept its size; else discard the task.",
        retry=True,
    ),
    "download_incomplete": FailureText(
        meaning="The file never came whole.",
        what_to_do="Retry in a while; if it stays, open the file in Front.",
        retry=True,
    ),
    "unsafe_redirect": FailureText(
        meaning="Front led the download to an address inside your network, or to no address at all.",
        what_to_do="Do not retry before you know why; the attempt names the host.",
        retry=False,
    ),
    "conversation_gone": FailureText(
        meaning="Front no longer has the conversation.",
        what_to_do="Nothing is left to do; discard the task.",
        retry=False,
    ),
    "conversation_moved": FailureText(
        meaning="Front merged the conversation into another one.",
        what_to_do="Retry: the work goes on in the other conversation.",
        retry=True,
    ),
    "front_unavailable": FailureText(
        meaning="Front did not answer, or answered with an error of its own, at every attempt.",
        what_to_do="Look at Front's status page, then retry.",
        retry=True,
    ),
    "front_rejected": FailureText(
        meaning="Front refused the request: it will refuse the same one again.",
        what_to_do="Read Front's answer in the attempt, mend its cause (such as a tag that was deleted), then retry.",
        retry=False,
    ),
    "missing_scope": FailureText(
        meaning="The tenant's token may not do this.",
        what_to_do="Add the scope in the Front app, or make a new API token, and connect the tenant again.",
        retry=True,
    ),
    "needs_reconnect": FailureText(
        meaning="Front no longer takes the tenant's token.",
        what_to_do="Connect the tenant again; its work goes on by itself.",
        retry=True,
    ),
    "token_unavailable": FailureText(
        meaning="The tenant's token could not be renewed.",
        what_to_do="Look whether Front answers; then retry.",
        retry=True,
    ),
    "unreadable_secret": FailureText(
        meaning="The tenant's token was encrypted with a key that is not in TOKEN_KEYS.",
        what_to_do="Put the key back into TOKEN_KEYS, or connect the tenant again.",
        retry=True,
    ),
    "unclear_answer": FailureText(
        meaning="Front's answer to a change was lost, and a look at the conversation did not tell whether it was made.",
        what_to_do="Look at the conversation in Front; retry only if the change is missing.",
        retry=True,
    ),
    "storage_full": FailureText(
        meaning="There was no room at STORAGE_URL.", what_to_do="Make room, then retry.", retry=True
    ),
    "storage_unavailable": FailureText(
        meaning="The storage did not answer.", what_to_do="Check STORAGE_URL, then retry.", retry=True
    ),
    "endpoint_unavailable": FailureText(
        meaning="Your application did not take the notification at nine attempts in two days.",
        what_to_do="Read its answer in the attempt. Mend the application or the endpoint's URL, then retry.",
        retry=True,
    ),
    "endpoint_refused": FailureText(
        meaning="Your application refused the notification three times with a 4xx.",
        what_to_do="Look in its log under the id of the notification. Mend it and retry, or discard the task.",
        retry=True,
    ),
    "worker_lost": FailureText(
        meaning="Five workers were lost while they ran this task: perhaps the task itself ends them.",
        what_to_do="Look at the workers' logs and memory at the times of the attempts before you retry.",
        retry=True,
    ),
    "bug": FailureText(
        meaning="Mailroom itself failed: the work ended with an error that it does not know.",
        what_to_do="Report it with the detail. A newer release may do the same task.",
        retry=False,
    ),
    "invalid_policy": FailureText(
        meaning="The policy names an action that does not exist.",
        what_to_do="Correct the tenant's policy, then retry.",
        retry=True,
    ),
    "budget_exhausted": FailureText(
        meaning="The tenant has made as many calls to Front as its rate limit allows this minute.",
        what_to_do="Nothing: the task goes on as soon as calls are free.",
        retry=True,
    ),
    "lease_too_short": FailureText(
        meaning="The worker had too little time left to change anything at Front safely.",
        what_to_do="Nothing: the task is tried again at once.",
        retry=True,
    ),
    "shutting_down": FailureText(
        meaning="The worker was stopped in the middle of the work.",
        what_to_do="Nothing: another worker goes on with it.",
        retry=True,
    ),
    "store_unavailable": FailureText(
        meaning="PostgreSQL or Redis did not answer.",
        what_to_do="Nothing, once the server is back: the task is tried again by itself.",
        retry=True,
    ),
    "body_gone": FailureText(
        meaning="The event was to be recorded again, and its body is no longer stored.",
        what_to_do="Nothing is left to do; discard the task.",
        retry=False,
    ),
    "file_missing": FailureText(
        meaning="The storage no longer has a file that was stored.",
        what_to_do="Look for it at STORAGE_URL or in a backup; Front may still have the file.",
        retry=False,
    ),
    "gives_way": FailureText(
        meaning="Other work of the tenant went first.",
        what_to_do="Nothing: it goes on by itself.",
        retry=True,
    ),
    "not_migrated": FailureText(
        meaning="The database lacks tables or columns of this release.",
        what_to_do="Run `mailroom migrate`; the work goes on by itself then.",
        retry=True,
    ),
    "schema_too_new": FailureText(
        meaning="A newer release took away a part of the database that this one needs.",
        what_to_do="Run the newer release everywhere; the work goes on by itself then.",
        retry=True,
    ),
    "being_erased": FailureText(
        meaning="The tenant is being erased, and nothing of it may be changed.",
        what_to_do="Nothing: the work is removed with the tenant.",
        retry=False,
    ),
    "fenced": FailureText(
        meaning="Another attempt owns the work now, so this one wrote nothing.",
        what_to_do="Nothing: the other attempt ends it.",
        retry=True,
    ),
    "unknown_company": FailureText(
        meaning="No tenant has the company of this webhook.",
        what_to_do="Add the company as a tenant and connect it; its mail is worked through by itself then.",
        retry=False,
    ),
    "paused": FailureText(
        meaning="Somebody paused the tenant.",
        what_to_do="Resume the tenant; its work goes on by itself then.",
        retry=False,
    ),
    "malformed_envelope": FailureText(
        meaning="The webhook's body is not what Front documents.",
        what_to_do="Look at the body; if it is from Front, report it. A retry reads the same body.",
        retry=False,
    ),
}


def text_of(code: str | None) -> FailureText:
    """Return the words for a cause."""
    return TEXTS.get(code or "", UNKNOWN)
