"""What an operator sees and does: each call as the commands make it, beside the processor that the stories run through."""

import asyncio
import os
from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.message import Message
from sqlalchemy import insert, select, update

from cloud.gateway.desk import Cloud as Constant
from cloud.operator_client import Direct, operator_name
from cloud.store import tables as t
from energyshare.bodies import ChargeRecordBody, EndRefusalBody
from energyshare.errors import Reason, Rejected
from energyshare.messages import Dispute, EndRefused, Ruling, Settled
from energyshare.messages import Message as Said
from energyshare.v1 import operator_pb2 as pb
from energyshare.values import Digest, Minor, Number, OrderId, OrderState, id_text
from energyshare.wire import Envelope, digest_of, encode_envelope, peek, seal
from tests.cloud.actors import CNY, FUNDS, ROOT, Cloud, refusals
from tests.cloud.story import Story

ORDER = id_text(OrderId(b"\x01" * 16))
Ask = Callable[..., Any]


@pytest.fixture
def ask(cloud: Cloud) -> Ask:
    """Ask a call of the operator, by its name and request."""
    direct = Direct(cloud.readers, Constant(cloud.path, CNY, ROOT.public, b"secret"), cloud.process)

    def asked(method: str, request: Message | None = None, **fields: Any) -> Any:
        asking = request or getattr(pb, f"{method}Request")(**fields)
        return asyncio.run(direct.ask(method, asking))

    return asked


@pytest.fixture
def story(cloud: Cloud) -> Story:
    return Story(cloud, device="sun-battery")


def refused(ask: Ask, method: str, **fields: Any) -> Reason:
    with pytest.raises(Rejected) as refusal:
        ask(method, **fields)
    return refusal.value.reason


def acts(ask: Ask) -> list[tuple[str, str]]:
    return [(act.act, act.subject) for act in ask("ListActs").acts]


def charged(story: Story) -> ChargeRecordBody:
    return peek(ChargeRecordBody, story.cloud.told(story.user, Settled)[-1].charge_record)


def disputed_by_the_user(story: Story, amount: int) -> Story:
    story.until_settled()
    latest = digest_of(ChargeRecordBody, story.cloud.told(story.user, Settled)[-1].charge_record)
    outcome = story.by_user(Dispute(Digest(latest), Minor(amount), "[b]it was empty[/x]"))
    assert refusals(story.cloud, outcome, story.user) == []
    return story


def claimed_by_the_provider(story: Story, amount: int) -> Story:
    story.until_ending()
    refusal = EndRefusalBody(story.order, story.ended.digest, Minor(amount), "the lid is broken")
    story.by_provider(EndRefused(seal(refusal, story.who(story.provider).key).signed))
    assert story.state == OrderState.DISPUTED
    return story


# Disputes


def test_a_dispute_is_listed_with_who_disputes_how_much_and_until_when(ask: Ask, cloud: Cloud, story: Story) -> None:
    assert not ask("ListDisputes").disputes
    disputed_by_the_user(story, 100)
    (listed,) = ask("ListDisputes").disputes
    assert (listed.by, listed.disputed_minor, listed.is_settled) == ("user", 100, True)
    assert (listed.order.user_name, listed.order.provider_name) == ("ann", "sun")
    assert listed.since_time.seconds == cloud.now // 1_000_000
    assert listed.until_time.seconds - listed.since_time.seconds == cloud.settings.wait_ruling_s
    assert ask("GetStatus").disputes == 1


def test_an_order_in_dispute_shows_its_bill_its_claim_and_its_evidence(ask: Ask, story: Story) -> None:
    claimed_by_the_provider(story, 2_000)
    shown = ask("GetOrder", order=ORDER)
    assert (shown.dispute.by, shown.dispute.disputed_minor, shown.dispute.reason) == ("provider", 2_000, "the lid is broken")
    assert not shown.dispute.is_settled
    (record,) = shown.charge_records
    assert (record.basis, record.incl_vat_minor, record.deposit_claimed_minor) == ("END_RECEIPT", 339, 0)
    assert {line.dimension for line in record.lines} == {"TIME", "FLAT"}
    assert {row.kind: row.count for row in shown.evidence}["END_REFUSAL"] == 1
    assert (shown.waits_for, shown.order.disputed_minor) == ("RULING", 2_000)
    assert {(row.side, row.name) for row in shown.participants} >= {("user", "ann"), ("provider", "sun")}


