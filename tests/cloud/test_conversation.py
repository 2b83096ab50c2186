"""Numbers, repetition and failure: the effect is exactly once, and what fails harms no other."""

from typing import Any, cast

from sqlalchemy import func, insert, select

from cloud.domain.settings import Settings
from cloud.items import Acknowledged, Command, Presence
from cloud.processor import Processor
from cloud.sealing import PlatformKey
from cloud.store import tables as t
from cloud.work import WorkingSet
from energyshare.bodies import SelectionBody
from energyshare.errors import Reason
from energyshare.messages import Inventory, Offer, OrderClosed
from energyshare.signing import Label, SigningKey, digest
from energyshare.values import Currency, Instant, Number, OrderId, OrderState, PartKind, ProviderId, TerminalId
from energyshare.wire import decode_envelope, digest_of, encode_envelope
from tests.cloud.actors import Cloud, asset_of, refusals, tariff_bytes
from tests.cloud.conftest import OpenCloud
from tests.cloud.story import Story

NO_KEY = PlatformKey(cast(SigningKey, None), b"")
"""Fails when something is to be signed."""
SECOND = OrderId(b"\x02" * 16)


def terminal(cloud: Cloud, name: str) -> TerminalId:
    return TerminalId(cloud.roster[name].id)


def count(cloud: Cloud, table: Any) -> int:
    found: int = cloud.readers.scalar(select(func.count()).select_from(table))
    return found


def everything(cloud: Cloud) -> list[Any]:
    """All rows of the database."""
    return [cloud.readers.rows(select(table)) for table in t.metadata.sorted_tables]


def test_a_repeated_message_is_acknowledged_again_and_changes_nothing(cloud: Cloud) -> None:
    story = Story(cloud)
    demand = cloud.inbound("ann", story.order, story.demand())
    first = cloud.process(demand)
    was = everything(cloud)
    again = cloud.process(demand)
    assert first.acks == again.acks == {(terminal(cloud, "ann"), story.order): 1}
    assert (again.envelopes, again.refusals, everything(cloud)) == ([], [], was)


def test_an_older_message_is_acknowledged_up_to_what_is_held(cloud: Cloud) -> None:
    story = Story(cloud).until_offered()
    story.by_user(story.selecting())
    outcome = cloud.say("ann", story.order, story.demand(), number=1)
    assert outcome.acks == {(terminal(cloud, "ann"), story.order): 2}


def test_a_gap_is_answered_with_the_last_number_held(cloud: Cloud) -> None:
    story = Story(cloud).until_offered()
    outcome = cloud.say("ann", story.order, story.selecting(), number=3)
    assert outcome.acks == {(terminal(cloud, "ann"), story.order): 1}
    assert (outcome.envelopes, story.state) == ([], OrderState.DEMANDED)


def test_the_same_number_with_other_bytes_is_refused(cloud: Cloud) -> None:
    story = Story(cloud).until_demanded()
    outcome = cloud.say("ann", story.order, story.demand(radius_m=7), number=1)
    assert [(r.reason, r.number) for r in outcome.refusals] == [(Reason.SEQUENCE_REUSED, 1)]


def test_inventories_are_numbered_like_any_conversation(cloud: Cloud) -> None:
    page = Inventory((asset_of(cloud.roster, "sun-outlet", version=Number(2)),), ())
    gap = cloud.say("sun", None, page, number=3)
    repeated = cloud.process(*[cloud.inbound("sun", None, page, number=2)] * 2)
    reused = cloud.say("sun", None, Inventory((asset_of(cloud.roster, "sun-free"),), ()), number=2)
    key = (terminal(cloud, "sun"), None)
    assert (gap.acks, repeated.acks) == ({key: 1}, {key: 2})
    assert [r.reason for r in reused.refusals] == [Reason.SEQUENCE_REUSED]


def test_a_batch_that_comes_twice_has_one_effect(cloud: Cloud) -> None:
    story = Story(cloud).until_offered()
    other = Story(cloud, user="ben", order=SECOND)
    page = Inventory((asset_of(cloud.roster, "sun-outlet", version=Number(2)),), ())
    batch = [
        cloud.inbound("ann", story.order, story.selecting()),
        cloud.inbound("sun", story.order, story.issuing()),
        cloud.inbound("ben", other.order, other.demand()),
        cloud.inbound("sun", None, page),
    ]
    first = cloud.process(*batch)
    was = everything(cloud)
    second = cloud.process(*batch)
    assert (first.acks, everything(cloud)) == (second.acks, was)
    assert second.envelopes == []


