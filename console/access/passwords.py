"""Hash and check passwords with Argon2id, a few at a time: each takes 64 MiB for a moment."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from shared.errors import MailroomError

# RFC 9106, section 4, second recommended option.
MEMORY_KIB = 64 * 1024
ITERATIONS = 3
LANES = 4
SALT_BYTES = 16
HASH_BYTES = 32

SHORTEST = 12  # characters
LONGEST = 256
MOST_AT_ONCE = 2
WAIT_SECONDS = 3.0

_slots = threading.BoundedSemaphore(MOST_AT_ONCE)


class BadPassword(MailroomError):
    """The password cannot be used."""

    code = "bad_password"


class HashingBusy(MailroomError):
    """Too many passwords are being checked; try again in a moment."""

    code = "hashing_busy"


def hash_password(password: str) -> str:
    """Return the password as a PHC string. Raises BadPassword, HashingBusy."""
    if not SHORTEST <= len(password) <= LONGEST:
        raise BadPassword(f"a password has {SHORTEST} to {LONGEST} characters")
    return _hash(password)


def is_password(password: str, stored: str | None) -> bool:
    """Whether this is the stored password. Takes as long without a stored one. Raises HashingBusy."""
    if len(password) > LONGEST:
        return False
    with _slot():
        try:
            Argon2id.verify_phc_encoded(password.encode("utf-8", "surrogateescape"), stored or _unknown())
        except InvalidKey:
            return False
    return stored is not None


def _hash(password: str) -> str:
    with _slot():
        return _derive(password)


def _derive(password: str) -> str:
    argon = Argon2id(
        salt=secrets.token_bytes(SALT_BYTES),
        length=HASH_BYTES,
        iterations=ITERATIONS,
        lanes=LANES,
        memory_cost=MEMORY_KIB,
    )
    return argon.derive_phc_encoded(password.encode("utf-8", "surrogateescape"))


@cache
def _unknown() -> str:
    """Return the hash of a password that nobody has: a log-in to an unknown account costs as much as to a known one."""
    return _derive(secrets.token_urlsafe())


@contextmanager
def _slot() -> Iterator[None]:
    if not _slots.acquire(timeout=WAIT_SECONDS):
        raise HashingBusy("many people log in at the moment; try again in a few seconds")
    try:
        yield
    finally:
        _slots.release()
