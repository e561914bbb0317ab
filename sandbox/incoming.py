"""A request as the sandbox received it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from sandbox.http_messages import Refusal, json_answer

if TYPE_CHECKING:
    from collections.abc import Mapping


#: Each step of an answer asks for a part of it.
_split = lru_cache(maxsize=256)(urlsplit)


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """Method, path, query and raw body; header names are in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def path(self) -> str:
        """The path alone."""
        return _split(self.target).path

    @property
    def query(self) -> dict[str, list[str]]:
        """The query, blank values kept."""
        return parse_qs(_split(self.target).query, keep_blank_values=True)

    @property
    def host(self) -> str:
        """The host and port the client believes it talks to."""
        return self.headers.get("host", "127.0.0.1")

    def first(self, name: str) -> str | None:
        """The first value of a query parameter."""
        return next(iter(self.query.get(name, [])), None)

    def json(self) -> Any:
        """The body as JSON; Front answers broken JSON with a message and nothing else."""
        try:
            return json.loads(self.body or b"null")
        except ValueError as exc:
            raise Refusal(json_answer({"_error": {"message": f"Unexpected token: {exc}"}}, 400)) from exc
