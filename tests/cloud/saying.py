"""What user, provider and device would sign in one order, with room to alter any of it."""

from dataclasses import dataclass, field
from typing import Any

from cloud.items import Outcome
from energyshare.bodies import (
    ChallengeBody,
    EndConfirmationBody,
    EndReceiptBody,
    EndRequestBody,
    OfferBody,
    PresentationBody,
    ReadingBody,
    ReleaseBody,
    SelectionBody,
    ServiceItem,
    StartReceiptBody,
    Verified,
    VoucherBody,
)
from energyshare.charging import hold_of
from energyshare.messages import (
    Demand,
    EndConfirmed,
    Ended,
    EndRequest,
    Message,
    Offer,
    Reading,
    Selection,
    Started,
    Voucher,
)
from energyshare.records import replace
from energyshare.session import service_bill
from energyshare.signing import SigningKey
from energyshare.tariff import tariff_of
from energyshare.values import (
    ClockQuality,
    DeviceId,
    DeviceState,
    Digest,
    DurationS,
    EndCause,
    EnergyWh,
    Epoch,
    Kind,
    Metres,
    Minor,
    Nonce,
    Number,
    OrderId,
    ProviderId,
    Serial,
    later,
    unix_s,
)
from energyshare.wire import present, seal
from tests.cloud.actors import CNY, SQUARE, TARIFFS, Cloud, Identity, asset_of

NONCE = Nonce(b"n" * 16)
JUMP_START, TYRE, TOW = ServiceItem("jump-start", 1), ServiceItem("tyre", 1), ServiceItem("tow", 1)
PRICED = {item.name for item in (JUMP_START, TYRE, TOW)}
"""What the worker's tariff names."""
START_REGISTER = 40_000


