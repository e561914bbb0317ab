"""Log in, log out, set a password by a link, and look after one's own account."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from flask import make_response, redirect, render_template, request, url_for

from console.access.passwords import LONGEST, SHORTEST, BadPassword, HashingBusy
from console.issued_secrets import digest_of
from console.operations import accounts as operations
from console.web import login
from console.web.pages.shell import bp, page
from console.web.problems import problem_page
from console.web.resources import current_resources
from shared.db.accounts import accounts, sessions

if TYPE_CHECKING:
    from flask import Response
    from flask.typing import ResponseReturnValue

LINK_CLOSED = (
    "This link is no longer good",
    (
        "It works once, for a limited time, and the newest link only. Ask an admin for a new one: "
        "`mailroom admin link you@example.com` prints it."
    ),
)


@bp.get("/login")
def login_page() -> ResponseReturnValue:
    """Show the form, or go on if the browser is logged in."""
    target = login.local_path(request.args.get("next", "/"))
    if login.current_account() is not None:
        return redirect(target, 303)
    return login_form(target)


@bp.post("/login")
def log_in() -> ResponseReturnValue:
    """Log in with an e-mail address and a password."""
    target = login.local_path(request.form.get("next", "/"))
    try:
        account = login.check_login(request.form.get("email", ""), request.form.get("password", ""))
    except login.LoginRefused as refused:
        return refused_login(target, refused)
    except HashingBusy as busy:
        return login_form(target, refusal=str(busy), status=503)
    return login.set_cookie(make_response(redirect(target, 303)), login.new_session(account))


@bp.post("/logout")
def log_out() -> ResponseReturnValue:
    """End this browser's session."""
    return login.log_out(make_response(redirect(url_for("pages.login_page"), 303)))


@bp.get("/login/<token>")
def login_link(token: str) -> ResponseReturnValue:
    """Ask before the link is used, because programs that look at links follow them, too."""
    owner = current_resources().pool.run(lambda conn: accounts.link_owner(conn, digest_of(token), "login"))
    if owner is None:
        return problem_page(410, *LINK_CLOSED)
    return make_response(render_template("pages/login_link.html", title="Log in", owner=owner))


@bp.post("/login/<token>")
def use_login_link(token: str) -> ResponseReturnValue:
    """Log in by a link, which ends it."""
    owner = current_resources().pool.run(lambda conn: accounts.use_link(conn, digest_of(token), "login"))
    if owner is None:
        return problem_page(410, *LINK_CLOSED)
    return login.set_cookie(make_response(redirect("/", 303)), login.new_session(owner))


@bp.get("/password/<token>")
def password_link(token: str) -> ResponseReturnValue:
    """Show the form that sets a password, if the link is good."""
    owner = current_resources().pool.run(lambda conn: accounts.link_owner(conn, digest_of(token), "password"))
    if owner is None:
        return problem_page(410, *LINK_CLOSED)
    return _password_form(owner.email)


@bp.post("/password/<token>")
def use_password_link(token: str) -> ResponseReturnValue:
    """Set the password of the link's account and log in, which ends the link."""
    secret = secrets.token_urlsafe(32)
    email, password = request.form.get("email", ""), request.form.get("password", "")
    if password != request.form.get("again", ""):
        return _password_form(email, refusal="the two passwords differ", status=422)
    try:
        session = login.new_session_of(secret)
        operations.set_password_by_link(current_resources().pool.run, token, password, session)
    except operations.LinkClosed:
        return problem_page(410, *LINK_CLOSED)
    except (BadPassword, HashingBusy) as refusal:
        return _password_form(email, refusal=str(refusal), status=422)
    return login.set_cookie(make_response(redirect("/", 303)), secret)


@page("/account")
def account_page() -> ResponseReturnValue:
    """Show one's own account."""
    return _account_page()


@page("/account/password", methods=("POST",))
def change_password() -> ResponseReturnValue:
    """Change one's own password, which ends all other sessions."""
    account = login.current_account()
    assert account is not None  # noqa: S101 -- `page` lets only those in who are logged in
    secret = secrets.token_urlsafe(32)
    old, new = request.form.get("old", ""), request.form.get("password", "")
    if new != request.form.get("again", ""):
        return _account_page(refusal="the two passwords differ", status=422)
    try:
        session = login.new_session_of(secret)
        operations.change_password(current_resources().pool.run, account, old=old, new=new, session=session)
    except (operations.WrongPassword, BadPassword, HashingBusy) as refusal:
        return _account_page(refusal=str(refusal), status=422)
    return login.set_cookie(make_response(redirect(url_for("pages.account_page"), 303)), secret)


@page("/account/sessions", methods=("POST",))
def end_other_sessions() -> ResponseReturnValue:
    """End one's sessions in other browsers."""
    account = login.current_account()
    assert account is not None  # noqa: S101 -- `page` lets only those in who are logged in
    digest = login.session_digest()
    current_resources().pool.run(lambda conn: sessions.end_others(conn, account.id, digest))
    return redirect(url_for("pages.account_page"), 303)


def login_form(target: str, *, refusal: str | None = None, status: int = 200) -> Response:
    """Render the form for a log-in that goes on to `target`, with the reason why the last one was refused."""
    provider = current_resources().provider
    text = render_template(
        "pages/login.html",
        title="Log in",
        target=target,
        refusal=refusal,
        email=request.form.get("email", ""),
        provider=provider and provider.host,
    )
    return make_response(text, status)


def refused_login(target: str, refused: login.LoginRefused) -> Response:
    """Render the form with the refusal, and the time to wait if there is one."""
    answer = login_form(target, refusal=str(refused), status=429 if refused.wait_seconds else 403)
    if refused.wait_seconds:
        answer.headers["Retry-After"] = str(round(refused.wait_seconds) + 1)
    return answer


def _password_form(email: str, *, refusal: str | None = None, status: int = 200) -> Response:
    text = render_template(
        "pages/password.html",
        title="Set your password",
        email=email,
        refusal=refusal,
        shortest=SHORTEST,
        longest=LONGEST,
    )
    return make_response(text, status)


def _account_page(*, refusal: str | None = None, status: int = 200) -> Response:
    account = login.current_account()
    assert account is not None  # noqa: S101 -- `page` lets only those in who are logged in
    open_sessions = current_resources().pool.run(lambda conn: sessions.count(conn, account.id))
    text = render_template(
        "pages/account.html",
        title="Your account",
        account=account,
        provider=current_resources().provider,
        open_sessions=open_sessions,
        refusal=refusal,
        shortest=SHORTEST,
        longest=LONGEST,
    )
    return make_response(text, status)
