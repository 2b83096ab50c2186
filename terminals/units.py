"""How amounts, energies, durations, times and distances are written for people."""

from collections.abc import Sequence
from decimal import Decimal

from energyshare.bodies import ServiceItem
from energyshare.values import Currency, Instant, Minor, Money, currency_exponent, datetime_of

FIRST, LAST = Instant(86_400_000_000), Instant(253_370_764_800_000_000)  # 1970 to 9999, in any zone


def money(minor: int, currency: str) -> str:
    """Write an amount."""
    return str(Money(Currency(currency), Minor(minor)))


def figure(minor: int, currency: str) -> str:
    """Write an amount where its currency stands elsewhere."""
    digits = currency_exponent(Currency(currency))
    return f"{Decimal(minor).scaleb(-digits):,.{digits}f}"


def duration_text(seconds: int) -> str:
    """Write a duration."""
    hours, rest = divmod(seconds, 3_600)
    minutes, left = divmod(rest, 60)
    parts = [f"{hours} h" if hours else "", f"{minutes} min" if minutes else "", f"{left} s" if left or not seconds else ""]
    return " ".join(part for part in parts if part)


def span_text(seconds: int) -> str:
    """Write a duration as a clock counts it: 1:05:09, 5:09; days where there are any."""
    days, rest = divmod(max(0, seconds), 86_400)
    hours, rest = divmod(rest, 3_600)
    clock = f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours or days else f"{rest // 60}:{rest % 60:02}"
    return f"{days} d {clock}" if days else clock


def energy_text(energy_wh: int) -> str:
    """Write an energy."""
    return f"{Decimal(energy_wh) / 1000:.3f} kWh" if energy_wh >= 1000 else f"{energy_wh} Wh"


def time_text(instant: Instant) -> str:
    """Write a time of this machine's zone; one that no calendar has as the nearest that it has."""
    return datetime_of(Instant(min(max(instant, FIRST), LAST))).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def clock_text(instant: Instant, now: Instant) -> str:
    """Write a time of this machine's zone; without its date when that is today's."""
    text = time_text(instant)
    return text[11:] if text[:10] == time_text(now)[:10] else text[:16]


def distance_text(metres: int) -> str:
    """Write a distance."""
    return f"{Decimal(metres) / 1000:.1f} km" if metres >= 1000 else f"{metres} m"


def items_text(items: Sequence[ServiceItem]) -> str:
    """Write the items of a service: jump-start, 2 × tow."""
    return ", ".join(item.name if item.quantity == 1 else f"{item.quantity} × {item.name}" for item in items)


def plain(text: str) -> str:
    """Give a text that others wrote without what would steer a terminal."""
    return "".join(character if character.isprintable() else "\ufffd" for character in text)
