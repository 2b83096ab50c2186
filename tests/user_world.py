"""A user's terminal in a test: its journal and keys are real, the cloud is only the frames of a link."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from energyshare.bodies import (
    AmendmentBody,
    Asset,
    OfferBody,
    Part,
    ServiceItem,
    SettlementRequestBody,
    VoucherBody,
)
from energyshare.bound import price_bound
from energyshare.messages import Amendment, Cancel, Demand, Message, Offer, Selection, SettlementRequest, Started, Voucher
from energyshare.records import replace
from energyshare.session import service_bill
from energyshare.signing import Label, SigningKey, digest
from energyshare.tariff import tariff_of
from energyshare.values import (
    Connector,
    Digest,
    DurationS,
    EnergyWh,
    Epoch,
    Instant,
    Kind,
    Minor,
    Number,
    PartKind,
    PowerW,
    Serial,
    later,
    unix_s,
)
from energyshare.wire import Presentable, digest_of, encode_presentable, seal
from terminals.journal import Journal
from terminals.user.order import AmendmentLine, SettlementAsked, UserOrder
from terminals.user.terminal import UserTerminal
from tests.device.test_server import serving
from tests.device.world import DEVICE, DEVICE_GRANT, HOLDER, ISSUER, ISSUER_GRANT, OWNER, World
from tests.terminals_world import CNY, DEMAND, NOW, OUTLET, TARIFF, USER, Wire, of

HELP_TARIFF = b"""{"currency":"CNY","elements":[{"price_components":[
{"type":"FLAT","price":"30","vat":"6","step_size":1},
{"type":"TIME","price":"120","vat":"6","step_size":60},
{"type":"ITEM","item":"jump-start","price":"50","vat":"6","step_size":1},
{"type":"ITEM","item":"tow","price":"200","vat":"6","step_size":1}]}]}"""
HELPER = replace(
    OUTLET,
    kind=Kind.SERVICE,
    name="helper-1",
    connector=Connector.NONE,
    power_w=PowerW(1),
    tariff_hash=digest(Label.TARIFF, HELP_TARIFF),
)
JUMP_START, TOW, POLISH = ServiceItem("jump-start", 1), ServiceItem("tow", 1), ServiceItem("polish", 1)
TARIFFS: Mapping[Digest, bytes] = {OUTLET.tariff_hash: TARIFF, HELPER.tariff_hash: HELP_TARIFF}


class User:
    """A user's terminal whose only order is demanded; `now` moves only when a test moves it."""

    def __init__(self, path: Path, asset: Asset = OUTLET) -> None:
        self.now, self.asset = NOW, asset
        self.me = UserTerminal(USER, Journal(path), lambda: self.now)
        self.wire = Wire(self.me._terminal, self.me._orders)
        self.order_id = self.me.demand(replace(DEMAND, kinds=(asset.kind,), service_items=self.items))
        assert [type(message) for message in self.wire.listen()] == [Demand]

    @property
    def items(self) -> tuple[ServiceItem, ...]:
        """What is asked for."""
        return (JUMP_START,) if self.asset.kind is Kind.SERVICE else ()

    @property
    def order(self) -> UserOrder:
        """What the terminal knows."""
        return self.me.order(self.order_id)

    @property
    def amendment(self) -> AmendmentLine:
        """The last amendment that came."""
        return self.order.amendments[-1]

    @property
    def settlement(self) -> SettlementAsked:
        """The settlement request that came."""
        assert self.order.settlement is not None
        return self.order.settlement

    def tell(self, *messages: Message) -> list[Message]:
        """Have messages delivered; gives the answers."""
        return self.wire.tell(self.order_id, *messages)

    def parts(self, kind: PartKind) -> list[bytes]:
        """Give the signed parts of a kind."""
        return [part.signed for part in self.me.journal.parts(self.order_id, kind)]

    def offer(self, **changes: Any) -> OfferBody:
        """What the provider offers, with changes."""
        body = OfferBody(
            order_id=self.order_id,
            provider_id=OWNER,
            asset=self.asset,
            tariff=TARIFFS[self.asset.tariff_hash],
            currency=CNY,
            energy_wh_max=EnergyWh(1 if self.asset.kind is Kind.SERVICE else 2_000),
            duration_s_max=DurationS(7_200),
            return_grace_s=DurationS(0),
            estimate=(),
            estimate_excl_vat_minor=Minor(0),
            estimate_incl_vat_minor=Minor(0),
            voucher_not_after_time=later(NOW, 7_200),
            expiry_time=later(NOW, 600),
            items=self.items,
        )
        return replace(body, **changes)

    def offered(self) -> None:
        """Have the offer come."""
        self.tell(Offer(seal(self.offer(), ISSUER).signed, ISSUER_GRANT))

    def selected(self) -> bytes:
        """Take the order as far as its selection; gives the signed selection."""
        self.offered()
        self.me.select(self.order_id, 1)
        [selection] = of(Selection, self.wire.listen())
        return selection.selection

    def authorized(self) -> VoucherBody:
        """Take the order as far as its voucher."""
        self.selected()
        voucher = self.voucher()
        assert self.tell(voucher_message(voucher)) == []
        assert self.order.state == "AUTHORIZED"
        return voucher

    def started(self, device: World) -> VoucherBody:
        """Take the order as far as its start, of which the provider tells."""
        voucher = self.authorized()
        assert self.tell(Started(device.start(voucher), DEVICE_GRANT)) == []
        assert self.order.state == "ACTIVE"
        return voucher

    def voucher(self, **changes: Any) -> VoucherBody:
        """What the provider issues for the offer, with changes."""
        body = VoucherBody(
            order_id=self.order_id,
            device_id=DEVICE,
            holder_key=HOLDER.public,
            energy_wh_max=self.offer().energy_wh_max,
            duration_s_max=DurationS(7_200),
            not_before_unix_s=unix_s(NOW),
            window_s=DurationS(7_200),
            serial=Serial(1),
            epoch=Epoch(1),
            tariff_hash=self.asset.tariff_hash,
        )
        return replace(body, **changes)

    def at(self, device: World, act: Callable[[str], Awaitable[None]]) -> list[Message]:
        """Do something at a device; gives what is said then."""

        async def play() -> None:
            async with serving(device) as address:
                await act(address)

        asyncio.run(play())
        return self.wire.listen()

    def act(self, deed: Awaitable[None]) -> list[Message]:
        """Do something that needs nobody; gives what is said then."""

        async def play() -> None:
            await deed

        asyncio.run(play())
        return self.wire.listen()

    def cancelled(self) -> list[Message]:
        """Ask to call the order off; gives what is said."""
        said = self.act(self.me.cancel(self.order_id, "TOO_FAR"))
        assert of(Cancel, said) == said
        return said


