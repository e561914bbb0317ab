"""Recipients are matched to users by role and address, always with a reason."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.models import AddressOwner, MatchedUser, Recipient, SharedInbox
from tests.unit.workers.people import IDA, NORA, OMAR, cc, to
from workers.matching import MATCHED_ROLES, keys_to_look_up, match_recipients

OWNERS = {
    "nora.lind@acme.example": NORA,
    "nora@acme.local": replace(NORA, position=2),
    "omar@acme.example": OMAR,
    "ida@acme.example": IDA,
}


@pytest.mark.parametrize(
    ("recipient", "user", "reason"),
    [
        (to("nora.lind@acme.example"), "17", "to nora.lind@acme.example = user 17, address 1"),
        # The reason shows the handle in Front's spelling
        (cc("Nora.Lind@ACME.example"), "17", "cc Nora.Lind@ACME.example = user 17, address 1"),
        (Recipient(handle="omar@acme.example", role="bcc"), "18", "bcc omar@acme.example = user 18, address 1"),
        # Another address of the same user, on a domain of no registry
        (to(" nora@acme.local "), "17", "to  nora@acme.local  = user 17, address 2"),
        # Outlook's quotes, and other things that programs write around an address
        (
            to("'Nora.Lind@acme.example'"),
            "17",
            "to 'Nora.Lind@acme.example' (read as Nora.Lind@acme.example) = user 17, address 1",
        ),
        (
            cc("<mailto:omar@acme.example>"),
            "18",
            "cc <mailto:omar@acme.example> (read as omar@acme.example) = user 18, address 1",
        ),
        (to("'ap@acme.example'"), None, "no user with ap@acme.example"),
        # A sender is no recipient
        (Recipient(handle="nora.lind@acme.example", role="from"), None, "role from is never matched"),
        (Recipient(handle="nora.lind@acme.example", role="reply-to"), None, "role reply-to is never matched"),
        # A role that Front may add in future
        (Recipient(handle="nora.lind@acme.example", role="unknown"), None, "role unknown is never matched"),
        (Recipient(handle="nora.lind@acme.example", role="To"), None, "role To is never matched"),
        (to("AP@acme.example"), None, "no user with ap@acme.example"),
        (to("nora.lind+bills@acme.example"), None, "no user with nora.lind+bills@acme.example"),
        (to("ida@acme.example"), None, "user 19 is inactive"),
        # Phone numbers and ids of other channels
        (to("+41 44 668 18 00"), None, "not an address"),
        (to("fa4c1b"), None, "not an address"),
        (to("nora.lind@acme.example@acme.example"), None, "not an address"),
        (to("nora.lind@acme.example\0"), None, "not an address"),
    ],
)
def test_a_recipient_is_matched_with_a_reason(recipient: Recipient, user: str | None, reason: str) -> None:
    (match,) = match_recipients([recipient], OWNERS, fold_plus=False)
    assert (match.user and match.user.external_id, match.reason) == (user, reason)


@pytest.mark.parametrize(
    ("handle", "user"),
    [
        ("Nora.Lind+bills@acme.example", "17"),
        ("nora.lind+a+b@acme.example", "17"),
        # Without the tag nothing is left
        ("+bills@acme.example", None),
    ],
)
def test_a_tag_is_folded_when_the_tenant_chose_so(handle: str, user: str | None) -> None:
    (match,) = match_recipients([to(handle)], OWNERS, fold_plus=True)
    assert (match.user and match.user.external_id) == user


def test_an_address_with_a_tag_of_its_own_is_matched_before_it_is_folded() -> None:
    owners = {"ap+uk@acme.example": OWNERS["omar@acme.example"], "ap@acme.example": OWNERS["nora@acme.local"]}
    (match,) = match_recipients([to("ap+uk@acme.example")], owners, fold_plus=True)
    assert match.user == OWNERS["omar@acme.example"]


def support(user: MatchedUser | None, default_owner: MatchedUser | None = None) -> SharedInbox:
    return SharedInbox(name="Support", user=user, default_owner=default_owner)


@pytest.mark.parametrize(
    ("inbox", "user", "reason"),
    [
        (support(NORA), "17", "to support@acme.example = shared inbox Support → user 17"),
        # The inbox's own user comes before the tenant's default owner
        (support(NORA, OMAR), "17", "to support@acme.example = shared inbox Support → user 17"),
        (support(None, OMAR), "18", "to support@acme.example = shared inbox Support → default owner, user 18"),
        # Ida is inactive, so the default owner gets her mail
        (support(IDA, OMAR), "18", "to support@acme.example = shared inbox Support → default owner, user 18"),
        (
            support(IDA),
            None,
            "to support@acme.example = shared inbox Support, for nobody: user 19 is inactive, no default owner",
        ),
        (
            support(None, IDA),
            None,
            "to support@acme.example = shared inbox Support, for nobody: no user, user 19 is inactive",
        ),
        (support(None), None, "to support@acme.example = shared inbox Support, for nobody: no user, no default owner"),
        # A manually added address has no known inbox
        (replace(support(NORA), name=None), "17", "to support@acme.example = shared inbox → user 17"),
    ],
)
def test_mail_to_a_shared_inbox_is_for_its_user_or_the_default_owner(
    inbox: SharedInbox, user: str | None, reason: str
) -> None:
    (match,) = match_recipients([to("support@acme.example")], {"support@acme.example": inbox}, fold_plus=False)
    assert (match.user and match.user.external_id, match.reason) == (user, reason)


def test_a_tag_of_a_shared_inbox_is_folded_like_a_users() -> None:
    owners = {"support@acme.example": support(NORA)}
    folded = match_recipients([to("support+eu@acme.example")], owners, fold_plus=True)
    exact = match_recipients([to("support+eu@acme.example")], owners, fold_plus=False)
    assert ([match.user for match in folded], [match.user for match in exact]) == ([NORA], [None])


def test_an_inbox_with_a_tag_of_its_own_comes_before_the_folded_user() -> None:
    owners = {"nora+orders@acme.example": support(OMAR), "nora@acme.example": NORA}
    (match,) = match_recipients([to("nora+orders@acme.example")], owners, fold_plus=True)
    assert match.user == OMAR


def test_matches_are_in_the_order_of_the_recipients() -> None:
    recipients = [to("omar@acme.example"), to("ap@acme.example"), cc("Omar@acme.example"), cc("nora@acme.local")]
    matches = match_recipients(recipients, OWNERS, fold_plus=False)
    assert [(match.recipient, match.user and match.user.external_id) for match in matches] == list(
        zip(recipients, ["18", None, "18", "17"], strict=True)
    )


@pytest.mark.parametrize(
    ("recipients", "fold_plus", "keys"),
    [
        # Two spellings of one address are looked up once
        ([to("Omar@acme.example"), cc("omar@ACME.example")], False, {"omar@acme.example"}),
        # A recipient in an unmatched role is not looked up
        ([Recipient(handle="omar@acme.example", role="from")], False, set()),
        ([to("+41 44 668 18 00")], False, set()),
        # A tenant that folds tags may still have a user whose own address has one
        ([to("omar+a@acme.example")], True, {"omar+a@acme.example", "omar@acme.example"}),
        ([], False, set()),
    ],
)
def test_only_addresses_that_can_match_are_looked_up(
    recipients: list[Recipient], fold_plus: bool, keys: set[str]
) -> None:
    assert keys_to_look_up(recipients, fold_plus=fold_plus) == keys


RECIPIENTS = st.lists(
    st.builds(
        Recipient,
        handle=st.sampled_from(["Omar@acme.example", "nora+x@acme.local", "ida@acme.example"]) | st.text(max_size=30),
        role=st.sampled_from(["from", "to", "cc", "bcc", "reply-to"]) | st.text(max_size=5),
    )
)


class LookedUpAddresses(dict[str, AddressOwner]):
    """The addresses that were looked up; asking for any other is an error."""

    def __contains__(self, key: object) -> bool:
        if not super().__contains__(key):
            raise LookupError(f"{key} was not looked up")
        return True


@given(RECIPIENTS, st.booleans())
def test_only_looked_up_addresses_are_matched(recipients: list[Recipient], fold_plus: bool) -> None:
    owners = LookedUpAddresses(dict.fromkeys(keys_to_look_up(recipients, fold_plus=fold_plus), OMAR))
    matches = match_recipients(recipients, owners, fold_plus=fold_plus)
    assert len(matches) == len(recipients)
    assert all(match.recipient.role in MATCHED_ROLES for match in matches if match.user)
