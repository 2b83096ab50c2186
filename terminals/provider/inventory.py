"""Telling the cloud what there is: pages of assets that are new or changed since they were last told.

The journal holds each asset as it was told; a change raises its version. What is gone from the configuration is told once as
REMOVED.
"""

from collections.abc import Iterable, Iterator, Sequence

from energyshare.bodies import Asset
from energyshare.messages import Inventory
from energyshare.records import replace
from energyshare.values import AssetState, Number
from energyshare.wire import decode, encode
from terminals.journal import Journal
from terminals.provider.catalog import Catalog
from terminals.stream import Terminal

PAGE = 500


def tell_inventory(terminal: Terminal, catalog: Catalog) -> int:
    """Say what is new, changed or gone, inside a journal transaction; gives how many assets."""
    return _tell(terminal, catalog, [*_changed(terminal.journal, catalog.assets.values()), *_gone(terminal.journal, catalog)])


def tell_asset(terminal: Terminal, catalog: Catalog, asset: Asset) -> None:
    """Say that one asset changed, inside a journal transaction."""
    _tell(terminal, catalog, list(_changed(terminal.journal, [asset])))


def tell_again(terminal: Terminal, catalog: Catalog, asset: Asset) -> None:
    """Say that an asset is where and as it was, inside a journal transaction; the cloud then knows where it is again."""
    told = terminal.journal.document("asset", asset.asset_id)
    version = decode(Asset, told).version if told else 0
    _tell(terminal, catalog, [_told_anew(terminal.journal, asset, version + 1)])


def _tell(terminal: Terminal, catalog: Catalog, changed: Sequence[Asset]) -> int:
    for page in _pages(changed):
        hashes = sorted({asset.tariff_hash for asset in page})
        tariffs = tuple(catalog.tariffs[hashed] for hashed in hashes if hashed in catalog.tariffs)
        terminal.say(None, Inventory(tuple(page), tariffs))
    return len(changed)


def _changed(journal: Journal, assets: Iterable[Asset]) -> Iterator[Asset]:
    for asset in assets:
        told = journal.document("asset", asset.asset_id)
        known = decode(Asset, told) if told else None
        if known is None or replace(asset, version=known.version) != known:
            yield _told_anew(journal, asset, known.version + 1 if known else 1)


def _gone(journal: Journal, catalog: Catalog) -> Iterator[Asset]:
    for _, told in journal.documents("asset"):
        known = decode(Asset, told)
        if known.asset_id not in catalog.assets and known.state is not AssetState.REMOVED:
            yield _told_anew(journal, replace(known, state=AssetState.REMOVED), known.version + 1)


def _told_anew(journal: Journal, asset: Asset, version: int) -> Asset:
    new = replace(asset, version=Number(version))
    journal.put_document("asset", asset.asset_id, encode(new))
    return new


def _pages(assets: Sequence[Asset]) -> Iterator[Sequence[Asset]]:
    for first in range(0, len(assets), PAGE):
        yield assets[first : first + PAGE]
