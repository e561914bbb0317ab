"""Give all pages a log-in, a right, a guard of state changes, and an answer to each refusal."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import quote, urlencode

import structlog
from flask import Blueprint, Response, abort, g, make_response, redirect, render_template, request, url_for
from flask_wtf.csrf import CSRFError, CSRFProtect

from console.access.actor import VERBS, NotAllowed
from console.filter_words import BadFilter, Words, read_words, suggestions
from console.operations.audited import Change, carry_out
from console.remedies import capped
from console.web import login
from console.web.display import ZONE_COOKIE, exact, register_filters, viewer_zone, zone_named
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
    from console.filter_words import FilteredList
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
    ("Addresses", "pages.addresses_page"),
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
LIVE_COOKIE = "mailroom-live"
YEAR = 31_536_000  # seconds
SEEN_HEADER = "X-Seen"
#: The time at the server, as the foot of each page shows it.
NOW_HEADER = "X-Now"
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
        zone=getattr(viewer_zone(), "key", "UTC"),
        live=request.cookies.get(LIVE_COOKIE) != "off",
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
    now = {NOW_HEADER: exact(datetime.now(UTC))}
    if _is_fragment() and request.headers.get(SEEN_HEADER) == digest:
        return Response(status=204, headers=now)
    return Response(text.replace(f'data-seen="{_SEEN}"', f'data-seen="{digest}"', 1), status, headers=now)


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


def back(default: str, *, anchor: str = "") -> ResponseReturnValue:
    """Return to the page whose form was sent, at the same place of it: with its filter, and at the row `anchor`."""
    target = login.local_path(request.form.get("back", ""))
    place = f"#{quote(anchor)}" if anchor else ""
    return redirect((default if target == "/" else target) + place, 303)


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The filter of a list: the words as typed, their meaning, or the reason why they cannot be read."""

    listed: FilteredList
    words: Words
    text: str
    filter: Filter
    problem: str | None


def read_filter(conn: Connection, listed: FilteredList) -> Listing:
    """Read the filter of a list from the page's address. Words that cannot be read narrow nothing, and say why.

    A time that names no zone is one of the reader's. The page is then opened once more with the zone in its address, so
    that the address means the same to everybody.
    """
    listing = parse_filter(conn, request.args.get("q", ""), listed, before=request.args.get("before", type=int))
    exact_words = listing.words.with_zone(viewer_zone())
    if exact_words != listing.words:
        abort(redirect(address(q=exact_words.text()), 303))
    return listing


def parse_filter(conn: Connection, text: str, listed: FilteredList, *, before: int | None = None) -> Listing:
    """Read filter words that somebody typed. Words that cannot be read narrow nothing, and say why."""
    try:
        words = read_words(text, listed)
        tenant_id = _tenant_id(conn, words.tenant)
        wanted = words.filter(tenant_id=tenant_id, now=datetime.now(viewer_zone()), before_id=before)
    except BadFilter as problem:
        return Listing(listed=listed, words=Words(), text=text, filter=Filter(before_id=before), problem=str(problem))
    return Listing(listed=listed, words=words, text=text, filter=wanted, problem=None)


def list_values(listing: Listing) -> dict[str, Any]:
    """Return what the page of a list needs for its filter, and for the same list by command and through the API."""
    resources = current_resources()
    return {
        "listing": listing,
        "suggestions": suggestions(listing.listed, resources.lookups.known_values.get()),
        "command": listing.words.as_command(listing.listed),
        "api_address": resources.settings.public_url + listing.words.as_address(listing.listed),
    }


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
    chosen = {LIVE_COOKIE: "off" if request.form.get("live") == "off" else "on" if "live" in request.form else None}
    if "zone" in request.form:
        chosen[ZONE_COOKIE] = getattr(zone_named(request.form["zone"]), "key", "UTC")
    for name, value in chosen.items():
        if value is not None:
            answer.set_cookie(name, value, samesite="Strict", httponly=True, max_age=YEAR)
    return answer


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
