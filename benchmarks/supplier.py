"""The provider of the load process: one terminal with all outlets, which offers, issues vouchers and confirms ends.

It signs what a provider signs. What its daemon checks before it does so is left out, as are its journal and its devices.
"""

import time
from itertools import count

from benchmarks.line import Line
from benchmarks.outlet import EPOCH
from benchmarks.world import CURRENCY, TARIFF, Party, World, place_of
from energyshare.bodies import (
    Asset,
    EndConfirmationBody,
    EndReceiptBody,
    OfferBody,
    SelectionBody,
    VoucherBody,
)
from energyshare.messages import (
    Award,
    ConfirmEnd,
    DemandNotice,
    EndConfirmed,
    Inventory,
    Message,
    Offer,
    RejectedMessage,
    Voucher,
)
from energyshare.places import place_name
from energyshare.signing import Label, SigningKey, derive_id, digest
from energyshare.values import (
    AssetId,
    AssetState,
    Connector,
    DeviceId,
    Digest,
    DurationS,
    EnergyWh,
    Instant,
    Kind,
    Minor,
    Number,
    OrderId,
    PowerW,
    ProviderId,
    PublicKey,
    Serial,
    later,
    unix_s,
)
from energyshare.wire import Presentable, digest_of, encode_presentable, peek, seal
from terminals.link import Unreadable

ENERGY_WH_MAX = EnergyWh(5_000)
DURATION_S_MAX = DurationS(7_200)
OFFER_S = 300
VOUCHER_S = 3_600


def now() -> Instant:
    """Read this machine's clock."""
    return Instant(time.time_ns() // 1_000)


class Supplier:
    """Answers what the cloud sends a provider. A refusal is a fault of the benchmark and raises."""

    def __init__(self, world: World) -> None:
        self.line = Line(self._handle)
        self._id = ProviderId(world.provider.subject_id)
        self._key = SigningKey(world.provider.seed)
        self._grant = world.provider.grant
        self._assets = {asset.asset_id: asset for asset in _assets(self._id, world.outlets)}
        self._offered: dict[OrderId, OfferBody] = {}
        self._serials = count(now() // 1_000)

    def show_inventory(self) -> None:
        """Tell the cloud of all outlets."""
        self.line.say(None, Inventory(tuple(self._assets.values()), (TARIFF,)))

    def _handle(self, order_id: OrderId | None, message: Message | Unreadable) -> None:
        match message:
            case RejectedMessage() | Unreadable():
                raise AssertionError(message)
            case DemandNotice(_, (asset_id,), _) if order_id:
                self.line.say(order_id, self._offer(order_id, self._assets[asset_id]))
            case Award(selection, holder_key) if order_id:
                self.line.say(order_id, self._voucher(order_id, selection, holder_key))
            case ConfirmEnd(_, end_receipt) if order_id and end_receipt:
                self.line.say(order_id, self._confirmation(order_id, end_receipt))

    def _offer(self, order_id: OrderId, asset: Asset) -> Offer:
        made = now()
        offer = OfferBody(
            order_id=order_id,
            provider_id=self._id,
            asset=asset,
            tariff=TARIFF,
            currency=CURRENCY,
            energy_wh_max=ENERGY_WH_MAX,
            duration_s_max=DURATION_S_MAX,
            return_grace_s=DurationS(0),
            estimate=(),
            estimate_excl_vat_minor=Minor(0),
            estimate_incl_vat_minor=Minor(0),
            voucher_not_after_time=later(made, VOUCHER_S),
            expiry_time=later(made, OFFER_S),
        )
        self._offered[order_id] = offer
        return Offer(seal(offer, self._key).signed, self._grant)

    def _voucher(self, order_id: OrderId, selection: bytes, holder_key: PublicKey) -> Voucher:
        offer, start = self._offered.pop(order_id), unix_s(now())
        assert peek(SelectionBody, selection).order_id == order_id
        voucher = VoucherBody(
            order_id=order_id,
            device_id=offer.asset.device_id,
            holder_key=holder_key,
            energy_wh_max=offer.energy_wh_max,
            duration_s_max=offer.duration_s_max,
            not_before_unix_s=start,
            window_s=DurationS(unix_s(offer.voucher_not_after_time) - start),
            serial=Serial(next(self._serials)),
            epoch=EPOCH,
            tariff_hash=offer.asset.tariff_hash,
        )
        return Voucher(encode_presentable(Presentable(seal(voucher, self._key).signed, self._grant)))

    def _confirmation(self, order_id: OrderId, end_receipt: bytes) -> EndConfirmed:
        hashed = Digest(digest_of(EndReceiptBody, end_receipt))
        return EndConfirmed(seal(EndConfirmationBody(order_id, hashed, None), self._key).signed)


def _assets(provider: ProviderId, outlets: list[Party]) -> list[Asset]:
    return [_asset(provider, DeviceId(outlet.subject_id), number) for number, outlet in enumerate(outlets)]


def _asset(provider: ProviderId, device: DeviceId, number: int) -> Asset:
    station, name = f"Station {number}", f"outlet-{number}"
    return Asset(
        asset_id=AssetId(derive_id(Label.ASSET_ID, provider, place_name(station, name))),
        device_id=device,
        station=station,
        name=name,
        kind=Kind.ENERGY,
        place=place_of(number),
        connector=Connector.GBT_DC,
        power_w=PowerW(60_000),
        capacity_wh=EnergyWh(0),
        soc_pct=None,
        soh_pct=None,
        time_zone="Asia/Shanghai",
        state=AssetState.AVAILABLE,
        version=Number(1),
        tariff_hash=digest(Label.TARIFF, TARIFF),
        deposit_minor=Minor(0),
    )