def voucher_message(body: VoucherBody, key: SigningKey = ISSUER, issuer_grant: bytes = ISSUER_GRANT) -> Voucher:
    """The message that brings a voucher."""
    return Voucher(encode_presentable(Presentable(seal(body, key).signed, issuer_grant)))


# Services


def amendment_body(user: User, **changes: Any) -> AmendmentBody:
    """A tow and half an hour on top of what was quoted, with changes; what it adds is computed unless it is given."""
    body = AmendmentBody(user.order_id, Number(1), (TOW,), DurationS(1_800), Minor(0))
    body = replace(body, **changes)
    return body if "hold_minor" in changes else replace(body, hold_minor=added(body))


def added(body: AmendmentBody) -> Minor:
    """What an amendment adds to the most that the quote alone can cost."""
    tariff, quote = tariff_of(HELP_TARIFF), ((JUMP_START,), 7_200)
    more = price_bound(tariff, 1, quote[1] + body.duration_s, (*quote[0], *body.items))
    return Minor(more - price_bound(tariff, 1, quote[1], quote[0]))


def amendment(body: AmendmentBody, key: SigningKey = ISSUER) -> Amendment:
    """The message that brings an amendment."""
    return Amendment(seal(body, key).signed)


def request_body(user: User, **changes: Any) -> SettlementRequestBody:
    """What is asked for the quoted items and an hour, with changes; the total is computed unless it is given."""
    body = replace(SettlementRequestBody(user.order_id, (JUMP_START,), DurationS(3_600), Minor(0)), **changes)
    return body if "total_minor" in changes else replace(body, total_minor=cost(body))


def cost(body: SettlementRequestBody, start: Instant = NOW) -> Minor:
    """What items and time of a request cost."""
    tariff = tariff_of(HELP_TARIFF)
    return service_bill(start, HELPER.time_zone, body.duration_s, body.items, tariff).incl_vat_minor


def request(body: SettlementRequestBody, key: SigningKey = ISSUER) -> SettlementRequest:
    """The message that asks for settlement."""
    return SettlementRequest(seal(body, key).signed)


def hash_of(cls: Any, signed: bytes) -> Digest:
    """Hash a signed part."""
    return Digest(digest_of(cls, signed))


def settled_parts(confirmation: bytes | None, end: bytes) -> tuple[Part, ...]:
    """The parts that come along with a metered session's charge record."""
    agreed = (Part(PartKind.END_CONFIRMATION, confirmation),) if confirmation else ()
    return (*agreed, Part(PartKind.END_RECEIPT, end), Part(PartKind.DEVICE_GRANT, DEVICE_GRANT))