@pytest.mark.parametrize("share", [0, 700, 2_000])
def test_a_ruling_on_a_claim_tells_both_sides_and_is_recorded(ask: Ask, cloud: Cloud, story: Story, share: int) -> None:
    claimed_by_the_provider(story, 2_000)
    ruled = ask("ResolveDispute", order=ORDER, charge_minor=share, reason="as the photos show")
    assert (ruled.state, ruled.total_minor, ruled.currency) == ("SETTLED", 339 + share, "CNY")
    assert cloud.balance("ann").available_minor == FUNDS - 339 - share
    assert cloud.told("ann", Ruling) == cloud.told("sun", Ruling) != []
    assert ask("GetOrder", order=ORDER).charge_records[-1].basis == "RULING"
    assert not ask("ListDisputes").disputes
    (act,) = ask("ListActs").acts
    assert (act.operator, act.act, act.subject) == (operator_name(), "dispute resolve", ORDER)
    assert act.note == f"{share / 100:.2f} CNY: as the photos show"
    assert cloud.audit().fault == ""


def test_a_ruling_on_what_a_user_disputed_gives_the_rest_back(ask: Ask, cloud: Cloud, story: Story) -> None:
    disputed_by_the_user(story, 300)
    assert ask("ResolveDispute", order=ORDER, charge_minor=100, reason="half").total_minor == 139
    assert cloud.balance("ann").available_minor == FUNDS - 139
    assert cloud.audit().fault == ""


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"charge_minor": 2_001}, Reason.DISPUTE_AMOUNT),
        ({"charge_minor": -1}, Reason.MALFORMED),
        ({"reason": ""}, Reason.MALFORMED),
        ({"reason": "x" * 501}, Reason.MALFORMED),
        ({"reason": "a\x1b[2Jb"}, Reason.MALFORMED),
        ({"order": "ffff"}, Reason.UNKNOWN_ORDER),
        ({"order": "no order"}, Reason.UNKNOWN_ORDER),
    ],
)
def test_a_ruling_that_can_not_be_changes_nothing(ask: Ask, story: Story, fields: dict[str, Any], reason: Reason) -> None:
    claimed_by_the_provider(story, 2_000)
    assert refused(ask, "ResolveDispute", **{"order": ORDER, "charge_minor": 1, "reason": "so"} | fields) is reason
    assert story.state == OrderState.DISPUTED
    assert acts(ask) == []


@pytest.mark.parametrize("until", [Story.until_demanded, Story.until_active, Story.until_ending, Story.until_settled])
def test_where_nothing_is_disputed_nothing_is_ruled(ask: Ask, story: Story, until: Callable[[Story], Story]) -> None:
    until(story)
    before = story.state
    with pytest.raises(Rejected):
        ask("ResolveDispute", order=ORDER, charge_minor=0, reason="so")
    assert (story.state, acts(ask)) == (before, [])


def test_a_second_ruling_is_refused(ask: Ask, story: Story) -> None:
    claimed_by_the_provider(story, 2_000)
    ask("ResolveDispute", order=ORDER, charge_minor=0, reason="so")
    with pytest.raises(Rejected):
        ask("ResolveDispute", order=ORDER, charge_minor=2_000, reason="or so")
    assert len(acts(ask)) == 1


# Parties


def test_a_suspended_user_gets_nothing_new_and_ends_what_runs(ask: Ask, cloud: Cloud, story: Story) -> None:
    story.until_active()
    suspended = ask("SuspendParty", role="user", name="ann", reason="unpaid")
    assert (suspended.changed, suspended.open_orders) == (True, 1)
    other = Story(cloud, order=OrderId(b"\x02" * 16))
    assert refusals(cloud, other.by_user(other.demand()), "ann") == ["ACCOUNT_SUSPENDED"]
    story.end(3_600, 2_500)
    story.by_user(story.asking_to_end())
    assert story.state == OrderState.ENDING
    assert ask("GetStatus").suspended_parties == 1

    assert ask("ResumeParty", role="user", name="ann").changed
    assert Story(cloud, order=OrderId(b"\x03" * 16)).until_demanded().state == OrderState.DEMANDED
    assert acts(ask) == [("party resume", "user ann"), ("party suspend", "user ann")]


