"""A battery's state of charge as its lock last signed it, until the configuration states another.

The journal holds what was signed beside what the configuration stated then: a changed configuration means that the battery
was charged or looked at, and counts from there on.
"""

from collections.abc import Iterator

import msgspec

from energyshare.bodies import Asset, EndReceiptBody
from energyshare.records import replace
from energyshare.values import Percent
from terminals.journal import Journal
from terminals.provider.catalog import Catalog


class Charge(msgspec.Struct, frozen=True):
    """What was signed, and what the configuration stated at that time; percent."""

    soc_pct: int
    soh_pct: int | None
    stated_soc_pct: int | None


def note_charge(journal: Journal, stated: Asset, receipt: EndReceiptBody) -> Asset:
    """Keep what an end receipt says of a battery, inside a journal transaction; gives the asset as it is now."""
    if receipt.soc_pct is None:
        return stated
    known = journal.document("charge", stated.asset_id)
    before = msgspec.json.decode(known, type=Charge).stated_soc_pct if known else stated.soc_pct
    charge = Charge(receipt.soc_pct, receipt.soh_pct, before)
    journal.put_document("charge", stated.asset_id, msgspec.json.encode(charge))
    return _charged(stated, charge)


def recharged(journal: Journal, catalog: Catalog) -> Catalog:
    """Give a catalog with the charges that the journal knows."""
    return replace(catalog, assets={asset.asset_id: asset for asset in _all_charged(journal, catalog)})


def _all_charged(journal: Journal, catalog: Catalog) -> Iterator[Asset]:
    known = dict(journal.documents("charge"))
    for asset_id, asset in catalog.assets.items():
        charge = msgspec.json.decode(known[asset_id], type=Charge) if asset_id in known else None
        yield _charged(asset, charge) if charge and charge.stated_soc_pct == asset.soc_pct else asset


def _charged(asset: Asset, charge: Charge) -> Asset:
    soh = asset.soh_pct if charge.soh_pct is None else Percent(charge.soh_pct)
    return replace(asset, soc_pct=Percent(charge.soc_pct), soh_pct=soh)
