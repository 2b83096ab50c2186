"""Whether a voucher is the one that was agreed: what cloud, user and auditor all compare."""

from msgspec import Struct

from energyshare.bodies import GrantBody, OfferBody, VoucherBody
from energyshare.errors import Reason, Rejected
from energyshare.values import DeviceId, Digest, DurationS, EnergyWh, Instant, OrderId, ProviderId, PublicKey, of_unix_s


class Terms(Struct, frozen=True):
    """What an offer and its selection fix about the voucher that follows."""

    order_id: OrderId
    holder_key: PublicKey
    provider_id: ProviderId
    device_id: DeviceId
    energy_wh_max: EnergyWh
    duration_s_max: DurationS
    tariff_hash: Digest
    voucher_not_after: Instant


def terms_of(offer: OfferBody, holder_key: PublicKey) -> Terms:
    """Give the terms under which a holder selected an offer."""
    return Terms(
        offer.order_id,
        holder_key,
        offer.provider_id,
        offer.asset.device_id,
        offer.energy_wh_max,
        offer.duration_s_max,
        offer.asset.tariff_hash,
        offer.voucher_not_after_time,
    )


def require_agreed(voucher: VoucherBody, grant: GrantBody, terms: Terms) -> None:
    """Raise Rejected naming the first term that a voucher, or the grant of the key that signed it, does not keep to."""
    for kept, reason in (
        (bytes(grant.subject_id) == bytes(terms.provider_id), Reason.GRANT_SUBJECT),
        (voucher.order_id == terms.order_id, Reason.VOUCHER_ORDER),
        (voucher.holder_key == terms.holder_key, Reason.VOUCHER_HOLDER),
        (voucher.device_id == terms.device_id, Reason.VOUCHER_DEVICE),
        (voucher.energy_wh_max == terms.energy_wh_max, Reason.VOUCHER_CAPS),
        (voucher.duration_s_max == terms.duration_s_max, Reason.VOUCHER_CAPS),
        (voucher.tariff_hash == terms.tariff_hash, Reason.VOUCHER_TARIFF),
        (of_unix_s(voucher.not_after_unix_s) <= terms.voucher_not_after, Reason.VOUCHER_WINDOW),
        (voucher.not_after_unix_s <= grant.not_after_unix_s, Reason.GRANT_EXPIRED),
    ):
        if not kept:
            raise Rejected(reason)