def test_one_message_twice_in_one_batch_has_one_effect(cloud: Cloud) -> None:
    story = Story(cloud).until_offered()
    selection = cloud.inbound("ann", story.order, story.selecting())
    outcome = cloud.process(selection, selection)
    assert outcome.acks == {(terminal(cloud, "ann"), story.order): 2}
    assert cloud.money(story.order) == [("HOLD", 814)]


def test_each_side_is_sent_numbers_without_gaps(cloud: Cloud) -> None:
    story = Story(cloud).until_settled()
    for name in ("ann", "sun", "moon"):
        numbers = [e.number for to, e in cloud.letters if to == terminal(cloud, name) and e.order_id == story.order]
        assert numbers == list(range(1, len(numbers) + 1))


def test_a_refusal_spends_its_number_and_a_refused_demand_opens_nothing(cloud: Cloud) -> None:
    story = Story(cloud)
    refused = cloud.say("ann", story.order, story.demand(needed_by_time=Instant(10**6)), number=1)
    assert [r.reason for r in refused.refusals] == [Reason.NEEDED_BY_PAST]
    assert cloud.say("ann", story.order, story.demand(), number=1).acks == {(terminal(cloud, "ann"), story.order): 1}
    story.offering()
    wrong = cloud.say("sun", story.order, story.issuing(), number=1)
    assert refusals(cloud, wrong, "sun") == [Reason.ORDER_MOVED_ON]
    assert wrong.acks == {(terminal(cloud, "sun"), story.order): 1}


def test_strangers_learn_nothing_of_an_order(cloud: Cloud) -> None:
    story = Story(cloud).until_offered()
    for name in ("ben", "rain"):
        outcome = cloud.say(name, story.order, story.cancelling())
        assert [r.reason for r in outcome.refusals] == [Reason.UNKNOWN_ORDER]
        assert (outcome.acks, outcome.envelopes) == ({}, [])


def test_what_is_acknowledged_leaves_the_outbox(cloud: Cloud) -> None:
    story = Story(cloud).until_selected()
    ann = terminal(cloud, "ann")
    waiting = cloud.readers.outbox(ann, (b"", 0))
    assert [w.number for w in waiting] == [1, 2]
    assert isinstance(decode_envelope(waiting[1].raw).message, Offer)
    cloud.process(Acknowledged(ann, story.order, Number(1)))
    assert [w.number for w in cloud.readers.outbox(ann, (b"", 0))] == [2]
    cloud.process(Acknowledged(ann, story.order, Number(2)))
    assert cloud.readers.outbox(ann, (b"", 0)) == []
    assert cloud.readers.outbox(terminal(cloud, "sun"), (b"", 0)) != []


def test_a_new_process_goes_on_where_the_old_one_stopped(cloud: Cloud) -> None:
    story = Story(cloud).until_active()
    cloud.processor = Processor(cloud.engine, cloud.platform, cloud.settings)
    story.end(3_600, 2_500)
    story.by_user(story.asking_to_end())
    story.by_provider(story.confirming())
    assert (story.state, cloud.audit().fault) == (OrderState.SETTLED, "")


def test_nobody_is_asked_who_is_offline(cloud: Cloud) -> None:
    cloud.process(*(Presence(ProviderId(terminal(cloud, name)), False) for name in ("sun", "moon")))
    story = Story(cloud).until_demanded()
    assert [closed.reason for closed in cloud.told("ann", OrderClosed)] == ["PROVIDERS_OFFLINE"]
    assert story.state == OrderState.EXPIRED


# Failure


def test_a_message_that_makes_our_code_fail_is_parked_and_the_others_succeed(open_cloud: OpenCloud) -> None:
    cloud = open_cloud(settings=Settings(wait_voucher_s=cast(int, "soon")))
    story = Story(cloud).until_offered()
    other = Story(cloud, user="ben", order=SECOND)
    selection = cloud.inbound("ann", story.order, story.selecting())
    outcome = cloud.process(selection, cloud.inbound("ben", other.order, other.demand()))
    assert refusals(cloud, outcome, "ann") == [Reason.INTERNAL]
    assert (story.state, other.state) == (OrderState.DEMANDED, OrderState.DEMANDED)
    parked = cloud.readers.rows(select(t.parked))
    assert [(row.terminal_id, row.number, row.body) for row in parked] == [(terminal(cloud, "ann"), 2, selection.raw)]
    assert (cloud.money(story.order), cloud.audit().fault) == ([], "")


def test_a_parked_message_leaves_nothing_of_itself(cloud: Cloud) -> None:
    story = Story(cloud).until_ending()
    cloud.processor = Processor(cloud.engine, NO_KEY, cloud.settings)
    outcome = story.by_provider(story.confirming())
    assert refusals(cloud, outcome, "sun") == [Reason.INTERNAL]
    assert (story.state, cloud.money(story.order), cloud.audit().fault) == (OrderState.ENDING, [("HOLD", 814)], "")


