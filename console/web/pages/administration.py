"""Show the audit, the people who may log in, and the settings of this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import abort, flash, redirect, request, url_for

from console.access.actor import ROLES, VERBS
from console.filter_words import api_address, command_line, is_number
from console.operations import accounts as operations
from console.shown_settings import shown_settings
from console.web.pages.shell import PAGE_SIZE, address, current_actor, page, reading, render
from console.web.problems import problem_page
from console.web.resources import current_resources
from shared.db.accounts import accounts, audit
from shared.db.accounts.audit import AuditFilter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from flask.typing import ResponseReturnValue

    from shared.db.accounts.accounts import Account, Role
    from shared.db.core.pool import Connection

ANSWERS = {"yes": True, "no": False}


@page("/audit")
def audit_page() -> ResponseReturnValue:
    """List who asked for what, the latest first, whether it was allowed or not."""
    wanted = audit_filter(request.args)
    with reading() as conn:
        rows = audit.latest(conn, wanted, limit=PAGE_SIZE)
    older = address(before=rows[-1].id) if len(rows) == PAGE_SIZE else None
    answer = None if wanted.allowed is None else "allowed" if wanted.allowed else "refused"
    query = {
        "who": wanted.who,
        "verb": wanted.verb,
        "allowed": wanted.allowed if wanted.allowed is None else str(wanted.allowed).lower(),
    }
    return render(
        "pages/audit.html",
        title="Audit",
        section="Audit",
        rows=rows,
        given=request.args,
        verbs=sorted(VERBS),
        older=older,
        command=command_line("audit", {"who": wanted.who, "verb": wanted.verb, "answer": answer}),
        api_address=current_resources().settings.public_url + api_address("audit", query),
    )


def audit_filter(given: Mapping[str, str]) -> AuditFilter:
    """Return the filter that an address or a form asks for."""
    return AuditFilter(
        who=given.get("who", "").strip() or None,
        verb=given.get("verb", "").strip() or None,
        allowed=ANSWERS.get(given.get("allowed", "")),
        before_id=int(before) if is_number(before := given.get("before", "")) else None,
    )


@page("/people", verb="manage_accounts")
def people_page() -> ResponseReturnValue:
    """List the accounts."""
    return _people_page()


@page("/people", verb="manage_accounts", methods=("POST",))
def add_person() -> ResponseReturnValue:
    """Add an account, and show the link with which its owner sets a password, once."""
    run, actor, form = current_resources().pool.run, current_actor(), request.form
    email = form.get("email", "").strip()
    try:
        operations.add_account(run, actor, email=email, name=form.get("name", ""), role=_role())
    except (operations.BadAccount, accounts.AccountExists) as refusal:
        return _people_page(refusal=str(refusal), status=422)
    return _link_for(_account(lambda conn: accounts.find(conn, email)))


@page("/people/<int:number>/link", verb="manage_accounts", methods=("POST",))
def make_link(number: int) -> ResponseReturnValue:
    """Make a new link with which somebody sets a password, and show it once."""
    return _link_for(_account(lambda conn: accounts.get(conn, number)))


@page("/people/<int:number>/role", verb="manage_accounts", methods=("POST",))
def set_role(number: int) -> ResponseReturnValue:
    """Give somebody another role."""
    account = _account(lambda conn: accounts.get(conn, number))
    return _managed(lambda: operations.set_role(current_resources().pool.run, current_actor(), account, _role()))


@page("/people/<int:number>/enabled", verb="manage_accounts", methods=("POST",))
def set_enabled(number: int) -> ResponseReturnValue:
    """Keep somebody from logging in, or let them in again."""
    account, enabled = _account(lambda conn: accounts.get(conn, number)), request.form.get("enabled") == "yes"
    run, actor = current_resources().pool.run, current_actor()
    return _managed(lambda: operations.set_enabled(run, actor, account, enabled=enabled))


@page("/people/<int:number>/unbind", verb="manage_accounts", methods=("POST",))
def unbind(number: int) -> ResponseReturnValue:
    """Release somebody from their identity at the OpenID provider."""
    account = _account(lambda conn: accounts.get(conn, number))
    return _managed(lambda: operations.unbind_identity(current_resources().pool.run, current_actor(), account))


@page("/settings")
def settings_page() -> ResponseReturnValue:
    """Show the settings of the console's process; of a secret only whether it is set."""
    rows = shown_settings(current_resources().settings)
    return render("pages/settings.html", title="Settings", section="Settings", rows=rows)


def _people_page(*, refusal: str | None = None, link: str | None = None, status: int = 200) -> ResponseReturnValue:
    with reading() as conn:
        rows = accounts.list_all(conn)
    return render(
        "pages/people.html",
        title="People",
        section="People",
        status=status,
        rows=rows,
        roles=list(ROLES),
        refusal=refusal,
        link=link,
    )


def _link_for(account: Account) -> ResponseReturnValue:
    resources = current_resources()
    made = operations.make_link(resources.pool.run, current_actor(), account)
    return _people_page(link=f"{resources.settings.public_url}{made.path}")


def _managed(change: Callable[[], None]) -> ResponseReturnValue:
    try:
        change()
    except accounts.LastAdmin as refusal:
        return problem_page(409, "The last admin stays", f"{refusal}.", again=url_for("pages.people_page"))
    flash("Done.")
    return redirect(url_for("pages.people_page"), 303)


def _account(find: Callable[[Connection], Account | None]) -> Account:
    found = current_resources().pool.run(find)
    if found is None:
        abort(404)
    return found


def _role() -> Role:
    given = request.form.get("role", "")
    found = next((role for role in ROLES if role == given), None)
    return found or abort(422)
