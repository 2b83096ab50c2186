"""The user's commands for services, cancellations and disputes, typed with nobody online; and a program that follows along."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from energyshare.errors import Unavailable
from energyshare.messages import Declined, OrderClosed
from energyshare.values import AssetId, OrderId, OrderState
from terminals.user import UserTerminal
from terminals.user.cli import program
from terminals.user.order import UserOrder
from tests.journals import WORKER, Customer
from tests.terminals_world import OUTLET

KEPT = "energyshare: note: the cloud does not answer"


@pytest.fixture
def customer(tmp_path: Path) -> Iterator[Customer]:
    made = Customer(tmp_path / "alice")
    yield made
    made.close()


def run(customer: Customer, *arguments: str) -> tuple[int, str, str]:
    """Type a command in the customer's home."""
    result = CliRunner().invoke(program, (*arguments, "--home", str(customer.home)), prog_name="energyshare")
    return result.exit_code, result.stdout, result.stderr


def done(customer: Customer, *arguments: str) -> str:
    """Type a command that does something with the cloud away; gives what it prints."""
    status, out, err = run(customer, *arguments)
    assert (status, err.splitlines()[0].startswith(KEPT)) == (0, True), (status, out, err)
    return out


def seen(customer: Customer, order_id: OrderId) -> UserOrder:
    """What the home knows of an order after a command."""
    return customer.order(order_id)


# Extra work


def test_extra_work_is_listed_with_what_it_adds(customer: Customer) -> None:
    customer.proposed()
    status, out, _ = run(customer, "amendment", "list")
    assert status == 0
    assert "2 × spare fuse" in out
    assert "30 min" in out
    assert "waits for you" in out
    [facts] = json.loads(run(customer, "amendment", "list", "--json")[1])
    assert (facts["amendment"], facts["items"], facts["duration_s"], facts["approved"]) == (1, {"spare fuse": 2}, 1_800, None)


@pytest.mark.parametrize("arguments", [(), ("1",), ("1", "1")])
@pytest.mark.parametrize(("answer", "approved"), [("approve", True), ("refuse", False)])
def test_extra_work_is_answered(customer: Customer, arguments: tuple[str, ...], answer: str, approved: bool) -> None:
    order_id = customer.proposed()
    out = done(customer, "amendment", answer, *arguments)
    assert ("Amendment 1: 2 × spare fuse and 30 min more" in out) is approved
    assert "Order 1: ACTIVE" in out
    assert seen(customer, order_id).amendments[0].approved is approved
    assert ("approved" if approved else "refused") in run(customer, "amendment", "list")[1]
    status, _, err = run(customer, "amendment", answer, *arguments)
    assert (status, "no such amendment waits for an answer" in err) == (1, True)


# Settlement


@pytest.mark.parametrize("arguments", [(), ("1",), ("1", "--yes")])
def test_what_is_asked_is_shown_and_confirmed(customer: Customer, arguments: tuple[str, ...]) -> None:
    order_id = customer.asked()
    out = done(customer, "confirm", *arguments)
    for line in ("1 × jump-start", "30 min of work", "asked for: 127.20 CNY, with VAT", "Order 1: ENDING"):
        assert line in out, out
    settlement = seen(customer, order_id).settlement
    assert settlement is not None
    assert settlement.disputed_minor == 0
    assert "no such settlement request waits" in run(customer, "confirm", "1")[2]


def test_a_part_of_what_is_asked_is_refused(customer: Customer) -> None:
    order_id = customer.asked()
    done(customer, "confirm", "--dispute", "25.00")
    settlement = seen(customer, order_id).settlement
    assert settlement is not None
    assert settlement.disputed_minor == 2_500


@pytest.mark.parametrize(
    ("amount", "status", "words"),
    [
        ("0", 1, "the amount must be above zero"),
        ("-1", 1, "the amount must be above zero"),
        ("999", 1, "the disputed amount is above the bill"),
        ("some", 2, "'some'"),
    ],
)
def test_an_amount_that_can_not_be_refused_is_named(customer: Customer, amount: str, status: int, words: str) -> None:
    order_id = customer.asked()
    ended, _, err = run(customer, "confirm", "--dispute", amount)
    assert (ended, words in err) == (status, True), err
    assert seen(customer, order_id).waiting_settlement is not None


def test_of_several_open_orders_the_one_that_waits_is_answered(customer: Customer) -> None:
    customer.authorized(OUTLET)
    asked = customer.asked()
    proposed = customer.proposed()
    done(customer, "confirm")
    done(customer, "amendment", "approve")
    settlement = seen(customer, asked).settlement
    assert settlement is not None
    assert settlement.disputed_minor == 0
    assert seen(customer, proposed).amendments[0].approved is True


