"""Every cause of a failure has words that say what it means and what to do."""

from __future__ import annotations

import pytest

from console.failure_texts import TEXTS, UNKNOWN, text_of
from shared import errors
from shared.db.tasks.rescue import WORKER_LOST
from workers.notifying.decisions import REFUSED, UNAVAILABLE

#: Bases, which are not raised themselves.
FAMILIES = {
    errors.MailroomError, errors.PermanentError, errors.TransientError, errors.NotYet, errors.Parking,
}  # fmt: skip
#: Of the door, whose refusals are no work, and of a process that does not start.
NO_WORK = (errors.Refused, errors.ComeBack, errors.ConfigurationError)
#: Causes that are no class of `shared.errors`.
OTHERS = {WORKER_LOST, UNAVAILABLE, REFUSED, "bug", "unreadable_secret", "unknown_company", "paused"}


def codes() -> set[str]:
    """Return the codes of all errors with which work may fail or wait."""
    classes = [each for each in vars(errors).values() if isinstance(each, type)]
    wanted = [each for each in classes if issubclass(each, errors.MailroomError) and not issubclass(each, NO_WORK)]
    return {each.code for each in wanted if each not in FAMILIES} | OTHERS


def test_each_cause_has_words() -> None:
    assert codes() == set(TEXTS)


@pytest.mark.parametrize("code", TEXTS)
def test_the_words_are_whole_sentences(code: str) -> None:
    text = text_of(code)
    for sentence in (text.meaning, text.what_to_do):
        assert sentence[0].isupper()
        assert sentence.endswith(".")


def test_a_cause_without_words_of_its_own_has_some() -> None:
    assert text_of("made_up") == text_of(None) == UNKNOWN