@dataclass(repr=False)
class Saying:
    """The words of an order between a user and the provider of one device."""

    cloud: Cloud
    user: str = "ann"
    device: str = "sun-outlet"
    order: OrderId = OrderId(b"\x01" * 16)
    energy_wh: int = 5_000
    duration_s: int = 7_200
    items: tuple[ServiceItem, ...] = (JUMP_START,)
    offer: Verified[OfferBody] = field(init=False)
    voucher: Verified[VoucherBody] = field(init=False)
    started: Verified[StartReceiptBody] = field(init=False)
    readings: list[Verified[ReadingBody]] = field(default_factory=list)
    ended: Verified[EndReceiptBody] = field(init=False)
    serial: int = 1

    @property
    def provider(self) -> str:
        return self.device.split("-", maxsplit=1)[0]

    @property
    def is_service(self) -> bool:
        return self.device.endswith("worker")

    def who(self, name: str) -> Identity:
        return self.cloud.roster[name]

    def by_user(self, message: Message) -> Outcome:
        return self.cloud.say(self.user, self.order, message)

    def by_provider(self, message: Message) -> Outcome:
        return self.cloud.say(self.provider, self.order, message)

    # What is said

    def demand(self, **changes: Any) -> Demand:
        demand = Demand(
            kinds=(Kind.SERVICE,) if self.is_service else (Kind.ENERGY, Kind.BATTERY),
            place=SQUARE,
            radius_m=Metres(1_000),
            energy_wh=None if self.is_service else EnergyWh(self.energy_wh),
            duration_s=DurationS(self.duration_s),
            service_items=self.items if self.is_service else (),
            needed_by_time=later(self.cloud.now, 3_600),
            price_max_minor=None,
            time_to_live_s=DurationS(60),
            connector=None,
        )
        return replace(demand, **changes)

    def offer_body(self, **changes: Any) -> OfferBody:
        asset = changes.pop("asset", None) or asset_of(self.cloud.roster, self.device)
        offer = OfferBody(
            order_id=self.order,
            provider_id=ProviderId(self.who(self.provider).id),
            asset=asset,
            tariff=TARIFFS.get(asset.tariff_hash, b"{}"),
            currency=CNY,
            energy_wh_max=EnergyWh(self.energy_wh),
            duration_s_max=DurationS(self.duration_s),
            return_grace_s=DurationS(3_600),
            estimate=(),
            estimate_excl_vat_minor=Minor(0),
            estimate_incl_vat_minor=Minor(0),
            voucher_not_after_time=later(self.cloud.now, 3_600),
            expiry_time=later(self.cloud.now, 300),
        )
        return replace(self._quoted(offer) if self.is_service else offer, **changes)

    def _quoted(self, offer: OfferBody) -> OfferBody:
        """Half of the time is estimated."""
        tariff = tariff_of(offer.tariff)
        quote = service_bill(self.cloud.now, offer.asset.time_zone, self.duration_s // 2, self.items, tariff)
        return replace(
            offer,
            energy_wh_max=EnergyWh(1),
            return_grace_s=DurationS(0),
            items=self.items,
            estimate=quote.lines,
            estimate_excl_vat_minor=quote.excl_vat_minor,
            estimate_incl_vat_minor=quote.incl_vat_minor,
        )

    def offering(self, **changes: Any) -> Offer:
        provider = self.who(self.provider)
        self.offer = seal(self.offer_body(**changes), provider.key)
        return Offer(self.offer.signed, provider.grant.signed)

    def selecting(self, **changes: Any) -> Selection:
        signer: SigningKey = changes.pop("signer", self.who(self.user).key)
        hold = hold_of(self.offer.body)
        body = SelectionBody(self.order, self.offer.digest, hold, CNY, self.cloud.now)
        return Selection(seal(replace(body, **changes), signer).signed)

    def issuing(self, **changes: Any) -> Voucher:
        issuer = self.who(changes.pop("issuer", self.provider))
        offer = self.offer.body
        start = unix_s(self.cloud.now)
        body = VoucherBody(
            order_id=self.order,
            device_id=offer.asset.device_id,
            holder_key=self.who(self.user).key.public,
            energy_wh_max=offer.energy_wh_max,
            duration_s_max=offer.duration_s_max,
            not_before_unix_s=start,
            window_s=DurationS(unix_s(offer.voucher_not_after_time) - start),
            serial=Serial(self.serial),
            epoch=Epoch(1),
            tariff_hash=offer.asset.tariff_hash,
        )
        grant = changes.pop("grant", issuer.grant)
        self.voucher = seal(replace(body, **changes), issuer.key)
        return Voucher(present(self.voucher, grant))

    def starting(self, **changes: Any) -> Started:
        """A start receipt; `holder` presents, `nonce` is what was presented."""
        device = self.who(self.device)
        holder: SigningKey = changes.pop("holder", self.who(self.user).key)
        nonce, at = changes.pop("nonce", NONCE), changes.pop("at", self.cloud.now)
        grant = changes.pop("grant", device.grant)
        device_id = DeviceId(device.id)
        challenge = ChallengeBody(device_id, NONCE, at, ClockQuality.SYNCHRONIZED, Epoch(1), DeviceState.FREE)
        presentation = PresentationBody(changes.pop("voucher_hash", self.voucher.digest), device_id, nonce)
        body = StartReceiptBody(
            device_id=device_id,
            order_id=self.order,
            serial=Serial(self.serial),
            epoch=Epoch(1),
            receipt_number=Number(1),
            challenge=seal(challenge, device.key).signed,
            presentation=seal(presentation, holder).signed,
            start_time=at,
            clock_quality=ClockQuality.SYNCHRONIZED,
            register_wh=EnergyWh(START_REGISTER),
            soc_pct=None,
            soh_pct=None,
        )
        self.started = seal(replace(body, **changes), device.key)
        return Started(self.started.signed, grant.signed)

    def read(self, elapsed_s: int, energy_wh: int, **changes: Any) -> Verified[ReadingBody]:
        """The device's next reading."""
        device = self.who(self.device)
        before = self.readings[-1] if self.readings else None
        body = ReadingBody(
            device_id=DeviceId(device.id),
            order_id=self.order,
            number=Number(len(self.readings) + 1),
            previous_hash=before.digest if before else self.started.digest,
            reading_time=later(self.started.body.start_time, elapsed_s),
            clock_quality=ClockQuality.SYNCHRONIZED,
            elapsed_s=DurationS(elapsed_s),
            register_wh=EnergyWh(START_REGISTER + energy_wh),
            supplying=True,
            soc_pct=None,
        )
        self.readings.append(seal(replace(body, **changes), device.key))
        return self.readings[-1]

    def reporting(self, *readings: Verified[ReadingBody]) -> Reading:
        return Reading(tuple(r.signed for r in readings), self.who(self.device).grant.signed)

    def end(self, elapsed_s: int, energy_wh: int, **changes: Any) -> Verified[EndReceiptBody]:
        """The device's end receipt, released by the holder unless `cause` and `releaser` say otherwise."""
        device = self.who(self.device)
        cause = changes.pop("cause", EndCause.HOLDER)
        releaser: SigningKey = changes.pop("releaser", self.who(self.user).key)
        release = seal(ReleaseBody(DeviceId(device.id), NONCE, self.order), releaser).signed
        body = EndReceiptBody(
            device_id=DeviceId(device.id),
            order_id=self.order,
            receipt_number=Number(2),
            start_receipt=self.started.signed,
            release=None if cause is EndCause.DURATION_CAP else release,
            cause=cause,
            end_time=later(self.started.body.start_time, elapsed_s),
            clock_quality=ClockQuality.SYNCHRONIZED,
            elapsed_s=DurationS(elapsed_s),
            register_wh=EnergyWh(START_REGISTER + energy_wh),
            readings_count=Number(len(self.readings)),
            readings_head=self.readings[-1].digest if self.readings else self.started.digest,
            soc_pct=None,
            soh_pct=None,
        )
        self.ended = seal(replace(body, **changes), device.key)
        return self.ended

    def asking_to_end(self, with_receipt: bool = True, **changes: Any) -> EndRequest:
        given = self.ended.digest if with_receipt else None
        signer: SigningKey = changes.pop("signer", self.who(self.user).key)
        request = seal(replace(EndRequestBody(self.order, given, self.cloud.now), **changes), signer).signed
        if not with_receipt:
            return EndRequest(request, None, None)
        return EndRequest(request, self.ended.signed, self.who(self.device).grant.signed)

    def reporting_end(self) -> Ended:
        return Ended(self.ended.signed, self.who(self.device).grant.signed)

    def confirming(self, total_minor_max: int | None = None, **changes: Any) -> EndConfirmed:
        end_hash: Digest | None = changes.pop("end_receipt_hash", self.ended.digest if hasattr(self, "ended") else None)
        body = EndConfirmationBody(self.order, end_hash, None if total_minor_max is None else Minor(total_minor_max))
        return EndConfirmed(seal(replace(body, **changes), self.who(self.provider).key).signed)
