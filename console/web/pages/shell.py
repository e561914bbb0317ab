"""Give all pages a log-in, a right, a guard of state changes, and an answer to each refusal."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import urlencode

import structlog
from flask import Blueprint, Response, g, make_response, redirect, render_template, request, url_for
from flask_wtf.csrf import CSRFError, CSRFProtect

from console.access.actor import VERBS, NotAllowed
from console.filter_words import BadFilter, Words, read_words
from console.operations.audited import Change, carry_out
from console.remedies import capped
from console.web import login
from console.web.display import register_filters
from console.web.problems import problem_page
from console.web.resources import current_resources
from shared import installed_version
from shared.db import figures
from shared.db.accounts import accounts
from shared.db.core.pool import TooSlow, limit_statements
from shared.db.reading.filters import Filter
from shared.db.tenants import tenants
from shared.errors import StoreUnavailable

if TYPE_CHECKING:
    from flask import Flask
    from flask.typing import ResponseReturnValue

    from console.access.actor import Actor
    from shared.db.core.pool import Connection
    from shared.db.figures import OpenWork

View = TypeVar("View", bound=Callable[..., Any])

#: Each page with its address, its methods and the right it needs: tests walk all of them with every role.
VERBS_OF_PAGES: list[tuple[str, tuple[str, ...], str]] = []

#: The pages in the order of the navigation, with their endpoints.
NAVIGATION = (
    ("Overview", "pages.overview"),
    ("Failed", "pages.failed_page"),
    ("Events", "pages.events_page"),
    ("Parked", "pages.parked_page"),
    ("Rejected", "pages.rejected_page"),
    ("Tenants", "pages.tenants_page"),
    ("Endpoints", "pages.endpoints_page"),
    ("Repair", "pages.repair_page"),
    ("Jobs", "pages.jobs_page"),
    ("Audit", "pages.audit_page"),
    ("People", "pages.people_page"),
    ("Settings", "pages.settings_page"),
    ("Status", "pages.status_page"),
)
POLICY = "; ".join(
    (
        "default-src 'none'",
        "style-src 'self'",
        "script-src 'self'",
        "connect-src 'self'",
        "img-src 'self' data:",  # the styles hold small pictures, such as the tick of a box
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
PAGE_SIZE = 50  # rows
READ_SECONDS = 2.0
VIEW_COOKIES = {"zone": ("UTC", "local"), "live": ("on", "off")}
SEEN_HEADER = "X-Seen"
_SEEN = "0" * 16  # stands in a page where the digest of the page is put

csrf = CSRFProtect()
bp = Blueprint("pages", __name__)
log = structlog.get_logger(__name__)


def mount_pages(app: Flask) -> None:
    """Serve the pages, and check the token of every form of theirs."""
    # The token of a form is good for as long as its session: a page may be open over lunch. The library's own check of
    # the Referer fails on every page, because our pages send none; `login.comes_from_our_pages` takes its place.
    app.config.update(WTF_CSRF_TIME_LIMIT=None, WTF_CSRF_SSL_STRICT=False, WTF_CSRF_CHECK_DEFAULT=False)
    csrf.init_app(app)
    register_filters(app)
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

        VERBS_OF_PAGES.append((rule, methods, verb))
        bp.add_url_rule(rule, view.__name__, checked, methods=list(methods))
        return view

    return decorate


def current_actor() -> Actor:
    """Return whoever asked for the current page."""
    return cast("Actor", g.actor)


def render(template: str, *, title: str, section: str = "", status: int = 200, **values: Any) -> Response:
    """Render a page, or the part of it that is updated when the browser asks for that alone.

    A browser that has the same part already gets 204 and no text.
    """
    text = render_template(
        template,
        title=title,
        section=section,
        account=login.current_account(),
        actor=g.actor,
        zone=_view("zone"),
        live=_view("live") == "on",
        here=address(),
        now=datetime.now(UTC),
        nav=_navigation(),
        nav_counts=_nav_counts(open_work()),
        version=installed_version() or "of this folder",
        is_fragment=_is_fragment(),
        seen=_SEEN,
        **values,
    )
    digest = hashlib.sha256(text.encode()).hexdigest()[: len(_SEEN)]
    if _is_fragment() and request.headers.get(SEEN_HEADER) == digest:
        return Response(status=204)
    return Response(text.replace(f'data-seen="{_SEEN}"', f'data-seen="{digest}"', 1), status)


def _navigation() -> tuple[tuple[str, str], ...]:
    in_production = current_resources().settings.mailroom_env == "production"
    return NAVIGATION if in_production else (*NAVIGATION, ("Simulator", "pages.simulator_page"))


def open_work() -> OpenWork | None:
    """Return the count of open work that all consoles share; None if it cannot be had in time."""
    if "open_work" not in g:
        try:
            g.open_work = current_resources().pool.run(_open_work)
        except StoreUnavailable as exc:
            log.warning("open_work_not_counted", reason=str(exc))
            g.open_work = None
    return cast("OpenWork | None", g.open_work)


def _open_work(conn: Connection) -> OpenWork:
    limit_statements(conn, READ_SECONDS)
    return figures.open_work(conn)


def _nav_counts(work: OpenWork | None) -> dict[str, str]:
    counts = {"Failed": work.failed, "Parked": work.parked} if work else {}
    return {name: capped(count) for name, count in counts.items() if count}


def address(**changes: str | int | None) -> str:
    """Return the address of the current page, with other values in its query; None leaves one out."""
    given = {**request.args.to_dict(), **{name: None if each is None else str(each) for name, each in changes.items()}}
    query = urlencode({name: each for name, each in given.items() if each is not None})
    return f"{request.path}?{query}" if query else request.path


def back(default: str) -> ResponseReturnValue:
    """Return to the page whose form was sent, at the same place of it."""
    target = login.local_path(request.form.get("back", ""))
    return redirect(default if target == "/" else target, 303)


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The filter of a list: the words as typed, their meaning, or the reason why they cannot be read."""

    words: Words
    text: str
    filter: Filter
    problem: str | None