def test_a_service_is_not_ended_by_its_user(customer: Customer) -> None:
    customer.active(WORKER)
    status, _, err = run(customer, "end")
    assert status == 1
    assert "error: a service is not ended by its user: its provider asks for settlement" in err
    assert "hint: wait for that with: energyshare sync; then answer with: energyshare confirm" in err


def test_a_service_under_way_tells_its_time_and_cost(customer: Customer) -> None:
    customer.active(WORKER)
    status, out, _ = run(customer, "status")
    assert status == 0
    assert "Order 1: ACTIVE" in out
    assert "CNY" in out


# Cancellations


def test_a_cancellation_says_what_ends_the_order(customer: Customer) -> None:
    order_id = customer.authorized(OUTLET)
    assert "Order 1: AUTHORIZED" in done(customer, "cancel", "--reason", "too far away!")
    order = seen(customer, order_id)
    assert (order.cancel_asked, order.cancel_reason) == ("USER", "TOO_FAR_AWAY")
    assert customer.me.has_unsent


def test_what_runs_is_not_called_off(customer: Customer) -> None:
    customer.active(OUTLET)
    status, _, err = run(customer, "cancel")
    assert (status, "the order is not at that point (state ACTIVE)" in err) == (1, True)


# Disputes


@pytest.mark.parametrize("arguments", [("0.50",), ("1", "0.50")])
def test_a_part_of_a_bill_is_disputed(customer: Customer, arguments: tuple[str, ...]) -> None:
    order_id = customer.settled(OUTLET)
    assert "Order 1: DISPUTED" in done(customer, "dispute", *arguments, "--reason", "it stopped half way")
    order = seen(customer, order_id)
    assert (order.state, order.disputed_minor, order.dispute_reason) == ("DISPUTED", 50, "it stopped half way")
    status, _, err = run(customer, "dispute", *arguments, "--reason", "again")
    assert (status, "or a dispute is open" in err) == (1, True)


def test_more_than_the_bill_is_not_disputed(customer: Customer) -> None:
    order_id = customer.settled(OUTLET)
    status, _, err = run(customer, "dispute", "100", "--reason", "it stopped half way")
    assert (status, "the disputed amount is above the bill" in err) == (1, True)
    assert seen(customer, order_id).state == "SETTLED"


# A program that follows its orders


class Line:
    """Stands for the terminal's stream: each turn delivers messages, after the last it breaks."""

    def __init__(self, customer: Customer, turns: list[tuple[OrderId, Declined | OrderClosed]]) -> None:
        self._customer, self._turns = customer, turns
        self._broken = asyncio.Event()

    async def renew_if_needed(self) -> None:
        pass

    @asynccontextmanager
    async def connected(self, handler: object) -> AsyncIterator["asyncio.Task[None]"]:
        serving = asyncio.create_task(self._serve())
        yield serving
        serving.cancel()

    async def changed(self) -> None:
        if not self._turns:
            self._broken.set()
            await asyncio.Event().wait()
        order_id, message = self._turns.pop(0)
        self._customer.wire.far.say(order_id, message)
        await self._customer.wire._deliver()

    async def _serve(self) -> None:
        await self._broken.wait()
        raise Unavailable("the line broke")


class Followed(UserTerminal):
    """A user's terminal on such a line."""

    def on(self, line: Line) -> "Followed":
        self._terminal = line  # type: ignore[assignment]
        return self


def test_a_program_hears_of_every_order_once_and_then_of_each_change(customer: Customer) -> None:
    orders = [customer.offered(OUTLET), customer.authorized(OUTLET)]
    turns: list[tuple[OrderId, Declined | OrderClosed]] = [
        (orders[0], Declined(AssetId(b"Y" * 16), "CLOSED")),
        (orders[1], OrderClosed(OrderState.EXPIRED, "NOT_STARTED")),
    ]
    heard: list[tuple[int, str]] = []

    async def follow() -> None:
        me = Followed(customer.me.identity, customer.me.journal, lambda: customer.now).on(Line(customer, turns))
        async with aclosing(me.follow()) as changes:
            async for order_id, order in changes:
                heard.append((orders.index(order_id), order.state))

    with pytest.raises(Unavailable, match="the line broke"):
        asyncio.run(follow())
    assert heard == [(0, "DEMANDED"), (1, "AUTHORIZED"), (0, "DEMANDED"), (1, "EXPIRED")]