def test_a_suspended_provider_is_not_asked(ask: Ask, cloud: Cloud) -> None:
    ask("SuspendParty", role="provider", name="sun")
    story = Story(cloud).until_demanded()
    assert {row.name for row in ask("GetOrder", order=ORDER).participants} == {"ann", "moon"}
    assert story.state == OrderState.DEMANDED


def test_a_suspension_outlives_the_node(ask: Ask, cloud: Cloud) -> None:
    ask("SuspendParty", role="user", name="ben")
    cloud.processor = type(cloud.processor)(cloud.engine, cloud.platform, cloud.settings)
    story = Story(cloud, user="ben")
    assert refusals(cloud, story.by_user(story.demand()), "ben") == ["ACCOUNT_SUSPENDED"]


def test_what_is_so_already_is_said_and_not_recorded_again(ask: Ask) -> None:
    assert not ask("ResumeParty", role="user", name="ann").changed
    assert ask("SuspendParty", role="user", name="ann").changed
    assert not ask("SuspendParty", role="user", name="ann").changed
    assert acts(ask) == [("party suspend", "user ann")]


@pytest.mark.parametrize(("role", "name"), [("user", "nobody"), ("provider", "ann"), ("user", ""), ("device", "sun-outlet")])
def test_an_unknown_party_is_not_suspended(ask: Ask, role: str, name: str) -> None:
    assert refused(ask, "SuspendParty", role=role, name=name) is Reason.PARTY_UNKNOWN
    assert refused(ask, "ResumeParty", role=role, name=name) is Reason.PARTY_UNKNOWN


def test_parties_are_listed_with_what_runs_and_what_they_have(ask: Ask, story: Story) -> None:
    story.until_active()
    users = {party.name: party for party in ask("ListParties", role="user").parties}
    assert (users["ann"].open_orders, users["ann"].terminals) == (1, 1)
    assert users["ann"].available_minor + users["ann"].held_minor == FUNDS
    assert (users["ben"].open_orders, users["ben"].available_minor) == (0, FUNDS)
    providers = {party.name: party.open_orders for party in ask("ListParties", role="provider").parties}
    assert providers == {"moon": 0, "rain": 0, "sun": 1}
    assert len(ask("ListParties").parties) == 6


# Terminals and assets


def test_a_revoked_terminal_is_shown_as_such_and_stays_so(ask: Ask, cloud: Cloud) -> None:
    end = id_text(cloud.roster["ann"].id)[-8:]
    revoked = ask("RevokeTerminal", terminal=end, reason="stolen")
    assert (revoked.changed, revoked.terminal.name, revoked.terminal.revoked) == (True, "ann", True)
    assert not ask("RevokeTerminal", terminal="ann").changed
    assert {row.name for row in ask("ListTerminals").terminals if row.revoked} == {"ann"}
    assert acts(ask) == [("terminal revoke", f"user ann {id_text(cloud.roster['ann'].id)}")]


@pytest.mark.parametrize("text", ["nobody", "", "ab", "%", "ffffffff"])
def test_an_unknown_terminal_is_not_revoked(ask: Ask, text: str) -> None:
    assert refused(ask, "RevokeTerminal", terminal=text) is Reason.PARTY_UNKNOWN


def test_a_name_that_two_terminals_bear_revokes_neither(ask: Ask, cloud: Cloud) -> None:
    cloud.run(lambda work, now: work.unit.execute(update(t.terminals).where(t.terminals.c.name == "ben").values(name="ann")))
    assert refused(ask, "RevokeTerminal", terminal="ann") is Reason.PARTY_UNKNOWN
    assert not any(row.revoked for row in ask("ListTerminals").terminals)