def test_a_timer_that_fails_is_tried_again_in_an_hour(cloud: Cloud) -> None:
    story = Story(cloud).until_ending()
    cloud.processor = Processor(cloud.engine, NO_KEY, cloud.settings)
    cloud.pass_s(600)
    assert (story.state, cloud.money(story.order)) == (OrderState.ENDING, [("HOLD", 814)])
    cloud.processor = Processor(cloud.engine, cloud.platform, cloud.settings)
    cloud.pass_s(3_599)
    assert story.state == OrderState.ENDING
    cloud.pass_s(1)
    assert (story.state, cloud.audit().fault) == (OrderState.SETTLED, "")


def test_a_batch_that_can_not_be_saved_is_halved_until_its_cause_stands_alone(cloud: Cloud) -> None:
    story = Story(cloud).until_offered()
    selection = cloud.inbound("ann", story.order, story.selecting())
    already_there(cloud, story)
    others = [Story(cloud, user="ben", order=OrderId(bytes([3, n]) * 8)) for n in range(6)]
    demands = [cloud.inbound("ben", other.order, other.demand()) for other in others]
    tariff = tariff_bytes(("FLAT", "3.00"))
    stated = asset_of(cloud.roster, "moon-outlet", version=Number(2), tariff_hash=digest(Label.TARIFF, tariff))
    page = cloud.inbound("moon", None, Inventory((stated,), (tariff,)))
    outcome = cloud.process(*demands[:3], page, selection, *demands[3:])
    assert refusals(cloud, outcome, "ann") == [Reason.INTERNAL]
    assert [other.state for other in others] == [OrderState.DEMANDED] * 6
    assert (story.state, cloud.money(story.order), count(cloud, t.parked)) == (OrderState.DEMANDED, [], 1)
    assert digest(Label.TARIFF, tariff) in {row.hash for row in cloud.readers.rows(select(t.tariffs))}
    assert cloud.audit().fault == ""


def test_a_timer_that_can_not_be_saved_is_tried_again_in_an_hour_and_harms_no_other(cloud: Cloud) -> None:
    story = Story(cloud).until_demanded()
    event = {"order_id": story.order, "number": 2, "at": 1, "actor": "", "event": "", "state": 1, "note": ""}
    with cloud.engine.begin() as connection:
        connection.execute(insert(t.order_events).values(**event))
    cloud.now = Instant(cloud.now + 60_000_000)
    other = Story(cloud, user="ben", order=SECOND)
    cloud.process(cloud.inbound("ben", other.order, other.demand()), fire_timers=True)
    assert (other.state, count(cloud, t.parked)) == (OrderState.DEMANDED, 0)
    assert (story.state, cloud.order(story.order).due) == (OrderState.DEMANDED, cloud.now + 3_600_000_000)


def test_a_command_that_fails_is_answered_and_the_others_succeed(cloud: Cloud) -> None:
    answers: list[Any] = []

    def fail(work: WorkingSet, now: Instant) -> None:
        raise RuntimeError("disk on fire")

    story = Story(cloud)
    outcome = cloud.process(Command(fail, answers.append), cloud.inbound("ann", story.order, story.demand()))
    for reply, answer in outcome.replies:
        reply(answer)
    assert [answer.reason for answer in answers] == [Reason.INTERNAL]
    assert story.state == OrderState.DEMANDED


def test_a_foreign_currency_is_not_paid_in_and_the_batch_goes_on(cloud: Cloud) -> None:
    refused = cloud.top_up("ann", 1, b"x" * 16, Currency("EUR"))
    assert refused.reason == Reason.CURRENCY_MISMATCH


def test_an_envelope_without_a_known_message_is_refused_under_its_number(cloud: Cloud) -> None:
    story = Story(cloud).until_demanded()
    raw = encode_envelope(decode_envelope(cloud.inbound("ann", story.order, story.cancelling(), number=2).raw))
    unknown = raw[: raw.rindex(story.cancelling().reason.encode())][:-4] + b"\xfa\x3f\x00"
    outcome = cloud.process(cloud.checks.open(cloud.roster["ann"].peer, unknown))
    assert refusals(cloud, outcome, "ann") == [Reason.UNSUPPORTED]


def already_there(cloud: Cloud, story: Story) -> None:
    """Put a part into the database that the selection will want to add."""
    selection = story.selecting()
    hashed = digest_of(SelectionBody, selection.selection)
    row = {"order_id": story.order, "kind": int(PartKind.SELECTION), "digest": hashed, "number": 0, "signed": b"x"}
    with cloud.engine.begin() as connection:
        connection.execute(insert(t.order_parts).values(**row))
