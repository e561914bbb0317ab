"""How a made-up company is furnished: the same for the same id, whenever it is founded."""

from __future__ import annotations

import re

from sandbox.models import Company, Inbox, Tag, Teammate, stable_id

PEOPLE = (
    # first name, last name, type, admin, blocked
    ("Ines", "Marlow", "user", True, False),
    ("Tomas", "Behrend", "user", False, False),
    ("Aiko", "Sand", "user", False, False),
    ("Sorting", "Robot", "rule", False, False),
    ("Gone", "Colleague", "user", False, True),
)
INBOXES = (("Front desk", "desk"), ("Orders", "orders"))
TAGS = (
    # name, highlight, private
    ("Handled", "green", False),
    ("Paperwork", "blue", False),
    ("Inbox", None, True),
)


def found(company_id: str, name: str) -> Company:
    """Furnish a company: five teammates (a bot and a blocked one among them), two inboxes, three tags."""
    domain = f"{_slug(name)}-{_slug(company_id.removeprefix('cmp_'))}.example"
    return Company(
        id=company_id,
        name=name,
        domain=domain,
        teammates=tuple(_teammate(company_id, domain, person) for person in PEOPLE),
        inboxes=tuple(_inbox(company_id, domain, *inbox) for inbox in INBOXES),
        tags=tuple(_tag(company_id, *tag) for tag in TAGS),
        team_id=stable_id("tim", company_id),
        rule_id=stable_id("rul", company_id),
    )


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "company"


def _teammate(company_id: str, domain: str, person: tuple[str, str, str, bool, bool]) -> Teammate:
    first, last, kind, is_admin, is_blocked = person
    return Teammate(
        id=stable_id("tea", company_id, first, last),
        email=f"{first}.{last}@{domain}".lower(),
        first_name=first,
        last_name=last,
        type=kind,
        is_admin=is_admin,
        is_blocked=is_blocked,
    )


def _inbox(company_id: str, domain: str, name: str, local_part: str) -> Inbox:
    return Inbox(
        id=stable_id("inb", company_id, local_part),
        name=name,
        address=f"{local_part}@{domain}",
        channel_id=stable_id("cha", company_id, local_part),
        technical=f"{stable_id('in', company_id, local_part)}@in.front.example",
    )


def _tag(company_id: str, name: str, highlight: str | None, is_private: bool) -> Tag:
    return Tag(id=stable_id("tag", company_id, name), name=name, highlight=highlight, is_private=is_private)
