"""Faults on request: which API calls go wrong, and how."""

from __future__ import annotations

import gzip
import itertools
import json
import random
import re
import threading
from collections import Counter
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from sandbox.http_messages import BadRequest, Response, error_response, json_response, read_fields
from sandbox.rate_limits import too_many_requests

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.http_messages import Request
    from sandbox.rate_limits import RateLimitState

KINDS = (
    "429",
    "429_no_retry_after",
    "429_burst",
    "500",
    "503",
    "timeout",
    "reset_before",
    "reset_after",
    "cut_body",
    "slow_body",
    "oversized_body",
    "404_heals",
    "merged_301",
    "redirect_offsite",
    "ignored",
    "401",
    "403",
    "missing_message_fields",
    # Downloads
    "406_accept",
    "redirect_utf8",
    "file_shorter",
    "file_longer",
    "file_empty",
    "file_unframed",
    "file_cut_unframed",
    "file_cut_chunked",
    "file_login_page",
    "file_gzip",
    "file_gzip_bomb",
    "file_gzip_cut",
    "file_unknown_encoding",
    # Token refreshes
    "refresh_400_error",
    "refresh_400_invalid_grant",
    "refresh_400_invalid_request",
    "refresh_401_invalid_grant",
    "refresh_401_empty",
    "refresh_200_invalid_grant",
)
DOWNLOAD_KINDS = frozenset(kind for kind in KINDS if kind.startswith("file_")) | {"406_accept", "redirect_utf8"}
REFRESH_KINDS = frozenset(kind for kind in KINDS if kind.startswith("refresh_"))
PER_RESOURCE_KINDS = frozenset({"404_heals", "merged_301", "missing_message_fields"})
CONVERSATION_PATH = re.compile(r"/conversations/(cnv_\w+)")
MESSAGE_PATH = re.compile(r"/messages/\w+")
DOWNLOAD_PATH = re.compile(r"/download/\w+")
DEFAULT_HEALS = 2
RETRY_AFTER_SECONDS = 1.0
SILENT_SECONDS = 30.0
SLOW_SECONDS = 10.0
UTF8_FILE = "Übersicht-März-€.pdf"
LOGIN_PAGE = b"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Log in</title></head>
<body><form method="post"><input name="email"><input name="password" type="password"></form></body></html>
"""


@dataclass(frozen=True, kw_only=True)
class FaultRule:
    """A rule that makes calls go wrong.

    `rate` is the share of calls, or the share of resources for the kinds that stay with a resource. `count` is the
    maximum number of faults; for `404_heals`, the number for each path.

    `seconds` is the length of a wait, of a slow body or of `retry-after`. `retry_after` replaces that header with any
    text: a date, a negative number, nonsense. `bytes` is the padding of an oversized body, or the inflated size of
    `file_gzip_bomb`.

    A kind that makes sense for some calls only, as for downloads, matches no others.
    """

    kind: str
    method: str | None = None
    path_regex: str | None = None
    company: str | None = None
    rate: float = 1.0
    count: int | None = None
    seconds: float | None = None
    retry_after: str | None = None
    bytes: int = 8 * 1024 * 1024

    def seconds_or(self, default: float) -> float:
        """The rule's seconds, or the default."""
        return default if self.seconds is None else self.seconds

    def matches(self, request: Request, company: str | None) -> bool:
        """Tell whether the rule is about this call."""
        return (
            (self.kind not in CONDITIONS or CONDITIONS[self.kind](request))
            and self.method in {None, request.method}
            and self.company in {None, company}
            and (self.path_regex is None or re.search(self.path_regex, request.path) is not None)
        )


def read_rule(body: Any) -> FaultRule:
    """Check the fields of a rule, or raise BadRequest."""
    given = read_fields(body, FaultRule)
    if given.get("kind") not in KINDS:
        raise BadRequest(f"kind is one of: {', '.join(KINDS)}")
    try:
        re.compile(given.get("path_regex", ""))
    except re.error as exc:
        raise BadRequest(f"path_regex: {exc}") from exc
    return FaultRule(**given)


