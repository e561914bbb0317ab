"""Every cause of a failure has words that say what it means and what to do."""

from __future__ import annotations

import pytest

from console.failure_texts import TEXTS, UNKNOWN, text_of
from shared import errors
from shared.db.tasks.rescue import WORKER_LOST
from workers.notifying.decisions import REFUSED, UNAVAILABLE

FAMILIES = (errors.TransientError, errors.NotYet, errors.Parking, errors.PermanentError)
#: Of repairs, of downloads, or of a schema that no worker starts with: no task ends or waits with them.
NEVER_OF_A_TASK = {"file_missing", "gives_way", "not_migrated", "schema_too_new"}


def codes() -> set[str]:
    """Return the codes of all errors with which a task may fail or wait."""
    classes = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, FAMILIES)]
    return {each.code for each in classes if each not in FAMILIES} | {WORKER_LOST, "bug", UNAVAILABLE, REFUSED}


def test_each_cause_has_words() -> None:
    assert codes() - NEVER_OF_A_TASK == set(TEXTS) - {"unreadable_secret"}


@pytest.mark.parametrize("code", TEXTS)
def test_the_words_are_whole_sentences(code: str) -> None:
    text = text_of(code)
    for sentence in (text.meaning, text.what_to_do):
        assert sentence[0].isupper()
        assert sentence.endswith(".")


def test_a_cause_without_words_of_its_own_has_some() -> None:
    assert text_of("made_up") == text_of(None) == UNKNOWN