def test_a_suspended_asset_is_offered_to_nobody_until_it_is_resumed(ask: Ask, cloud: Cloud) -> None:
    suspend(cloud, "sun-outlet")
    assert ask("GetStatus").suspended_assets == 1
    story = Story(cloud).until_demanded()
    assert refusals(cloud, story.by_provider(story.offering()), "sun") != []
    resumed = ask("ResumeAsset", asset="sun-outlet station/sun-outlet", provider_name="sun", reason="new board")
    assert (resumed.changed, resumed.asset.suspended) == (True, False)
    assert not ask("ResumeAsset", asset="sun-outlet").changed
    again = Story(cloud, order=OrderId(b"\x02" * 16)).until_offered()
    assert again.cloud.readers.rows(select(t.offers).where(t.offers.c.order_id == again.order))
    assert acts(ask) == [("asset resume", "sun sun-outlet station/sun-outlet")]


@pytest.mark.parametrize(("asset", "provider"), [("no such", ""), ("sun-outlet", "moon"), ("", "")])
def test_an_unknown_asset_is_not_resumed(ask: Ask, asset: str, provider: str) -> None:
    assert refused(ask, "ResumeAsset", asset=asset, provider_name=provider) is Reason.ASSET_UNKNOWN


def suspend(cloud: Cloud, asset: str) -> None:
    cloud.run(lambda work, now: work.unit.execute(update(t.assets).where(t.assets.c.name == asset).values(suspended=True)))


# Parked messages


def park(story: Story, name: str, number: int, message: Said) -> int:
    """Put a message aside as the processor does when it fails on it."""
    raw = encode_envelope(Envelope(story.order, Number(number), message))
    row = {
        "at": story.cloud.now,
        "terminal_id": story.who(name).id,
        "order_id": story.order,
        "number": number,
        "body": raw,
        "error": "KeyError(1)",
    }
    story.cloud.run(lambda work, now: work.unit.execute(insert(t.parked).values(**row)))
    parked: list[int] = [row.id for row in story.cloud.readers.rows(select(t.parked.c.id))]
    return max(parked)


def test_a_parked_receipt_is_taken_by_its_order_after_all(ask: Ask, cloud: Cloud, story: Story) -> None:
    story.until_authorized()
    parked = park(story, "ann", 3, story.starting())
    (listed,) = ask("ListParked").parked
    assert (listed.parked_id, listed.terminal_name, listed.message, listed.error) == (parked, "ann", "Started", "KeyError(1)")
    assert ask("GetParked", parked_id=parked).can_retry
    retried = ask("RetryParked", parked_id=parked)
    assert (retried.order_id, retried.state) == (story.order, "ACTIVE")
    assert not ask("ListParked").parked
    assert acts(ask) == [("parked retry", f"{parked} of order {ORDER}")]

    story.end(3_600, 2_500)
    story.by_user(story.asking_to_end())
    story.by_provider(story.confirming())
    assert (story.state, cloud.audit().fault) == (OrderState.SETTLED, "")


def test_what_a_person_wanted_and_was_told_had_failed_is_only_dropped(ask: Ask, story: Story) -> None:
    story.until_offered()
    parked = park(story, "ann", 2, story.selecting())
    assert not ask("GetParked", parked_id=parked).can_retry
    assert refused(ask, "RetryParked", parked_id=parked) is Reason.PARKED_REFUSED
    assert (story.state, acts(ask)) == (OrderState.DEMANDED, [])
    ask("DropParked", parked_id=parked)
    assert not ask("ListParked").parked
    assert acts(ask) == [("parked drop", f"{parked} of order {ORDER}")]


def test_a_retry_that_its_order_refuses_stays_parked(ask: Ask, story: Story) -> None:
    story.until_selected()
    story.issuing()
    parked = park(story, "ann", 3, story.starting())
    assert refused(ask, "RetryParked", parked_id=parked) is Reason.WRONG_STATE
    assert [row.parked_id for row in ask("ListParked").parked] == [parked]
    assert acts(ask) == []


