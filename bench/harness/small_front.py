"""The sandbox as a test sees it: what it is told over HTTP, and the ledger it writes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import requests

if TYPE_CHECKING:
    from pathlib import Path

SECONDS = 300  # an order that is waited for may take minutes


class SmallFront:
    """Its control; every refusal is an error of the test."""

    def __init__(self, port: int, ledger: Path) -> None:
        self.port, self.folder = port, ledger.parent
        self._url = f"http://127.0.0.1:{port}/sandbox"
        self._ledger = ledger

    def listens(self) -> bool:
        """Whether it can be told something."""
        try:
            return requests.get(f"{self._url}/companies", timeout=5).ok
        except requests.ConnectionError:
            return False

    def found(self, company: str) -> str:
        """Found a company; its API token."""
        return str(self._call("POST", "companies", {"id": company, "name": company})["api_token"])

    def tags(self, company: str) -> list[str]:
        """The ids of the company's tags."""
        [tags] = [each["tags"] for each in self._call("GET", "companies")["companies"] if each["id"] == company]
        return [tag["id"] for tag in tags]

    def revoke(self, company: str) -> None:
        """Let Front accept none of the company's tokens any more."""
        self._call("POST", f"companies/{company}/tokens", {"do": "revoke"})

    def restore(self, company: str, token: str) -> None:
        """Let Front accept this API token of the company."""
        self._call("POST", f"companies/{company}/tokens", {"do": "restore", "api_token": token})

    def act(self, conversation_id: str, do: str, **how: Any) -> None:
        """Change a conversation as a person would: reopen, archive, trash, restore, or merge `into` another."""
        self._call("POST", f"conversations/{conversation_id}/act", {"do": do, **how})

    def send(self, type_: str, company: str, **order: Any) -> dict[str, Any]:
        """Send webhooks; the report."""
        return self._call("POST", "send", {"type": type_, "company": company, **order})

    def events_of(self, job: str) -> list[dict[str, Any]]:
        """What an order that was not waited for has brought about so far."""
        return list(self._call("GET", f"jobs/{job}")["events"])

    def challenge(self, company: str) -> dict[str, Any]:
        """Have the door asked to prove itself."""
        return self._call("POST", "challenge", {"company": company})

    def fault(self, kind: str, **rule: Any) -> None:
        """Let calls of the API go wrong."""
        self._call("POST", "faults", {"kind": kind, **rule})

    def heal(self) -> None:
        """Let nothing go wrong any more."""
        self._call("DELETE", "faults")

    def conversation(self, conversation_id: str) -> dict[str, Any]:
        """What became of it."""
        return self._call("GET", f"conversations/{conversation_id}")

    def file(self, attachment_id: str) -> dict[str, Any]:
        """Size and checksum of its bytes."""
        return self._call("GET", f"files/{attachment_id}")

    def verdict(self) -> dict[str, Any]:
        """Was anything lost, done twice, or done unasked?"""
        return self._call("GET", "verdict")

    def lost(self) -> set[str]:
        """The acknowledged events after which Front saw nothing of what should follow."""
        return set(self._call("GET", "verdict?named=1000000")["lost_events"])

    def totals(self) -> dict[str, Any]:
        """The ledger in numbers."""
        return self._call("GET", "ledger")

    def calls(self) -> list[dict[str, Any]]:
        """Every call of its API."""
        return list(self._call("GET", "ledger/calls")["calls"])

    def acknowledged(self) -> set[str]:
        """The events that the door took."""
        taken = [each for each in self.tries() if isinstance(each["status"], int) and 200 <= each["status"] < 300]
        return {each["event_id"] for each in taken}

    def tries(self) -> list[dict[str, Any]]:
        """Every attempt to deliver, as the ledger's file has them."""
        with self._ledger.open(encoding="utf-8") as lines:
            entries = [json.loads(line) for line in lines]
        return [entry for entry in entries if entry["what"] == "try"]

    def _call(self, method: str, what: str, body: object = None) -> dict[str, Any]:
        answer = requests.request(method, f"{self._url}/{what}", json=body, timeout=SECONDS)
        assert answer.ok, f"{method} /sandbox/{what}: {answer.status_code} {answer.text[:500]}"
        document: dict[str, Any] = answer.json()
        return document
