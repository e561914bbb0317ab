"""A client for the sandbox: its control over HTTP, and the ledger that it writes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import requests

if TYPE_CHECKING:
    from pathlib import Path

#: The counts of the verdict; any but zero violates a guarantee.
FAILINGS = ("lost", "double", "ghost", "wrong_token")
SECONDS = 300  # an order may take minutes


class SmallFront:
    """Controls a running sandbox; a refused call raises AssertionError."""

    def __init__(self, port: int, ledger: Path, *, address: str = "127.0.0.1") -> None:
        self.port, self.folder = port, ledger.parent
        self._url = f"http://{address}:{port}/sandbox"
        self._ledger = ledger

    def listens(self) -> bool:
        """Tell whether it answers."""
        try:
            return requests.get(f"{self._url}/companies", timeout=5).ok
        except requests.ConnectionError:
            return False

    def create(self, company: str) -> str:
        """Create a company; return its API token."""
        return str(self._call("POST", "companies", {"id": company, "name": company})["api_token"])

    def tags(self, company: str) -> list[str]:
        """Return the ids of the company's tags."""
        [tags] = [each["tags"] for each in self._call("GET", "companies")["companies"] if each["id"] == company]
        return [tag["id"] for tag in tags]

    def revoke(self, company: str) -> None:
        """Revoke all tokens of the company."""
        self._call("POST", f"companies/{company}/tokens", {"do": "revoke"})

    def restore(self, company: str, token: str) -> None:
        """Make this API token of the company valid."""
        self._call("POST", f"companies/{company}/tokens", {"do": "restore", "api_token": token})

    def act(self, conversation_id: str, do: str, **how: Any) -> None:
        """Change a conversation as a person would: reopen, archive, trash, restore, or merge `into` another."""
        self._call("POST", f"conversations/{conversation_id}/act", {"do": do, **how})

    def send(self, type_: str, company: str, **order: Any) -> dict[str, Any]:
        """Send webhooks; return the report."""
        return self._call("POST", "send", {"type": type_, "company": company, **order})

    def events_of(self, job: str) -> list[dict[str, Any]]:
        """Return the events that a background order has made so far."""
        return list(self._call("GET", f"jobs/{job}")["events"])

    def challenge(self, company: str) -> dict[str, Any]:
        """Send the door Front's challenge."""
        return self._call("POST", "challenge", {"company": company})

    def fault(self, kind: str, **rule: Any) -> None:
        """Make calls of the API fail."""
        self._call("POST", "faults", {"kind": kind, **rule})

    def heal(self) -> None:
        """End all failures of the API."""
        self._call("DELETE", "faults")

    def conversation(self, conversation_id: str) -> dict[str, Any]:
        """Return the conversation with its history."""
        return self._call("GET", f"conversations/{conversation_id}")

    def file(self, attachment_id: str) -> dict[str, Any]:
        """Return size and checksum of its bytes."""
        return self._call("GET", f"files/{attachment_id}")

    def verdict(self) -> dict[str, Any]:
        """Count the events that were lost, done twice, or done unasked."""
        return self._call("GET", "verdict")

    def lost(self) -> set[str]:
        """Return the acknowledged events whose expected change Front never saw."""
        return set(self._call("GET", "verdict?named=1000000")["lost_events"])

    def totals(self) -> dict[str, Any]:
        """Return the ledger in numbers."""
        return self._call("GET", "ledger")

    def calls(self) -> list[dict[str, Any]]:
        """Return every call of its API, oldest first."""
        return list(self._call("GET", "ledger/calls")["calls"])

    def acknowledged(self) -> set[str]:
        """Return the events that the door acknowledged."""
        taken = [each for each in self.tries() if isinstance(each["status"], int) and 200 <= each["status"] < 300]
        return {each["event_id"] for each in taken}

    def tries(self) -> list[dict[str, Any]]:
        """Return every attempt to deliver, from the file of the ledger."""
        with self._ledger.open(encoding="utf-8") as lines:
            entries = [json.loads(line) for line in lines]
        return [entry for entry in entries if entry["what"] == "try"]

    def _call(self, method: str, what: str, body: object = None) -> dict[str, Any]:
        answer = requests.request(method, f"{self._url}/{what}", json=body, timeout=SECONDS)
        assert answer.ok, f"{method} /sandbox/{what}: {answer.status_code} {answer.text[:500]}"
        document: dict[str, Any] = answer.json()
        return document
