"""OAuth with Front, by requests-oauthlib: the authorization URL, the code exchange and the refresh.

Four habits of the libraries do not fit. Public hooks of the libraries correct each of them:

- oauthlib refuses http, which a Front on this machine uses; only a process-wide environment variable allows it. So the
  session knows Front as `https://front.invalid`, and its only adapter sends to FRONT_APP_URL. Our settings require
  https for FRONT_APP_URL in production.
- requests has no deadline for a whole request and no limit of size. It follows redirects and keeps cookies. The adapter
  sends with our own HTTP client, and returns a response without the redirect's target and without cookies.
- oauthlib raises on an unusual `expires_in` or `scope`, and ignores the status. The compliance hooks check the status,
  read the tokens, and leave a body that oauthlib parses.
- A session remembers the tokens it has seen. So each request has a session of its own.
"""

from __future__ import annotations

import json
import logging
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from oauthlib.oauth2 import MissingTokenError
from requests import Response
from requests.auth import HTTPBasicAuth
from requests_oauthlib import OAuth2Session

from shared.errors import MailroomError, NeedsReconnect, TokenUnavailable
from shared.front.answers import Answer, retry_after
from shared.front.token_lifetime import expiry
from shared.http.transport import HttpClient, NoAnswer, SessionAdapter, complete_response
from shared.models import Tokens

AUTHORIZE_PATH: Final = "/oauth/authorize"
ENDPOINT_PATH: Final = "/oauth/token"
MAX_ANSWER_BYTES: Final = 64 * 1024
#: The wait after a failed request when Front names none.
RETRY_SECONDS: Final = 10.0
#: Only an operator can correct FRONT_CLIENT_SECRET, and the correction should take effect soon.
APP_RETRY_SECONDS: Final = 60.0
#: The name of FRONT_APP_URL within a session. It never resolves, so requests can leave through our adapter only.
_FRONT: Final = "https://front.invalid"
_TOKEN: Final = re.compile(r"[\x21-\x7e]+")
#: Statuses below 500 that ask to come back: timeout, too early, too many requests.
_LATER: Final = frozenset({408, 425, 429})
#: The codes of RFC 6749, and nothing that could repeat a token.
_CODE: Final = re.compile(r"[a-z_]{1,40}")
_APP_ERRORS: Final = ("invalid_client", "unauthorized_client")

# At DEBUG the libraries log headers, bodies and tokens. This holds in every program, however that sets up its log.
for _library in ("requests_oauthlib", "oauthlib"):
    logging.getLogger(_library).setLevel(logging.INFO)


class CodeRefused(MailroomError):
    """Front refuses the code of a consent: it is too old, or was used before."""

    code = "code_refused"


class AppUnknown(TokenUnavailable):
    """Front does not know our app; check FRONT_CLIENT_ID and FRONT_CLIENT_SECRET."""


class UnclearRefusal(TokenUnavailable):
    """Front refuses the request, and does not say that the grant has ended. Asking again soon would not help."""


class NoRefreshToken(MailroomError):
    """Front gave an access token, which ends within the hour, and no refresh token."""

    code = "no_refresh_token"


def authorization_url(app_url: str, *, client_id: str, redirect_uri: str, state: str) -> str:
    """Build the URL where an admin consents. Front then sends the browser to `redirect_uri` with a code and `state`."""
    url, _ = OAuth2Session(client_id, redirect_uri=redirect_uri).authorization_url(_FRONT + AUTHORIZE_PATH, state=state)
    return app_url.rstrip("/") + url.removeprefix(_FRONT)


