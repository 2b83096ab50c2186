"""A provider's orders taken to where a test begins: vouchers out, services checked in, bills as the platform signs them."""

from pathlib import Path
from typing import Any

from energyshare.bodies import (
    AmendmentAnswerBody,
    AmendmentBody,
    Asset,
    ChargeRecordBody,
    EndReceiptBody,
    EndRequestBody,
    Part,
    PartHash,
    RulingBody,
    ServiceItem,
    SettlementAnswerBody,
    SettlementRequestBody,
    VoucherBody,
)
from energyshare.messages import (
    AmendmentAnswer,
    ConfirmEnd,
    DemandNotice,
    Message,
    Offer,
    RejectedMessage,
    Ruling,
    Settled,
)
from energyshare.records import replace
from energyshare.signing import Label, SigningKey, digest
from energyshare.values import (
    ChargeBasis,
    Connector,
    Digest,
    DurationS,
    EnergyWh,
    Kind,
    Minor,
    Number,
    OrderId,
    PartKind,
    PowerW,
    PublicKey,
    later,
)
from energyshare.wire import digest_of, seal
from tests.device.world import DEVICE_GRANT, HOLDER, OWNER, PLATFORM, PLATFORM_GRANT, World
from tests.terminals_world import CNY, DEMAND, NOW, ORDER, OUTLET, Provider, of

CALLOUT = (
    b'{"currency":"CNY","elements":[{"price_components":['
    b'{"type":"FLAT","price":"20.00","vat":"6","step_size":1},'
    b'{"type":"TIME","price":"60.00","vat":"6","step_size":1},'
    b'{"type":"ITEM","item":"jump-start","price":"80.00","vat":"6","step_size":1},'
    b'{"type":"ITEM","item":"cable","price":"10.00","vat":"6","step_size":1}]}]}'
)
WORKER = replace(
    OUTLET,
    kind=Kind.SERVICE,
    name="worker-1",
    connector=Connector.NONE,
    power_w=PowerW(1),
    tariff_hash=digest(Label.TARIFF, CALLOUT),
)
JUMP_START = ServiceItem("jump-start", 1)
CABLE = ServiceItem("cable", 1)
HELP = replace(DEMAND, kinds=(Kind.SERVICE,), energy_wh=None, duration_s=DurationS(7_200), service_items=(JUMP_START,))
UNTIL = later(NOW, 86_400)


class Helper(Provider):
    """A provider of services with one worker."""

    def __init__(self, path: Path, asset: Asset = WORKER, **changes: Any) -> None:
        super().__init__(path, asset, **changes)
        self.orders.catalog = replace(self.orders.catalog, tariffs={WORKER.tariff_hash: CALLOUT})
        self.wire.listen()

    def offered(self, order_id: OrderId = ORDER) -> bytes:
        """Have a service demanded; gives the signed offer."""
        demand = replace(HELP, needed_by_time=later(self.now, 3_600))
        notice = DemandNotice(demand, (self.asset.asset_id,), later(self.now, 60))
        [offer] = of(Offer, self.tell(notice, order_id=order_id))
        return offer.offer

    def checked_in(self, device: World, order_id: OrderId = ORDER) -> VoucherBody:
        """Take a service as far as its check-in."""
        voucher = self.authorized(order_id)
        device.start(voucher)
        self.visit(device)
        return voucher

    def propose(self, *items: ServiceItem, duration_s: int = 0) -> list[Message]:
        """Propose extra work; gives what is said then."""
        with self.orders.changing(ORDER) as document:
            self.orders.jobs.propose(ORDER, document, items, DurationS(duration_s))
        return self.wire.listen()

    def settle(
        self, items: tuple[ServiceItem, ...] | None = None, duration_s: int | None = None, total: int | None = None
    ) -> Any:
        """Ask for settlement; gives what is said then."""
        duration = None if duration_s is None else DurationS(duration_s)
        with self.orders.changing(ORDER) as document:
            self.orders.jobs.request_settlement(ORDER, document, items, duration, None if total is None else Minor(total))
        return self.wire.listen()


def approval(amendment: bytes, approved: bool = True, by: SigningKey = HOLDER, **changes: Any) -> AmendmentAnswer:
    """The user's answer to an amendment."""
    answer = AmendmentAnswerBody(ORDER, Digest(digest_of(AmendmentBody, amendment)), approved)
    return AmendmentAnswer(seal(replace(answer, **changes), by).signed)


def settlement_answer(request: bytes, disputed: int, by: SigningKey = HOLDER) -> Part:
    """The user's answer to a request for settlement, as it comes with the bill."""
    hashed = Digest(digest_of(SettlementRequestBody, request))
    return Part(PartKind.SETTLEMENT_ANSWER, seal(SettlementAnswerBody(ORDER, hashed, Minor(disputed)), by).signed)


def bill(
    basis: ChargeBasis = ChargeBasis.END_RECEIPT,
    total: int = 100,
    disputed: int = 0,
    parts: tuple[Part, ...] = (),
    named: tuple[PartHash, ...] = (PartHash(PartKind.OFFER, Digest(b"o" * 32)),),
    by: SigningKey = PLATFORM,
    **changes: Any,
) -> Settled:
    """A bill as the platform signs it."""
    record = ChargeRecordBody(
        order_id=ORDER,
        kind=OUTLET.kind,
        provider_id=OWNER,
        currency=CNY,
        basis=basis,
        parts=named,
        start_time=NOW,
        duration_s=DurationS(0),
        energy_wh=EnergyWh(0),
        lines=(),
        excl_vat_minor=Minor(total),
        incl_vat_minor=Minor(total),
        deposit_claimed_minor=Minor(0),
        hold_minor=Minor(total),
        settled_time=NOW,
        corrects_hash=None,
    )
    return Settled(seal(replace(record, **changes), by).signed, PLATFORM_GRANT, parts, Minor(disputed))


def ruling(charged: int = 50, by: SigningKey = PLATFORM, order_id: OrderId = ORDER) -> Ruling:
    """The operator's ruling as the platform signs it."""
    return Ruling(seal(RulingBody(order_id, Minor(charged), "half of it", NOW), by).signed)


def refusal(provider: Provider, reason: str) -> RejectedMessage:
    """The cloud's refusal of what the provider said last."""
    return RejectedMessage(Number(provider.wire.numbers[-1]), reason, {})


def confirm_end(
    end_receipt: bytes | None, by: SigningKey = HOLDER, requester: PublicKey | None = None, order_id: OrderId = ORDER
) -> ConfirmEnd:
    """What the cloud asks of the provider when a user wants to end."""
    hashed = None if end_receipt is None else Digest(digest_of(EndReceiptBody, end_receipt))
    request = seal(EndRequestBody(order_id, hashed, NOW), by).signed
    return ConfirmEnd(request, end_receipt, UNTIL, None if end_receipt is None else DEVICE_GRANT, requester)