class FaultRules:
    """The active rules. The first that matches a call and is due decides."""

    def __init__(self, seed: int | None) -> None:
        self._seed = seed
        self._lock = threading.Lock()
        self._ids = itertools.count(1)
        self.clear()

    def clear(self) -> None:
        """Remove all rules, and start the random numbers again from the seed."""
        with self._lock:
            self._rules: dict[int, FaultRule] = {}
            self._used: Counter[int] = Counter()
            self._heals: Counter[tuple[int, str]] = Counter()
            self._chosen: dict[tuple[int, str], bool] = {}
            self._rng = random.Random(self._seed)

    def add(self, rule: FaultRule) -> int:
        """Add a rule after all others, and return its number."""
        with self._lock:
            number = next(self._ids)
            self._rules[number] = rule
            return number

    def remove(self, number: int) -> bool:
        """Remove a rule. False if there is no such rule."""
        with self._lock:
            return self._rules.pop(number, None) is not None

    def listing(self) -> list[dict[str, Any]]:
        """The active rules, each with the number of its faults so far."""
        with self._lock:
            return [{"id": number, **asdict(rule), "used": self._used[number]} for number, rule in self._rules.items()]

    def choose(self, request: Request, company: str | None) -> FaultRule | None:
        """Choose the fault of this call, and count it. None if the call is to succeed."""
        with self._lock:
            for number, rule in self._rules.items():
                if rule.matches(request, company) and self._is_due(number, rule, request.path):
                    self._used[number] += 1
                    return rule
        return None

    def _is_due(self, number: int, rule: FaultRule, path: str) -> bool:
        if rule.kind in PER_RESOURCE_KINDS:
            return self._is_due_for_resource(number, rule, _resource(rule, path))
        if rule.count is not None and self._used[number] >= rule.count:
            return False
        return self._rng.random() < rule.rate

    def _is_due_for_resource(self, number: int, rule: FaultRule, resource: str) -> bool:
        """Decide once for each resource. `count` limits the resources, or for `404_heals` the faults of each."""
        key = (number, resource)
        if key not in self._chosen:
            is_full = rule.kind != "404_heals" and rule.count is not None and self._resources(number) >= rule.count
            self._chosen[key] = not is_full and self._rng.random() < rule.rate
        if not self._chosen[key] or rule.kind != "404_heals":
            return self._chosen[key]
        self._heals[key] += 1
        return self._heals[key] <= (DEFAULT_HEALS if rule.count is None else rule.count)

    def _resources(self, number: int) -> int:
        return sum(chosen for (owner, _), chosen in self._chosen.items() if owner == number)


def _is_download(request: Request) -> bool:
    return request.method == "GET" and DOWNLOAD_PATH.fullmatch(request.path) is not None


def _is_refused_download(request: Request) -> bool:
    """Front documents the content of a download as `*/*`; a request without `accept` accepts it too."""
    return _is_download(request) and "*/*" not in request.headers.get("accept", "*/*")


def _is_first_download(request: Request) -> bool:
    """Tell whether this request was not redirected yet."""
    return _is_download(request) and request.first("file") is None


def _is_refresh(request: Request) -> bool:
    return request.path == "/oauth/token" and request.parameters.get("grant_type") == "refresh_token"


def _is_message(request: Request) -> bool:
    return request.method == "GET" and MESSAGE_PATH.fullmatch(request.path) is not None


def _resource(rule: FaultRule, path: str) -> str:
    match = CONVERSATION_PATH.match(path) if rule.kind == "merged_301" else None
    return match[1] if match else path


def replace_response(
    rule: FaultRule, request: Request, state: RateLimitState, now: float, offsite: str
) -> Response | None:
    """Return the faulty response to a call that is not handled. None if the call is to be handled first.

    `offsite` is the base address of another host.
    """
    if rule.kind.startswith("429"):
        return _too_many_requests(rule, state, now)
    if rule.kind in ERRORS:
        return error_response(*ERRORS[rule.kind], headers=state.headers())
    if rule.kind == "redirect_offsite":
        return Response(status=302, headers={"Location": offsite + request.target})
    if rule.kind == "redirect_utf8":
        return _redirect_utf8(request)
    return REPLACEMENTS[rule.kind](rule) if rule.kind in REPLACEMENTS else None


def spoil_response(rule: FaultRule, response: Response) -> Response:
    """Put the fault into the response to a call that was handled. A file that is not there has none."""
    if rule.kind in DOWNLOAD_KINDS and response.status != 200:
        return response
    return SPOILERS[rule.kind](response, rule) if rule.kind in SPOILERS else response


def _too_many_requests(rule: FaultRule, state: RateLimitState, now: float) -> Response:
    seconds = rule.seconds_or(RETRY_AFTER_SECONDS)
    is_burst = rule.kind == "429_burst"
    refused = replace(
        state,
        remaining=state.remaining if is_burst else 0,
        reset=now + seconds,
        retry_after=seconds,
        is_burst=is_burst,
    )
    response = too_many_requests(refused, with_retry_after=rule.kind != "429_no_retry_after")
    if rule.retry_after is None:
        return response
    return replace(response, headers={**response.headers, "retry-after": rule.retry_after})


