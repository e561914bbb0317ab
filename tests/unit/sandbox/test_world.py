"""New mail, events and merges change a conversation; a forged event changes nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sandbox.models import Arrived, Asked, Merged
from sandbox.sample_data import sample_company

if TYPE_CHECKING:
    from sandbox.world import World
    from tests.unit.sandbox.conftest import MakeEvent

COMPANY = "cmp_kettle"


def test_new_mail_reopens_an_archived_conversation(make_event: MakeEvent, world: World) -> None:
    key = (COMPANY, make_event().event.conversation.id)
    world.put_conversation(replace(world.conversations[key], status="archived"))
    make_event(conversation=key[1])
    assert world.conversations[key].status == "open"
    assert [type(entry) for entry in world.histories[key]] == [Arrived, Asked, Arrived, Asked]


def test_an_outbound_reply_leaves_a_conversation_archived(make_event: MakeEvent, world: World) -> None:
    key = (COMPANY, make_event("conversation_archived").event.conversation.id)
    make_event("outbound_sent", conversation=key[1], expect="archived")
    assert world.conversations[key].status == "archived"
    [*_, asked] = world.histories[key]
    assert isinstance(asked, Asked)
    assert asked.already


def test_a_forged_event_is_not_listed_and_has_no_wish(make_event: MakeEvent, world: World) -> None:
    event = make_event("conversation_deleted", fault="bad_signature").event
    key = (COMPANY, event.conversation.id)
    assert (COMPANY, event.id) not in world.events
    assert world.conversations[key].status == "open"
    [*_, asked] = world.histories[key]
    assert isinstance(asked, Asked)
    assert (asked.wish, asked.genuine) == ("none", False)


def test_events_are_listed_in_order_of_time(make_event: MakeEvent, world: World) -> None:
    times = [300.0, 100.0, 200.0, 100.0]
    ids = [make_event(emitted_at=at).event.id for at in times]
    listed = [event_id for _, _, event_id in world.event_positions[COMPANY]]
    assert listed == [ids[1], ids[3], ids[2], ids[0]]


def test_a_merged_conversation_keeps_its_history_under_a_new_id(make_event: MakeEvent, world: World) -> None:
    webhook_event = make_event(expect="archived")
    old = (COMPANY, webhook_event.event.conversation.id)
    new = (COMPANY, world.merge(old, at=1.0))
    assert old not in world.conversations
    assert world.surviving(old) == new
    assert world.events[COMPANY, webhook_event.event.id].conversation.id == new[1]
    assert world.messages[COMPANY, webhook_event.message.id].conversation_id == new[1]
    assert [type(entry) for entry in world.histories[new]] == [Arrived, Asked, Merged]
    assert make_event(conversation=old[1]).event.conversation.id == new[1]


def test_a_conversation_merged_into_another_adds_its_history(make_event: MakeEvent, world: World) -> None:
    gone = (COMPANY, make_event().event.conversation.id)
    survivor = (COMPANY, make_event().event.conversation.id)
    assert world.merge(gone, at=world.histories[survivor][-1].at + 1, into=survivor[1]) == survivor[1]
    assert world.surviving(gone) == survivor
    assert gone not in world.conversations
    assert [len(each[survivor]) for each in (world.message_ids, world.event_ids)] == [2, 2]
    kinds = [type(entry) for entry in world.histories[survivor]]
    assert (kinds.count(Arrived), kinds.count(Asked), kinds[-1]) == (2, 2, Merged)


def test_a_merge_happens_once(make_event: MakeEvent, world: World) -> None:
    key = (COMPANY, make_event().event.conversation.id)
    assert world.merge(key, at=1.0) == world.merge(key, at=2.0)


def test_the_same_id_may_be_in_two_companies(make_event: MakeEvent, world: World) -> None:
    make_event(conversation="cnv_same", message="msg_same")
    assert world.belongs_elsewhere("cmp_other", "cnv_same")
    assert not world.belongs_elsewhere(COMPANY, "cnv_same")
    assert not world.belongs_elsewhere("cmp_other", "cnv_nobody_has")


def test_a_sample_company_is_the_same_after_a_restart() -> None:
    assert sample_company("cmp_kettle", "Blue Kettle") == sample_company("cmp_kettle", "Blue Kettle")
    assert not set(sample_company("cmp_a", "Kettle").inboxes) & set(sample_company("cmp_b", "Kettle").inboxes)
