"""Inventories: what a provider says it has."""

from collections.abc import Collection, Mapping

from msgspec import Struct

from cloud.domain.screening import AssetRecord
from energyshare.bodies import Asset
from energyshare.errors import Reason, Rejected
from energyshare.messages import Inventory
from energyshare.places import place_name
from energyshare.rating import zone_of
from energyshare.signing import Label, derive_id, digest
from energyshare.tariff import Tariff, TariffError, tariff_of
from energyshare.values import AssetId, Currency, Digest, ProviderId


class InventoryDecision(Struct, frozen=True):
    """The assets to write, and tariffs that were not known yet."""

    new: tuple[Asset, ...]
    changed: tuple[Asset, ...]
    tariffs: Mapping[Digest, bytes]


def take_inventory(
    provider: ProviderId,
    inventory: Inventory,
    known: Mapping[AssetId, AssetRecord],
    known_tariffs: Collection[Digest],
    currency: Currency,
) -> InventoryDecision:
    """Check a page as a whole; an older version of an asset changes nothing.

    An asset's id must follow from its provider and its name, so that nobody can take another's.

    Raises: Rejected naming the asset, and then nothing of the page is taken.
    """
    brought = {digest(Label.TARIFF, body): body for body in inventory.tariffs}
    for body in brought.values():
        priceable(body, currency)
    for zone in {asset.time_zone for asset in inventory.assets}:
        require_zone(zone)
    latest: dict[AssetId, Asset] = {}
    for asset in inventory.assets:
        record = known.get(asset.asset_id)
        if asset.asset_id != derive_id(Label.ASSET_ID, provider, place_name(asset.station, asset.name)):
            raise Rejected(Reason.ASSET_FOREIGN, asset=asset.name)
        if asset.tariff_hash not in brought and asset.tariff_hash not in known_tariffs:
            raise Rejected(Reason.OFFER_TARIFF, asset=asset.name)
        if record is None or asset.version > record.version:
            latest[asset.asset_id] = asset
    return InventoryDecision(
        tuple(asset for asset_id, asset in latest.items() if asset_id not in known),
        tuple(asset for asset_id, asset in latest.items() if asset_id in known),
        {hashed: body for hashed, body in brought.items() if hashed not in known_tariffs},
    )


def priceable(body: bytes, currency: Currency) -> Tariff:
    """Read a tariff that sessions can be billed by.

    Raises: Rejected with OFFER_TARIFF or CURRENCY_MISMATCH.
    """
    try:
        tariff = tariff_of(body)
    except TariffError as error:
        raise Rejected(Reason.OFFER_TARIFF, problem=problem_of(error)) from None
    if tariff.currency != currency:
        raise Rejected(Reason.CURRENCY_MISMATCH, needed=currency, given=tariff.currency)
    return tariff


def require_zone(name: str) -> None:
    """Raise Rejected{OFFER_TARIFF} unless a time zone is known: its hours are what a tariff counts."""
    try:
        zone_of(name)
    except TariffError as error:
        raise Rejected(Reason.OFFER_TARIFF, problem=problem_of(error)) from None


def problem_of(error: TariffError) -> str:
    """Say what is wrong with a tariff in a text that can be sent, whatever the tariff holds."""
    return str(error)[:400].encode(errors="replace").decode()