def read_filter(conn: Connection, *, allowed: tuple[str, ...], states: tuple[str, ...]) -> Listing:
    """Read the filter of a list from the page's address. Words that cannot be read narrow nothing, and say why."""
    return parse_filter(
        conn, request.args.get("q", ""), allowed=allowed, states=states, before=request.args.get("before", type=int)
    )


def parse_filter(
    conn: Connection, text: str, *, allowed: tuple[str, ...], states: tuple[str, ...], before: int | None = None
) -> Listing:
    """Read filter words that somebody typed. Words that cannot be read narrow nothing, and say why."""
    try:
        words = read_words(text, allowed=allowed, states=states)
        tenant_id = _tenant_id(conn, words.tenant)
        wanted = words.filter(tenant_id=tenant_id, now=datetime.now(UTC), before_id=before)
    except BadFilter as problem:
        return Listing(words=Words(), text=text, filter=Filter(before_id=before), problem=str(problem))
    return Listing(words=words, text=text, filter=wanted, problem=None)


def older_address(numbers: list[int]) -> str | None:
    """Return the address of the rows after these, if there may be any: the page was full."""
    return address(before=numbers[-1]) if len(numbers) == PAGE_SIZE else None


def _tenant_id(conn: Connection, name: str | None) -> int | None:
    if name is None:
        return None
    found = tenants.find(conn, name)
    if found is None:
        raise BadFilter(f"there is no tenant {name!r}")
    return found.id


@bp.app_template_global()
def newest_address() -> str:
    """Return the address of the newest rows of the current list."""
    return address(before=None, seen_before=None, after=None)


@bp.post("/view")
def set_view() -> ResponseReturnValue:
    """Remember in this browser how times are shown, and whether pages update."""
    answer = make_response(back("/"))
    for name, values in VIEW_COOKIES.items():
        if request.form.get(name) in values:
            answer.set_cookie(
                f"mailroom-{name}", request.form[name], samesite="Strict", httponly=True, max_age=31536000
            )
    return answer


def _view(name: str) -> str:
    values = VIEW_COOKIES[name]
    chosen = request.cookies.get(f"mailroom-{name}", "")
    return chosen if chosen in values else values[0]


def _is_fragment() -> bool:
    return request.headers.get("HX-Request") == "true"


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
def add_headers(response: Response) -> Response:
    """Let our own scripts run, and forms on plain HTTP name their origin, which `no-referrer` would leave out."""
    response.headers.setdefault("Content-Security-Policy", POLICY)  # a download has one of its own
    response.headers["Referrer-Policy"] = "same-origin"
    return response


@contextmanager
def reading() -> Iterator[Connection]:
    """Give a connection for the reads of a page. Raises TooSlow, which is answered with a page of its own."""
    with current_resources().pool.reading(READ_SECONDS) as conn:
        yield conn


@bp.errorhandler(TooSlow)
def too_broad(_: TooSlow) -> Response:
    """Say that a list took too long to make."""
    return problem_page(
        503,
        "That is too broad",
        f"The database did not find the rows within {READ_SECONDS:g} seconds. Narrow the filter: name a tenant, a "
        "state or a time.",
        again=request.path,
    )


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
        answer = make_response(render_template("pages/again.html", title="One moment", address=address()))
        answer.headers["Refresh"] = "0"
        return answer
    return redirect(url_for("pages.login_page", next=address()), 303)


def _note_refusal(actor: Actor, verb: str) -> None:
    try:
        carry_out(current_resources().pool.run, actor, Change(verb=verb, target=request.path), lambda _: None)
    except NotAllowed:
        log.info("page_refused", account_id=actor.account_id, verb=verb)
