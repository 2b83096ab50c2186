"""What a provider has: assets and tariffs, from its configuration.

An asset's and a device's id follow from the provider and the name, so nobody copies ids into files.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from msgspec import Struct, field

from energyshare.bodies import Asset
from energyshare.signing import Label, digest
from energyshare.tariff import TariffError, tariff_of
from energyshare.values import AssetId, Currency, DeviceId, Digest, ProviderId
from terminals.provider.config import Limits, ProviderConfig, TariffFile, load_provider_config
from terminals.provider.entries import Entry, Surroundings, Unusable, Worker, site_entries
from terminals.provider.fleet import fleet_entries
from terminals.provider.rules import Rules


class Catalog(Struct, frozen=True):
    """All assets by id, tariffs by hash, where devices can be reached, what workers serve, and when what may be offered."""

    assets: Mapping[AssetId, Asset]
    tariffs: Mapping[Digest, bytes]
    addresses: Mapping[DeviceId, str]
    workers: Mapping[DeviceId, Worker] = field(default_factory=dict)
    rules: Mapping[AssetId, Rules] = field(default_factory=dict)
    limits: Limits = Limits()


class Assembled(Struct, frozen=True):
    """All that can be used of a configuration, in its order, and all that can't."""

    tariffs: Mapping[str, bytes]
    entries: tuple[Entry, ...]
    problems: tuple[Unusable, ...]


def load(path: Path, provider: ProviderId, currency: Currency) -> tuple[ProviderConfig, Catalog]:
    """Read a configuration and all files that it names anew; changes nothing. Raises ConfigError naming file and field."""
    config = load_provider_config(path)
    return config, build_catalog(config, path, provider, currency)


def build_catalog(config: ProviderConfig, path: Path, provider: ProviderId, currency: Currency) -> Catalog:
    """Build a catalog; `path` is the configuration's file, next to which the files that it names lie.

    Raises: ConfigError naming file and field.
    """
    found = assemble(config, path, provider, currency)
    if found.problems:
        raise found.problems[0]
    return Catalog(
        assets={entry.asset.asset_id: entry.asset for entry in found.entries},
        tariffs={digest(Label.TARIFF, body): body for body in found.tariffs.values()},
        addresses={entry.asset.device_id: entry.address for entry in found.entries if entry.address is not None},
        workers={entry.asset.device_id: entry.worker for entry in found.entries if entry.worker is not None},
        rules={entry.asset.asset_id: entry.rules for entry in found.entries},
        limits=config.limits,
    )


def assemble(config: ProviderConfig, path: Path, provider: ProviderId, currency: Currency) -> Assembled:
    """Take every entry of a configuration by itself, and tell all that is wrong."""
    tariffs, problems = _tariffs(config.tariffs, path, currency)
    entries: list[Entry] = []
    taken: set[bytes | str] = set()
    for found in _found(config, Surroundings(path, provider, currency, tariffs)):
        problem = found if isinstance(found, Unusable) else _taken(path, found, taken)
        if problem is not None:
            problems.append(problem)
        elif isinstance(found, Entry):
            entries.append(found)
    if not entries and not problems:
        problems.append(Unusable(path, "", "EMPTY", "it has neither `sites` with assets nor a `fleet`"))
    return Assembled({name: body for name, body in tariffs.items() if body is not None}, tuple(entries), tuple(problems))


def _found(config: ProviderConfig, around: Surroundings) -> Iterator[Entry | Unusable]:
    yield from site_entries(config.sites, around)
    if config.fleet is not None:
        yield from fleet_entries(config.fleet, around)


def _taken(path: Path, entry: Entry, taken: set[bytes | str]) -> Unusable | None:
    """Say what another entry has already of what only one can have; takes note of what this one has."""
    asset, listen = entry.asset, entry.worker.listen if entry.worker else None
    if asset.asset_id in taken:
        return Unusable(path, entry.where, "NAME_TWICE", f"repeats the name {asset.station}/{asset.name}")
    if asset.device_id in taken:
        return Unusable(path, f"{entry.where}.name", "DEVICE_TWICE", f"two assets can't be the one device {asset.name}")
    if listen in taken:
        return Unusable(path, f"{entry.where}.listen", "LISTEN_TWICE", f"two workers can't both listen on {listen}")
    taken.update(one for one in (asset.asset_id, asset.device_id, listen) if one is not None)
    return None


def _tariffs(files: list[TariffFile], path: Path, currency: Currency) -> tuple[dict[str, bytes | None], list[Unusable]]:
    """Read the tariffs by name, None for those that can't be used, and say what is wrong with these."""
    tariffs: dict[str, bytes | None] = {}
    problems = []
    for index, entry in enumerate(files):
        try:
            if entry.name in tariffs:
                raise Unusable(path, f"tariffs[{index}].name", "TARIFF_TWICE", f"repeats the name {entry.name}")
            tariffs[entry.name] = None
            tariffs[entry.name] = _tariff(path, f"tariffs[{index}].file", entry.file, currency)
        except Unusable as problem:
            problems.append(problem)
    return tariffs, problems


def _tariff(path: Path, where: str, name: str, currency: Currency) -> bytes:
    """Read a tariff file; what is signed and sent is its text without the space around it."""
    file = path.parent / name
    try:
        body = file.read_bytes().strip()
        found = tariff_of(body).currency
    except OSError as error:
        raise Unusable(path, where, "TARIFF_FILE", f"{file}: {error.strerror}") from None
    except TariffError as error:
        raise Unusable(file, error.path, "TARIFF_FILE", error.problem) from None
    if found != currency:
        raise Unusable(file, "currency", "CURRENCY", f"is {found}; {currency} is needed")
    return body