def test_a_retry_of_what_was_never_signed_so_is_refused(ask: Ask, story: Story) -> None:
    story.until_authorized()
    forged = story.starting(serial=7)
    parked = park(story, "ben", 1, forged)
    with pytest.raises(Rejected):
        ask("RetryParked", parked_id=parked)
    assert story.state == OrderState.AUTHORIZED


@pytest.mark.parametrize("method", ["GetParked", "RetryParked", "DropParked"])
def test_what_is_not_parked_is_unknown(ask: Ask, method: str) -> None:
    assert refused(ask, method, parked_id=7) is Reason.PARKED_UNKNOWN


def test_an_envelope_that_nobody_can_read_is_shown_as_unknown(ask: Ask, cloud: Cloud) -> None:
    row = {"at": 1, "terminal_id": b"x" * 16, "order_id": b"", "number": 1, "body": b"\xff\xff", "error": "e"}
    cloud.run(lambda work, now: work.unit.execute(insert(t.parked).values(**row)))
    (listed,) = ask("ListParked").parked
    assert (listed.message, listed.terminal_name) == ("unknown", "")
    assert not ask("GetParked", parked_id=listed.parked_id).can_retry


# What is recorded, listed and shown


def test_a_join_token_is_recorded_without_its_secret(ask: Ask) -> None:
    made = ask("CreateToken", request_id=os.urandom(16), role="user", name="zoe")
    (act,) = ask("ListActs").acts
    assert (act.operator, act.act, act.subject, act.note) == (operator_name(), "token create", "user zoe", "")
    assert made.token not in str(act)


@pytest.mark.parametrize("fields", [{"role": "king"}, {"name": ""}, {"name": "a\nb"}, {"request_id": b"short"}])
def test_a_refused_act_is_not_recorded(ask: Ask, fields: dict[str, Any]) -> None:
    given = {"request_id": bytes(16), "role": "user", "name": "zoe"} | fields
    assert refused(ask, "CreateToken", **given) is Reason.MALFORMED
    assert acts(ask) == []


def test_acts_and_alerts_are_listed_newest_first_and_not_older_than_asked(ask: Ask, cloud: Cloud) -> None:
    rows = [{"at": n * 1_000_000, "kind": "RECEIPT_CONFLICT", "order_id": b"", "note": str(n)} for n in (1, 2)]
    cloud.run(lambda work, now: work.unit.execute(insert(t.alerts).values(rows)))
    assert [alert.note for alert in ask("ListAlerts").alerts] == ["2", "1"]
    since = pb.ListAlertsRequest(page_size=1)
    since.since_time.seconds = 2
    assert [alert.note for alert in ask("ListAlerts", since).alerts] == ["2"]
    since.since_time.seconds = 3
    assert not ask("ListAlerts", since).alerts


def test_orders_are_listed_by_state_user_and_provider(ask: Ask, cloud: Cloud) -> None:
    Story(cloud).until_active()
    Story(cloud, user="ben", order=OrderId(b"\x02" * 16)).until_demanded()

    def listed(**fields: Any) -> list[str]:
        return [row.user_name for row in ask("ListOrders", **fields).orders]

    assert sorted(listed()) == ["ann", "ben"]
    assert listed(user_name="ben") == ["ben"]
    assert listed(provider_name="sun") == ["ann"]
    assert listed(provider_name="moon") == []
    assert listed(state="active", user_name="ann", provider_name="sun") == ["ann"]
    assert refused(ask, "ListOrders", user_name="nobody") is Reason.PARTY_UNKNOWN
    assert refused(ask, "ListOrders", provider_name="ann") is Reason.PARTY_UNKNOWN
    assert refused(ask, "ListOrders", state="LOST") is Reason.MALFORMED


def test_an_order_says_what_it_waits_for_and_until_when(ask: Ask, cloud: Cloud) -> None:
    Story(cloud).until_demanded()
    shown = ask("GetOrder", order=ORDER)
    assert (shown.waits_for, shown.due_time.seconds) == ("OFFERS", cloud.now // 1_000_000 + 60)
    assert [(row.side, row.last_in, row.waiting_envelopes) for row in shown.participants if row.name == "ann"] == [
        ("user", 1, 1)
    ]
    assert not shown.HasField("dispute")
