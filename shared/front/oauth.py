"""OAuth with Front: where an admin consents, and the token endpoint, which alone sees our secret and refresh tokens.

oauthlib writes the request. It is sent by our own transport, since requests-oauthlib's has no deadline by the wall
clock and follows redirects; and read by our own hands, since oauthlib fails on an `expires_at` that is no number.
"""

from __future__ import annotations

import base64
import re
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from oauthlib.common import add_params_to_uri
from oauthlib.oauth2 import WebApplicationClient

from shared.errors import MailroomError, NeedsReconnect, TokenUnavailable
from shared.front.answers import Answer, retry_after
from shared.front.expiry import expiry
from shared.front.transport import Line, NoAnswer
from shared.models import Tokens

AUTHORIZE: Final = "/oauth/authorize"
PATH: Final = "/oauth/token"
MOST_BYTES: Final = 64 * 1024
#: Between two questions after one that failed, when Front names no time itself.
AGAIN_SECONDS: Final = 10.0
#: Whoever mends a wrong FRONT_CLIENT_SECRET need not wait long, and nobody else can.
APP_SECONDS: Final = 60.0
_TOKEN: Final = re.compile(r"[\x21-\x7e]+")
_OF_THE_APP: Final = frozenset({"invalid_client", "unauthorized_client"})


class CodeRefused(MailroomError):
    """Front does not take the code of a consent: it is too old, or was used before."""

    code = "code_refused"


class AppUnknown(TokenUnavailable):
    """Front does not know our app; check FRONT_CLIENT_ID and FRONT_CLIENT_SECRET."""


class NoRefreshToken(MailroomError):
    """Front gave a token that ends within the hour and none to renew it with."""

    code = "no_refresh_token"


def authorize_url(app_url: str, *, client_id: str, redirect_uri: str, state: str) -> str:
    """Where an admin consents; Front sends the browser back to `redirect_uri` with a code, and `state` as it is."""
    asked = {"response_type": "code", "client_id": client_id, "redirect_uri": redirect_uri, "state": state}
    # oauthlib's own builder of this request refuses http, which is what a Front on this machine speaks.
    return str(add_params_to_uri(app_url.rstrip("/") + AUTHORIZE, list(asked.items())))


class TokenEndpoint:
    """Front's token endpoint for our app; one for a process, for all its threads and tenants.

    After a silence it is left alone for some seconds: a tenant's turn is not spent on waiting for another's.
    """

    def __init__(self, app_url: str, *, client_id: str, client_secret: str, user_agent: str = "mailroom"):
        self._url = app_url.rstrip("/") + PATH
        self._app = WebApplicationClient(client_id)
        self._basic = base64.b64encode(f"{client_id}:{client_secret}".encode()).decode()
        self._is_known = bool(client_id and client_secret)
        self._user_agent = user_agent
        self._of_thread = threading.local()
        self._silent_until = 0.0

    def refresh(self, refresh_token: str, *, until: float) -> Tokens:
        """New tokens for this refresh token, which may end with it. Nothing leaves after `until` (monotonic clock).

        Raises NeedsReconnect when Front refuses the refresh token for good, TokenUnavailable for everything else.
        """
        body = self._app.prepare_refresh_body(refresh_token=refresh_token)
        answer = self._ask(body, until=until)
        said = answer.json()
        if answer.status == 200 and isinstance(said, dict):
            return _tokens(said, refresh_token)
        raise _refusal(
            answer, said, NeedsReconnect("Front no longer accepts the refresh token; connect the tenant again")
        )

    def exchange(self, code: str, *, redirect_uri: str, until: float) -> Tokens:
        """The tokens for the code of a consent, which ends with it. Nothing leaves after `until` (monotonic clock).

        Raises CodeRefused, NoRefreshToken, AppUnknown, and TokenUnavailable for everything else.
        """
        body = self._app.prepare_request_body(code=code, redirect_uri=redirect_uri, include_client_id=False)
        answer = self._ask(body, until=until)
        said = answer.json()
        if answer.status != 200 or not isinstance(said, dict):
            raise _refusal(answer, said, CodeRefused("Front refused the code of the consent: too old, or used before"))
        tokens = _tokens(said, "")
        if not tokens.refresh_token:
            raise NoRefreshToken("Front gave no refresh token with the access token; check the app's OAuth settings")
        return tokens

    def _ask(self, body: str, *, until: float) -> Answer:
        if not self._is_known:
            raise TokenUnavailable("FRONT_CLIENT_ID and FRONT_CLIENT_SECRET are not set", retry_after=APP_SECONDS)
        if (wait := self._silent_until - time.monotonic()) > 0:
            raise TokenUnavailable(f"POST {PATH} was not answered; it is asked again later", retry_after=wait)
        line = self._line()
        try:
            with line.until(until), line.open("POST", self._url, headers=self._headers(), form=body) as response:
                content = line.read(response, most=MOST_BYTES)
                return Answer(status=response.status_code, headers=response.headers, body=content or b"")
        except NoAnswer as exc:
            self._silent_until = time.monotonic() + AGAIN_SECONDS
            raise TokenUnavailable(f"POST {PATH} {exc}; it is asked again later", retry_after=AGAIN_SECONDS) from None

    def _headers(self) -> dict[str, str]:
        return {
            "Authorization": f"Basic {self._basic}",
            "Content-Type": "application/x-www-form-urlencoded",
            "Accept": "application/json",
            "Accept-Encoding": "identity",
        }

    def _line(self) -> Line:
        if not hasattr(self._of_thread, "line"):
            self._of_thread.line = Line(user_agent=self._user_agent)
        line: Line = self._of_thread.line
        return line


def _tokens(said: Mapping[str, Any], refresh_token: str) -> Tokens:
    """The answer's tokens. An answer without a refresh token leaves the old one in force (RFC 6749, section 6)."""
    access = said.get("access_token")
    if not isinstance(access, str) or not _TOKEN.fullmatch(access):
        raise TokenUnavailable(f"Front's answer to POST {PATH} holds no token", retry_after=AGAIN_SECONDS)
    newer = said.get("refresh_token")
    return Tokens(
        access_token=access,
        refresh_token=newer if isinstance(newer, str) and _TOKEN.fullmatch(newer) else refresh_token,
        expires_at=expiry(said, now=datetime.now(UTC)),
    )


def _refusal(answer: Answer, said: Any, of_the_grant: MailroomError) -> MailroomError:
    """What a refusal means, by its word: 400 and 401 were both seen for the same one."""
    word = said.get("error") if isinstance(said, dict) else None
    if word == "invalid_grant":
        return of_the_grant
    if word in _OF_THE_APP:
        return AppUnknown(
            f"Front does not know this app ({word}); check FRONT_CLIENT_ID and FRONT_CLIENT_SECRET",
            retry_after=APP_SECONDS,
        )
    wait = retry_after(answer.headers, now=time.time()) or 0.0
    return TokenUnavailable(
        f"Front answered {answer.status} to POST {PATH}; it is asked again later", retry_after=max(wait, AGAIN_SECONDS)
    )