class TokenEndpoint:
    """Front's token endpoint for our app. All threads and tenants of a process share one object.

    After a failed connection it sends no request for some seconds, so that other tenants do not wait for it too.
    """

    def __init__(self, app_url: str, *, client_id: str, client_secret: str, user_agent: str = "mailroom"):
        self._app_url = app_url.rstrip("/")
        self._client_id = client_id
        # Bytes, because requests encodes text as Latin-1 and fails on other characters.
        self._auth = HTTPBasicAuth(client_id.encode(), client_secret.encode())
        self._is_known = bool(client_id and client_secret)
        self._user_agent = user_agent
        self._thread = threading.local()
        self._silent_until = 0.0

    def refresh(self, refresh_token: str, *, until: float) -> Tokens:
        """Get new tokens for a refresh token, which may expire by it. Nothing is sent after `until` (monotonic clock).

        Raises NeedsReconnect when Front says that the refresh token has ended, UnclearRefusal for another refusal, and
        TokenUnavailable for every other failure.
        """
        refused = NeedsReconnect("Front no longer accepts the refresh token; connect the tenant again")
        with self._session(until, refused) as session:
            # An answer without a refresh token leaves the old one valid (RFC 6749, section 6).
            return _tokens(session.refresh_token(_FRONT + ENDPOINT_PATH, refresh_token=refresh_token, auth=self._auth))

    def exchange(self, code: str, *, redirect_uri: str, until: float) -> Tokens:
        """Get the tokens for the code of a consent, which works once. Nothing is sent after `until` (monotonic clock).

        Raises CodeRefused, NoRefreshToken, AppUnknown, and TokenUnavailable for every other failure.
        """
        refused = CodeRefused("Front refused the code of the consent: too old, or used before")
        with self._session(until, refused, redirect_uri=redirect_uri) as session:
            tokens = _tokens(session.fetch_token(_FRONT + ENDPOINT_PATH, code=code, auth=self._auth))
        if not tokens.refresh_token:
            raise NoRefreshToken("Front gave no refresh token with the access token; check the app's OAuth settings")
        return tokens

    @contextmanager
    def _session(
        self, until: float, refused: MailroomError, *, redirect_uri: str | None = None
    ) -> Iterator[OAuth2Session]:
        """Give a session for one request. Raises `refused` when Front refuses the code or the refresh token."""
        self._check_is_usable()
        http = self._http_client()
        try:
            with http.until(until):
                yield self._new_session(http, refused, redirect_uri)
        except MissingTokenError:
            raise TokenUnavailable(
                f"Front's answer to POST {ENDPOINT_PATH} holds no token", retry_after=RETRY_SECONDS
            ) from None
        except NoAnswer as exc:
            self._silent_until = time.monotonic() + RETRY_SECONDS
            raise TokenUnavailable(
                f"POST {ENDPOINT_PATH} {exc}; it is asked again later", retry_after=RETRY_SECONDS
            ) from None

    def _check_is_usable(self) -> None:
        if not self._is_known:
            raise TokenUnavailable("FRONT_CLIENT_ID and FRONT_CLIENT_SECRET are not set", retry_after=APP_RETRY_SECONDS)
        if (wait := self._silent_until - time.monotonic()) > 0:
            raise TokenUnavailable(f"POST {ENDPOINT_PATH} was not answered; it is asked again later", retry_after=wait)

    def _new_session(self, http: HttpClient, refused: MailroomError, redirect_uri: str | None) -> OAuth2Session:
        session = OAuth2Session(self._client_id, redirect_uri=redirect_uri)
        session.trust_env = False  # no proxy, no .netrc
        session.headers.clear()
        session.headers["Accept-Encoding"] = "identity"
        session.adapters.clear()
        session.mount(_FRONT, SessionAdapter(http, max_bytes=MAX_ANSWER_BYTES, base_url=self._app_url))
        read = partial(_readable_response, refused=refused)
        session.register_compliance_hook("access_token_response", read)
        session.register_compliance_hook("refresh_token_response", read)
        return session

    def _http_client(self) -> HttpClient:
        if not hasattr(self._thread, "http"):
            self._thread.http = HttpClient(user_agent=self._user_agent)
        http: HttpClient = self._thread.http
        return http


def _readable_response(response: Response, /, *, refused: MailroomError) -> Response:
    """Reduce an answer to its tokens and their expiry, in oauthlib's form. Raises the error of a refusal."""
    answer = Answer(status=response.status_code, headers=response.headers, body=response.content)
    content = answer.json()
    if answer.status != 200 or not isinstance(content, dict) or _error_code(content):
        raise _refusal(answer, content, refused)
    if not _is_token(content.get("access_token")):
        raise _unclear_refusal(answer, "")
    found = {name: content.get(name) for name in ("access_token", "refresh_token")}
    known: dict[str, Any] = {name: token for name, token in found.items() if _is_token(token)}
    known |= {"token_type": "Bearer", "expires_at": expiry(content, now=datetime.now(UTC)).timestamp()}
    return complete_response(answer.status, {}, json.dumps(known).encode())


def _is_token(value: Any) -> bool:
    return isinstance(value, str) and _TOKEN.fullmatch(value) is not None


def _tokens(parsed: Mapping[str, Any]) -> Tokens:
    return Tokens(
        access_token=parsed["access_token"],
        refresh_token=parsed.get("refresh_token", ""),
        expires_at=datetime.fromtimestamp(parsed["expires_at"], UTC),
    )


def _refusal(answer: Answer, content: Any, refused: MailroomError) -> MailroomError:
    """Choose the error by the code in the body, at any status: Front was seen to use 400, 401 and 200."""
    code = _error_code(content)
    if code == "invalid_grant":
        return refused
    if code in _APP_ERRORS:
        return AppUnknown(
            f"Front does not know this app ({code}); check FRONT_CLIENT_ID and FRONT_CLIENT_SECRET",
            retry_after=APP_RETRY_SECONDS,
        )
    if answer.status < 500 and answer.status not in _LATER and (code or answer.status >= 400):
        return _unclear_refusal(answer, code)
    wait = retry_after(answer.headers, now=time.time()) or 0.0
    return TokenUnavailable(
        f"Front answered {answer.status} to POST {ENDPOINT_PATH}; it is asked again later",
        retry_after=max(wait, RETRY_SECONDS),
    )


def _unclear_refusal(answer: Answer, code: str) -> UnclearRefusal:
    shown = f" ({code})" if _CODE.fullmatch(code) else ""
    return UnclearRefusal(
        f"Front answered {answer.status}{shown} to POST {ENDPOINT_PATH} and gave no token; it is asked again later. "
        "If that goes on, connect the tenant again; if all tenants are refused, check FRONT_CLIENT_SECRET",
        retry_after=max(retry_after(answer.headers, now=time.time()) or 0.0, RETRY_SECONDS),
    )


def _error_code(content: Any) -> str:
    code = content.get("error") if isinstance(content, dict) else None
    return code if isinstance(code, str) else ""
