"""Passwords are hashed a few at a time, and checking an unknown one costs as much as a known one."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from console.access import passwords
from console.access.passwords import MOST_AT_ONCE, BadPassword, HashingBusy, hash_password, is_password

RIGHT = "correct horse battery staple"


def test_a_password_is_known_again() -> None:
    stored = hash_password(RIGHT)
    assert stored.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert RIGHT not in stored
    assert (is_password(RIGHT, stored), is_password("wrong", stored), is_password(RIGHT, None)) == (True, False, False)


@pytest.mark.parametrize("password", ["", "x" * 11, "x" * 257])
def test_a_password_has_a_length(password: str) -> None:
    with pytest.raises(BadPassword):
        hash_password(password)


def test_a_password_may_have_any_characters() -> None:
    for password in ("пароль пароль", "\0" * 12, "\udc80" * 12, "🐎" * 12):
        assert is_password(password, hash_password(password))


def test_a_long_text_is_not_hashed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "_slots", None)  # nobody asks for a slot
    assert not is_password("x" * 257, None)


def test_no_more_passwords_than_that_are_checked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    running, most, release = 0, 0, threading.Event()
    begun, lock = threading.Semaphore(0), threading.Lock()

    def derive(_: str) -> str:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        begun.release()
        assert release.wait(30)
        with lock:
            running -= 1
        return "hash"

    monkeypatch.setattr(passwords, "_derive", derive)
    monkeypatch.setattr(passwords, "WAIT_SECONDS", 30.0)
    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(hash_password, RIGHT) for _ in range(8)]
        for _ in range(MOST_AT_ONCE):
            assert begun.acquire(timeout=30)
        monkeypatch.setattr(passwords, "WAIT_SECONDS", 0.01)
        with pytest.raises(HashingBusy):
            hash_password(RIGHT)
        release.set()
        assert [each.result(30) for each in waiting] == ["hash"] * 8
    assert most == MOST_AT_ONCE