def _without_message_fields(response: Response, _: FaultRule) -> Response:
    if response.status != 200 or not isinstance(response.body, bytes):
        return response
    message = json.loads(response.body)
    for name in ("recipients", "attachments"):
        message.pop(name, None)
    return replace(response, body=json.dumps(message).encode())


def _redirect_utf8(request: Request) -> Response:
    """Redirect with the name of the file in raw UTF-8. Heads are encoded as Latin-1, so each byte is a character."""
    location = f"http://{request.host}{request.path}?file={UTF8_FILE}"
    return Response(status=302, headers={"Location": location.encode().decode("latin-1")})


def _content(response: Response) -> bytes:
    return b"".join(response.chunks())


def _gzipped(response: Response, content: bytes) -> Response:
    headers = {**response.headers, "Content-Encoding": "gzip"}
    return replace(response, headers=headers, body=gzip.compress(content, mtime=0))


def _cut_gzip(response: Response, _: FaultRule) -> Response:
    whole = _gzipped(response, _content(response))
    return replace(whole, body=_content(whole)[: whole.length // 2])


def _login_page(response: Response, _: FaultRule) -> Response:
    return replace(response, headers={"Content-Type": "text/html; charset=utf-8"}, body=LOGIN_PAGE)


CONDITIONS: dict[str, Callable[[Request], bool]] = {
    "merged_301": lambda request: CONVERSATION_PATH.match(request.path) is not None,
    "missing_message_fields": _is_message,
    **dict.fromkeys(DOWNLOAD_KINDS, _is_download),
    "406_accept": _is_refused_download,
    "redirect_utf8": _is_first_download,
    **dict.fromkeys(REFRESH_KINDS, _is_refresh),
}
ERRORS = {
    "500": (500, "Something went wrong"),
    "503": (503, "Please come back later"),
    "401": (401, "Invalid token"),
    "403": (403, "Missing scope"),
    "404_heals": (404, "Unknown resource"),
    "406_accept": (406, "The file cannot be sent as the requested type"),
}
REPLACEMENTS: dict[str, Callable[[FaultRule], Response]] = {
    "refresh_400_error": lambda _: error_response(400, "Invalid refresh token"),
    "refresh_400_invalid_grant": lambda _: json_response({"error": "invalid_grant"}, 400),
    "refresh_400_invalid_request": lambda _: json_response({"error": "invalid_request"}, 400),
    "refresh_401_invalid_grant": lambda _: json_response({"error": "invalid_grant"}, 401),
    "refresh_401_empty": lambda _: Response(status=401),
    "refresh_200_invalid_grant": lambda _: json_response({"error": "invalid_grant"}),
    "reset_before": lambda _: Response(status=0, wire_fault="reset"),
    "timeout": lambda rule: Response(status=0, wire_fault="silent", seconds=rule.seconds_or(SILENT_SECONDS)),
    "ignored": lambda _: Response(status=204),
}
SPOILERS: dict[str, Callable[[Response, FaultRule], Response]] = {
    "reset_after": lambda response, _: replace(response, wire_fault="reset"),
    "cut_body": lambda response, _: replace(response, wire_fault="cut"),
    "slow_body": lambda response, rule: replace(response, wire_fault="slow", seconds=rule.seconds_or(SLOW_SECONDS)),
    "oversized_body": lambda response, rule: replace(response, wire_fault="oversized", extra_bytes=rule.bytes),
    "missing_message_fields": _without_message_fields,
    "file_shorter": lambda response, _: replace(response, body=_content(response)[: response.length // 2]),
    "file_longer": lambda response, _: replace(response, body=_content(response) + b"more" * 250),
    "file_empty": lambda response, _: replace(response, body=b""),
    "file_unframed": lambda response, _: replace(response, wire_fault="unframed"),
    "file_cut_unframed": lambda response, _: replace(response, wire_fault="cut_unframed"),
    "file_cut_chunked": lambda response, _: replace(response, wire_fault="cut_chunked"),
    "file_login_page": _login_page,
    "file_gzip": lambda response, _: _gzipped(response, _content(response)),
    "file_gzip_bomb": lambda response, rule: _gzipped(response, bytes(rule.bytes)),
    "file_gzip_cut": _cut_gzip,
    "file_unknown_encoding": lambda response, _: replace(
        response, headers={**response.headers, "Content-Encoding": "br"}
    ),
}
