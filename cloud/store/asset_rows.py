"""Assets as rows and back."""

from collections.abc import Mapping
from typing import Any

from cloud.domain.screening import AssetRecord
from cloud.store.cells import cells_of
from energyshare.bodies import Asset
from energyshare.values import (
    AssetId,
    AssetState,
    Connector,
    DeviceId,
    Digest,
    EnergyWh,
    Kind,
    Minor,
    Place,
    PowerW,
    ProviderId,
)

Row = Mapping[str, Any]


def asset_row(provider: ProviderId, asset: Asset) -> dict[str, Any]:
    """Give the row of a new asset."""
    return asset_changes(asset) | {"id": asset.asset_id, "provider_id": provider, "held_by": None}


def asset_changes(asset: Asset) -> dict[str, Any]:
    """Give the columns of an asset that its provider states."""
    return {
        "device_id": asset.device_id,
        "station": asset.station,
        "name": asset.name,
        "kind": int(asset.kind),
        "latitude_e7": asset.place.latitude_e7,
        "longitude_e7": asset.place.longitude_e7,
        "connector": int(asset.connector),
        "power_w": asset.power_w,
        "capacity_wh": asset.capacity_wh,
        "soc_pct": asset.soc_pct,
        "soh_pct": asset.soh_pct,
        "time_zone": asset.time_zone,
        "state": int(asset.state),
        "version": asset.version,
        "tariff_hash": asset.tariff_hash,
        "deposit_minor": asset.deposit_minor,
        **cells_of(asset.place)._asdict(),
        "unknown": False,
    }


def as_record(provider: ProviderId, asset: Asset, known: Mapping[AssetId, AssetRecord]) -> AssetRecord:
    """Give an asset that was just stated as it will be read; who holds it stays."""
    return AssetRecord(
        asset.asset_id,
        provider,
        asset.device_id,
        asset.station,
        asset.name,
        asset.kind,
        asset.place,
        asset.connector,
        asset.power_w,
        asset.capacity_wh,
        asset.soc_pct,
        asset.state,
        asset.version,
        asset.tariff_hash,
        asset.deposit_minor,
        known[asset.asset_id].held_by if asset.asset_id in known else None,
        is_suspended=asset.asset_id in known and known[asset.asset_id].is_suspended,
    )


def asset_of(row: Any) -> AssetRecord:
    """Build an asset from its row."""
    return AssetRecord(
        AssetId(row.id),
        ProviderId(row.provider_id),
        DeviceId(row.device_id),
        row.station,
        row.name,
        Kind(row.kind),
        Place(row.latitude_e7, row.longitude_e7),
        Connector(row.connector),
        PowerW(row.power_w),
        EnergyWh(row.capacity_wh),
        row.soc_pct,
        AssetState(row.state),
        row.version,
        Digest(row.tariff_hash),
        Minor(row.deposit_minor),
        row.held_by,
        bool(row.unknown),
        bool(row.suspended),
    )
