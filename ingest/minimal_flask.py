"""Flask as the door uses it: without what it has no use for, by the methods that Flask documents for overriding.

Sessions, hooks, signals, async views, hosts and blueprints took more of an answer than the view (docs/architecture.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from flask import Flask, Response, request
from flask.sessions import NullSession, SessionInterface

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIEnvironment

    from flask import Request
    from werkzeug.routing import MapAdapter

    from shared.models import Delivery


F = TypeVar("F")


class Hold:
    """Carries things between the server and a view, in the WSGI environment of one request.

    `failure`: raised instead of running the view. `delivery`: the server must keep it before it sends the answer.
    """

    __slots__ = ("delivery", "failure")
    KEY = "mailroom.hold"

    def __init__(self) -> None:
        self.delivery: Delivery | None = None
        self.failure: Exception | None = None


class Answer(Response):
    """A response whose headers and body are sent as they are: no location is completed, nothing is streamed."""

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Send it."""
        start_response(self.status, self.headers.to_wsgi_list())
        return () if environ["REQUEST_METHOD"] == "HEAD" else (self.get_data(),)


class NoSession(SessionInterface):
    """No sessions: the door knows nobody."""

    _none = NullSession()

    def open_session(self, app: Flask, request: Request) -> NullSession:  # noqa: ARG002 - Flask's signature
        """Give the same empty session to all."""
        return self._none


class DoorFlask(Flask):
    """A Flask application that runs views and error handlers, and nothing before, between or after them."""

    response_class = Answer
    session_interface = NoSession()

    def __init__(self, name: str) -> None:
        super().__init__(name, static_folder=None)
        self.url_map.merge_slashes = False  # a webhook is not redirected

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        """Route by path and method alone, whatever host the request names."""
        if request is None:
            return None
        return self.url_map.bind("door", path_info=request.path, default_method=request.method)

    def ensure_sync(self, func: F) -> F:
        """Give a view as it is: none is async."""
        return func

    def preprocess_request(self) -> None:
        """Raise what the server found out, so that error handlers answer it like all else."""
        hold: Hold | None = request.environ.get(Hold.KEY)
        if hold is not None and hold.failure is not None:
            raise hold.failure

    def process_response(self, response: Response) -> Response:
        """Send the answer as the view made it."""
        return response

    def do_teardown_request(self, exc: Any = None) -> None:
        """Nothing is to be torn down."""

    def do_teardown_appcontext(self, exc: Any = None) -> None:
        """As above."""
