"""The assets as they are now: as configured, with what their devices signed since and what a person took out of service."""

from collections.abc import Callable, Iterator, Mapping

from energyshare.bodies import Asset, EndReceiptBody
from energyshare.errors import Reason, Rejected
from energyshare.places import place_name
from energyshare.records import replace
from energyshare.values import AssetId, AssetState, DeviceId, Kind
from terminals.journal import Journal
from terminals.provider.catalog import Catalog
from terminals.provider.charge import note_charge, recharged
from terminals.provider.inventory import tell_again, tell_asset, tell_inventory
from terminals.provider.rules import FREE
from terminals.stream import Terminal


class Stock:
    """The assets of a provider. All but reading happens inside a journal transaction."""

    def __init__(self, terminal: Terminal, catalog: Catalog) -> None:
        self._terminal = terminal
        self._journal = terminal.journal
        self._stated = catalog
        self.catalog = as_it_is(self._journal, catalog)
        self.workers: Mapping[DeviceId, str] = {}
        """Where workers' machines are served now."""

    @property
    def addresses(self) -> dict[DeviceId, str]:
        """Where devices and workers can be reached."""
        return {**self.catalog.addresses, **self.workers}

    def restate(self, catalog: Catalog) -> int:
        """Take a catalog as newly configured, and tell the cloud what changed; gives how many assets."""
        self._stated = catalog
        self.catalog = as_it_is(self._journal, catalog)
        return tell_inventory(self._terminal, self.catalog)

    def asset_of(self, device: bytes) -> Asset | None:
        """Give the asset that a device guards."""
        return next((asset for asset in self.catalog.assets.values() if asset.device_id == device), None)

    def named(self, name: str) -> Asset:
        """Give the asset of a name, NAME or STATION/NAME; raises Rejected{NO_SUCH_ASSET} unless there is exactly one."""
        found = [asset for asset in self.catalog.assets.values() if name in (asset.name, place_name(asset.station, asset.name))]
        if len(found) != 1:
            raise Rejected(Reason.NO_SUCH_ASSET, asset=name, found=str(len(found)))
        return found[0]

    def close(self, asset_id: AssetId, reason: str) -> None:
        """Take an asset out of service until it is opened again, also across restarts."""
        self._journal.put_document("closed-asset", asset_id, reason.encode())
        self._retell(asset_id)

    def open(self, asset_id: AssetId) -> None:
        """Put an asset back into service; raises Rejected{WRONG_STATE} when the configuration keeps it out."""
        if self._stated.assets[asset_id].state is not AssetState.AVAILABLE:
            raise Rejected(Reason.WRONG_STATE, asset=self._stated.assets[asset_id].name, state="OUT_OF_SERVICE")
        self._journal.drop_document("closed-asset", asset_id)
        self._retell(asset_id)

    def note_charge(self, receipt: EndReceiptBody) -> None:
        """Keep a battery's state of charge as its lock signed it, and tell the cloud, for the offers to come."""
        asset = self.asset_of(receipt.device_id)
        if asset is not None and receipt.soc_pct is not None:
            now = note_charge(self._journal, asset, receipt)
            self.catalog = replace(self.catalog, assets={**self.catalog.assets, asset.asset_id: now})
            tell_asset(self._terminal, self.catalog, now)

    def expect_back(self, device: bytes) -> None:
        """Have an asset told again once its device is found free: the cloud may not know where it is.

        An outlet or a worker that we can't reach stands where it stood.
        """
        asset = self.asset_of(device)
        if asset is None:
            return
        self._journal.put_document("expected", asset.asset_id, b"")
        if asset.kind is not Kind.BATTERY and asset.device_id not in self.addresses:
            self.found_free(asset.device_id)

    def found_free(self, device: DeviceId) -> None:
        """Tell the cloud that an asset is there, if it may think that it is not."""
        asset = self.asset_of(device)
        if asset is not None and self._journal.document("expected", asset.asset_id) is not None:
            self._journal.drop_document("expected", asset.asset_id)
            tell_again(self._terminal, self.catalog, asset)

    def _retell(self, asset_id: AssetId) -> None:
        self.catalog = as_it_is(self._journal, self._stated)
        tell_asset(self._terminal, self.catalog, self.catalog.assets[asset_id])


def as_it_is(journal: Journal, catalog: Catalog) -> Catalog:
    """Give a catalog with the charges that the journal knows and without what a person took out of service."""
    closed = {AssetId(key): reason.decode() for key, reason in journal.documents("closed-asset")}
    charged = recharged(journal, catalog)
    if not closed:
        return charged
    assets = {asset.asset_id: asset for asset in _all(charged, lambda asset_id: asset_id in closed)}
    rules = {key: replace(charged.rules.get(key, FREE), out_of_service=reason) for key, reason in closed.items()}
    return replace(charged, assets=assets, rules={**charged.rules, **rules})


def _all(catalog: Catalog, is_closed: Callable[[AssetId], bool]) -> Iterator[Asset]:
    for asset_id, asset in catalog.assets.items():
        yield replace(asset, state=AssetState.OUT_OF_SERVICE) if is_closed(asset_id) else asset
