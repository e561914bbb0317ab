"""What all pages have in common: a log-in, a right, a guard of state changes, and an answer to whatever is refused."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar, cast

import structlog
from flask import Blueprint, Response, g, make_response, redirect, render_template, request, url_for
from flask_wtf.csrf import CSRFError, CSRFProtect

from console.access.actor import VERBS, NotAllowed
from console.operations.audited import Change, carry_out
from console.web import login
from console.web.problems import problem_page
from console.web.resources import current_resources
from shared.db.accounts import accounts

if TYPE_CHECKING:
    from flask import Flask
    from flask.typing import ResponseReturnValue

    from console.access.actor import Actor

View = TypeVar("View", bound=Callable[..., Any])

#: The right that each page needs, by endpoint and methods: tests walk all of them with every role.
VERBS_OF_PAGES: dict[tuple[str, tuple[str, ...]], str] = {}

csrf = CSRFProtect()
bp = Blueprint("pages", __name__)
log = structlog.get_logger(__name__)


def mount_pages(app: Flask) -> None:
    """Serve the pages, and check the token of every form of theirs."""
    # The token of a form is good for as long as its session: a page may be open over lunch. The library's own check of
    # the Referer fails on every page, because our pages send none; `login.comes_from_our_pages` takes its place.
    app.config.update(WTF_CSRF_TIME_LIMIT=None, WTF_CSRF_SSL_STRICT=False, WTF_CSRF_CHECK_DEFAULT=False)
    csrf.init_app(app)
    app.register_blueprint(bp)


def page(rule: str, *, verb: str = "read", methods: tuple[str, ...] = ("GET",)) -> Callable[[View], View]:
    """Serve a view of somebody who is logged in and may do this; a browser without a log-in is sent to it.

    The audit gets an entry of a refusal. `current_actor` gives the view whoever asks.
    """

    def decorate(view: View) -> View:
        @wraps(view)
        def checked(**values: Any) -> ResponseReturnValue:
            actor = login.current_actor()
            if actor is None:
                return _send_to_login()
            if not actor.may(verb):
                _note_refusal(actor, verb)
                raise NotAllowed(f"your account may not {VERBS[verb]}; an admin can change that")
            g.actor = actor
            return cast("ResponseReturnValue", view(**values))

        VERBS_OF_PAGES[view.__name__, methods] = verb
        bp.add_url_rule(rule, view.__name__, checked, methods=list(methods))
        return view

    return decorate


def current_actor() -> Actor:
    """Return whoever asked for the current page."""
    return cast("Actor", g.actor)


@bp.before_request
def guard_changes() -> Response | None:
    """Let a state change pass if one of our pages asked for it, with the token of its form."""
    if request.method in {"GET", "HEAD", "OPTIONS"}:
        return None
    if not login.comes_from_our_pages():
        return problem_page(
            403,
            "This did not come from the console",
            "Open the page again and try once more. If that does not help: the console has to be opened at the address "
            "in PUBLIC_URL, and a proxy has to pass on the headers Origin and Sec-Fetch-Site.",
        )
    try:
        csrf.protect()
    except CSRFError:
        return problem_page(
            403,
            "This form is of an earlier log-in",
            "Nothing was changed. Go back, load the page again and try once more.",
            again=request.path if "GET" in _methods() else None,
        )
    return None


@bp.after_request
def name_our_origin(response: Response) -> Response:
    """Let forms on plain HTTP name their origin, which browsers leave out under `no-referrer`."""
    response.headers["Referrer-Policy"] = "same-origin"
    return response


@bp.errorhandler(NotAllowed)
def refuse(exc: NotAllowed) -> Response:
    """Say which right is missing."""
    return problem_page(403, "You may not do that", f"{str(exc)[0].upper()}{str(exc)[1:]}.")


def _methods() -> set[str]:
    return (request.url_rule.methods if request.url_rule else None) or set()


def _send_to_login() -> ResponseReturnValue:
    """Lead to the log-in page; a browser that left its cookie out loads the page once more."""
    if not current_resources().pool.run(accounts.exists):
        return problem_page(
            403,
            "Nobody can log in yet",
            "Run `mailroom admin add you@example.com` where the console runs. It prints a link to set a password.",
        )
    if request.method != "GET":
        return redirect(url_for("pages.login_page"), 303)
    if login.comes_from_elsewhere():
        answer = make_response(render_template("pages/again.html", title="One moment", address=_address()))
        answer.headers["Refresh"] = "0"
        return answer
    return redirect(url_for("pages.login_page", next=_address()), 303)


def _address() -> str:
    return request.full_path.rstrip("?")


def _note_refusal(actor: Actor, verb: str) -> None:
    try:
        carry_out(current_resources().pool.run, actor, Change(verb=verb, target=request.path), lambda _: None)
    except NotAllowed:
        log.info("page_refused", account_id=actor.account_id, verb=verb)
