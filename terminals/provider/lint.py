"""What is wrong with a provider's configuration, and what in it may surprise: all of it at once.

Errors are what a daemon would refuse. Warnings are what it would serve, though hardly as it was meant.
"""

import re
from collections.abc import Callable
from pathlib import Path

from energyshare.config import ConfigError
from energyshare.signing import Label, digest
from energyshare.tariff import TariffError, tariff_of
from energyshare.values import Currency, Instant, ProviderId
from terminals.identity import utc_now
from terminals.provider.catalog import Assembled, assemble
from terminals.provider.config import ProviderConfig, load_provider_config
from terminals.provider.surprises import CHECKS, Finding, Subject

NO_PROVIDER = ProviderId(bytes(16))  # ids matter to nothing that is looked at here
NO_CURRENCY = Currency("XXX")  # ISO 4217; only where no tariff can be read, which is found first


def lint(path: Path, currency: Currency | None, *, clock: Callable[[], Instant] = utc_now) -> list[Finding]:
    """Look through a configuration and the files that it names; without a currency, its first tariff's is taken."""
    try:
        config = load_provider_config(path)
    except ConfigError as error:
        return [_refused(path, error)]
    found = assemble(config, path, NO_PROVIDER, currency or _own_currency(config, path))
    errors = [Finding("error", _where(path, p.path, p.where), p.code, p.problem) for p in found.problems]
    subject = _subject(config, found, clock())
    return [*errors, *(finding for check in CHECKS for finding in check(subject))]


def _refused(path: Path, error: ConfigError) -> Finding:
    text = str(error).removeprefix(f"{path}: ")
    field = re.search(r" - at `([^`]*)`$", text)
    return Finding("error", field.group(1) if field else path.name, "CONFIG", text)


def _where(path: Path, file: Path, where: str) -> str:
    return where or file.name if file == path else f"{file.name} {where}".strip()


def _own_currency(config: ProviderConfig, path: Path) -> Currency:
    for entry in config.tariffs:
        try:
            return tariff_of((path.parent / entry.file).read_bytes().strip()).currency
        except (OSError, TariffError):
            continue
    return NO_CURRENCY


def _subject(config: ProviderConfig, found: Assembled, now: Instant) -> Subject:
    bodies = {f"tariffs[{i}]": found.tariffs[t.name] for i, t in enumerate(config.tariffs) if t.name in found.tariffs}
    return Subject(
        config=config,
        entries=found.entries,
        tariffs={where: tariff_of(body) for where, body in bodies.items()},
        tariff_by_hash={digest(Label.TARIFF, body): tariff_of(body) for body in bodies.values()},
        now=now,
    )
