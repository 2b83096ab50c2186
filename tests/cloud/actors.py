"""A cloud on a database file, and terminals with real keys that talk to it in real envelopes.

What a terminal says goes the whole way: sealed bodies, envelope bytes, the gateway's checks, the processor. Time is
`cloud.now`, and moves only when a test moves it.
"""

import json
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

from msgspec import Struct
from sqlalchemy import Engine, select

from cloud import commands, paying
from cloud.domain.audit import Audit
from cloud.domain.funds import Outcome as PaymentOutcome
from cloud.domain.inbound import OrderMessage
from cloud.domain.ledger import Balance, provider_account, receivable_account, user_account
from cloud.domain.settings import Settings
from cloud.gateway.checks import Checks
from cloud.items import Acknowledged, Command, Instruction, Item, Outcome, Presence
from cloud.processor import Processor
from cloud.sealing import PlatformKey
from cloud.store import people
from cloud.store import tables as t
from cloud.store.database import open_reader, open_writer
from cloud.store.readers import Readers
from cloud.work import Inbound, Peer, WorkingSet
from energyshare.bodies import Asset, GrantBody, Verified
from energyshare.errors import Rejected
from energyshare.messages import Inventory, Message, RejectedMessage
from energyshare.places import place_name
from energyshare.records import replace
from energyshare.signing import Label, SigningKey, derive_id, digest
from energyshare.values import (
    AccountId,
    AssetId,
    AssetState,
    Connector,
    Currency,
    DeviceId,
    EnergyWh,
    Instant,
    Kind,
    Minor,
    Money,
    Number,
    OrderId,
    Percent,
    Place,
    PowerW,
    ProviderId,
    RequestId,
    Role,
    SubjectId,
    TerminalId,
    UnixS,
    later,
    unix_s,
)
from energyshare.wire import Envelope, decode_envelope, encode_envelope, seal

M = TypeVar("M", bound=Message)

T0 = Instant(1_795_341_600_000_000)  # 2026-11-22 10:00 UTC
CNY = Currency("CNY")
SQUARE = Place(303_000_000, 1_201_500_000)
FUNDS = Minor(100_000)


def key(name: str) -> SigningKey:
    return SigningKey(sha256(name.encode()).digest())


ROOT, PLATFORM, STRANGER_ROOT = key("root"), key("platform"), key("another root")


def grant(subject: bytes, role: Role, of: SigningKey, owner: bytes | None = None, **changes: Any) -> Verified[GrantBody]:
    signer = changes.pop("root", ROOT)
    start = unix_s(later(T0, -86_400))
    owner_id = ProviderId(owner) if owner else None
    body = GrantBody(SubjectId(subject), role, of.public, start, UnixS(start + 365 * 86_400), owner_id)
    return seal(replace(body, **changes), signer)


def tariff_bytes(*components: tuple[str, ...], currency: str = "CNY", vat: str = "13", **more: Any) -> bytes:
    """A tariff of one element; an ITEM is named third."""
    parts = [
        {"type": kind, "price": price, "vat": vat, "step_size": 1} | ({"item": item[0]} if item else {})
        for kind, price, *item in components
    ]
    return json.dumps({"currency": currency, "elements": [{"price_components": parts}], **more}).encode()


OUTLET_TARIFF = tariff_bytes(("ENERGY", "1.20"), ("TIME", "0.60"))
BATTERY_TARIFF = tariff_bytes(("TIME", "2.00"), ("FLAT", "1.00"))
FREE_TARIFF = tariff_bytes(("ENERGY", "0"))
CALLOUT_TARIFF = tariff_bytes(
    ("FLAT", "50"), ("TIME", "60"), ("ITEM", "80", "jump-start"), ("ITEM", "120", "tyre"), ("ITEM", "900", "tow"), vat="6"
)
TARIFFS = {digest(Label.TARIFF, body): body for body in (OUTLET_TARIFF, BATTERY_TARIFF, FREE_TARIFF, CALLOUT_TARIFF)}
TARIFF_HASHES = {body: hashed for hashed, body in TARIFFS.items()}


class Identity(Struct, frozen=True):
    """A terminal or device as it was enrolled."""

    name: str
    role: str
    id: bytes
    owner: bytes
    key: SigningKey

    @property
    def peer(self) -> Peer:
        return Peer(TerminalId(self.id), self.role, AccountId(self.owner), self.key.public, self.name)

    @property
    def grant(self) -> Verified[GrantBody]:
        if self.role == "device":
            return grant(self.id, Role.DEVICE, self.key, self.owner)
        return grant(self.id, Role.ISSUER, self.key)


Roster = dict[str, Identity]

ENROLLED = (
    *(("ann", "user", ""), ("ben", "user", ""), ("eve", "user", "")),
    *(("sun", "provider", ""), ("moon", "provider", ""), ("rain", "provider", "")),
    *(("sun-outlet", "device", "sun"), ("sun-battery", "device", "sun"), ("sun-free", "device", "sun")),
    *(("sun-worker", "device", "sun"), ("moon-outlet", "device", "moon")),
)
ASSETS = (
    ("sun", "sun-outlet", Kind.ENERGY, OUTLET_TARIFF, 0),
    ("sun", "sun-battery", Kind.BATTERY, BATTERY_TARIFF, 5_000),
    ("sun", "sun-free", Kind.ENERGY, FREE_TARIFF, 0),
    ("sun", "sun-worker", Kind.SERVICE, CALLOUT_TARIFF, 0),
    ("moon", "moon-outlet", Kind.ENERGY, OUTLET_TARIFF, 0),
)


def asset_of(roster: Roster, device: str, **changes: Any) -> Asset:
    """The asset that goes with a device; a station of its own, at the square."""
    owner, _, kind, tariff, deposit = next(row for row in ASSETS if row[1] == device)
    name = place_name(f"{device} station", changes.get("name", device))
    asset = Asset(
        asset_id=AssetId(derive_id(Label.ASSET_ID, roster[owner].id, name)),
        device_id=DeviceId(roster[device].id),
        station=f"{device} station",
        name=device,
        kind=kind,
        place=SQUARE,
        connector=Connector.GBT_AC if kind is Kind.ENERGY else Connector.NONE,
        power_w=PowerW(7_000),
        capacity_wh=EnergyWh(10_000 if kind is Kind.BATTERY else 0),
        soc_pct=Percent(100),
        soh_pct=None,
        time_zone="Asia/Shanghai",
        state=AssetState.AVAILABLE,
        version=Number(1),
        tariff_hash=TARIFF_HASHES[tariff],
        deposit_minor=Minor(deposit),
    )
    return replace(asset, **changes)


class Mark(Struct, frozen=True):
    """Everything as it was at a moment of a test."""

    database: sqlite3.Connection
    letters: list[tuple[TerminalId, Envelope]]
    numbers: dict[tuple[bytes, OrderId | None], int]
    now: Instant


@dataclass
class Cloud:
    """The processor with its database; `letters` holds all that was sent, in its order."""

    path: Path
    roster: Roster
    settings: Settings = Settings()
    now: Instant = T0
    letters: list[tuple[TerminalId, Envelope]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.engine: Engine = open_writer(self.path)
        with self.engine.connect() as connection:
            self.driver: sqlite3.Connection = connection.connection.driver_connection  # type: ignore[assignment]
        self.driver.execute("PRAGMA synchronous=OFF")  # a test outlives no power cut
        self.readers = Readers(open_reader(self.path))
        self.checks = Checks(ROOT.public, self.readers.order_keys)
        self.platform = PlatformKey(PLATFORM, grant(b"C" * 16, Role.PLATFORM, PLATFORM).signed)
        self.processor = Processor(self.engine, self.platform, self.settings)
        self.numbers: dict[tuple[bytes, OrderId | None], int] = {}

    def close(self) -> None:
        self.readers._engine.dispose()
        self.engine.dispose()  # last, so that it leaves one file

    def all_online(self) -> None:
        """Let every provider's stream come."""
        self.process(*(Presence(ProviderId(i.id), True) for i in self.roster.values() if i.role == "provider"))

    def mark(self) -> Mark:
        """Remember everything, to come back to it."""
        kept = sqlite3.connect(":memory:")
        self.driver.backup(kept)
        return Mark(kept, list(self.letters), dict(self.numbers), self.now)

    def back_to(self, mark: Mark) -> None:
        """Let everything be as it was, with a processor that remembers nothing."""
        mark.database.backup(self.driver)
        self.letters, self.numbers, self.now = list(mark.letters), dict(mark.numbers), mark.now
        self.processor = Processor(self.engine, self.platform, self.settings)
        self.all_online()

    def plain(self, statement: str, *values: Any) -> list[Any]:
        """Read rows as the driver gives them."""
        return self.driver.execute(statement, values).fetchall()

    def process(self, *items: Item, fire_timers: bool = False) -> Outcome:
        """Give the processor a batch, and post what comes of it."""
        outcome = self.processor.process(items, self.now, fire_timers=fire_timers)
        self.letters += [(out.terminal, decode_envelope(out.raw)) for out in outcome.envelopes]
        return outcome

    def inbound(self, name: str, order: OrderId | None, message: Message, number: int | None = None) -> Inbound:
        """Open an envelope as the gateway does; without a number it is the next of its conversation."""
        identity = self.roster[name]
        if number is None:
            number = self.numbers[identity.id, order] = self.numbers.get((identity.id, order), 0) + 1
        return self.checks.open(identity.peer, encode_envelope(Envelope(order, Number(number), message)))

    def say(self, name: str, order: OrderId | None, message: Message, number: int | None = None) -> Outcome:
        """Let a terminal say one thing, alone in its batch."""
        return self.process(self.inbound(name, order, message, number))

    def run(self, call: Callable[[WorkingSet, Instant], Any]) -> Any:
        """Run a command through the processor."""
        answers: list[Any] = []
        for reply, answer in self.process(Command(call, answers.append)).replies:
            reply(answer)
        return answers[0]

    def instruct(self, order: OrderId, message: OrderMessage) -> Rejected | None:
        """Let the operator say something about an order; gives why it was refused."""
        answers: list[Rejected | None] = []
        for reply, answer in self.process(Instruction(order, message, answers.append)).replies:
            reply(answer)
        return answers[0]

    def acknowledge(self, name: str, order: OrderId, upto: int | None = None) -> Outcome:
        """Let a terminal acknowledge what it was told of an order: all, or up to a number."""
        terminal = TerminalId(self.roster[name].id)
        last = max(e.number for to, e in self.letters if to == terminal and e.order_id == order)
        return self.process(Acknowledged(terminal, order, Number(upto or last)))

    def pass_s(self, seconds: int) -> Outcome:
        """Let time go by, and the timers fire."""
        self.now = later(self.now, seconds)
        return self.process(fire_timers=True)

    def told(self, name: str, kind: type[M]) -> list[M]:
        """What a terminal was told of one kind, oldest first."""
        return [e.message for to, e in self.letters if to == self.roster[name].id and isinstance(e.message, kind)]

    def top_up(self, name: str, amount: int, request: bytes = b"r" * 16, currency: Currency = CNY) -> Any:
        """Pay in through a gateway that agrees at once; gives the balance, or why it was refused."""
        account, paid = AccountId(self.roster[name].owner), Money(currency, Minor(amount))
        begin = partial(paying.begin_top_up, account=account, request=RequestId(request), paid=paid, gateway="till")
        begun = self.run(begin)
        if isinstance(begun, Rejected):
            return begun
        ended = self.run(partial(paying.conclude, name=begun.id, outcome=PaymentOutcome.SUCCEEDED, gateway_id="till"))
        return ended if isinstance(ended, Rejected) else self.balance(name)

    def balance(self, name: str) -> Balance:
        identity = self.roster[name]
        if identity.role == "user":
            return people.balance_of_account(self.readers, user_account(AccountId(identity.owner)))
        return people.balance_of_account(self.readers, provider_account(ProviderId(identity.id)))

    def owed(self, name: str) -> int:
        """What a user owes for orders that no hold covered."""
        return people.balance_of_account(self.readers, receivable_account(AccountId(self.roster[name].owner))).owed_minor

    def asset(self, device: str) -> Any:
        """The row of the asset that goes with a device."""
        return next(row for row in people.assets(self.readers, 100) if row.name == device)

    def alerts(self) -> list[str]:
        """The kinds of what the operator was told."""
        return [row.kind for row in self.readers.rows(select(t.alerts))]

    def order(self, order: OrderId) -> Any:
        return people.order(self.readers, order)

    def money(self, order: OrderId) -> list[tuple[str, int]]:
        """The reasons and amounts of an order's rows in the ledger."""
        return [(row.reason, row.amount_minor) for row in people.money(self.readers, order)]

    def audit(self) -> Audit:
        return people.check_ledger(self.readers)


def refusals(cloud: Cloud, outcome: Outcome, name: str) -> list[str]:
    """The reasons for which an outcome refuses a terminal something."""
    terminal = cloud.roster[name].id
    messages = [decode_envelope(out.raw).message for out in outcome.envelopes if out.terminal == terminal]
    answered = [message.reason for message in messages if isinstance(message, RejectedMessage)]
    return answered + [refusal.reason.value for refusal in outcome.refusals if refusal.terminal == terminal]


def found_cloud(path: Path) -> Roster:
    """Make a database with everyone enrolled, all assets known and the users' wallets filled."""
    cloud = Cloud(path, {})
    for name, role, owner in ENROLLED:
        cloud.roster[name] = enroll(cloud, name, role, owner)
    for provider in ("sun", "moon"):
        assets = tuple(asset_of(cloud.roster, row[1]) for row in ASSETS if row[0] == provider)
        tariffs = tuple(dict.fromkeys(row[3] for row in ASSETS if row[0] == provider))
        cloud.say(provider, None, Inventory(assets, tariffs))
    for user in ("ann", "ben"):
        cloud.top_up(user, FUNDS)
    cloud.close()
    return cloud.roster


def enroll(cloud: Cloud, name: str, role: str, owner: str) -> Identity:
    """Enroll a terminal or device; a user's that has an owner is another terminal of that user's account."""
    request = RequestId(sha256(name.encode()).digest()[:16])
    account = owner if role == "user" and owner else name
    token = cloud.run(lambda work, now: commands.create_token(work, request, b"secret", role, account, now))
    given = commands.Enrollment(token.text, role, key(name).public, owner, b"certificate", "1", later(T0, 86_400))
    enrolled = cloud.run(lambda work, now: commands.enroll(work, given, now))
    return Identity(name, role, enrolled.subject_id, enrolled.owner_id, key(name))


def second_terminal(cloud: Cloud) -> None:
    """Enroll ann's second phone."""
    cloud.roster["ann2"] = enroll(cloud, "ann2", "user", "ann")


def reopened(template: Path, path: Path, roster: Roster, **more: Any) -> Cloud:
    """Open a copy of a database that `found_cloud` made, with every provider online."""
    shutil.copy(template, path)
    cloud = Cloud(path, roster, **more)
    cloud.numbers = {(roster[name].id, None): 1 for name in ("sun", "moon")}
    cloud.all_online()
    return cloud


def parts_of(cloud: Cloud, order: OrderId) -> Sequence[tuple[int, bytes]]:
    """Kind and bytes of an order's stored parts."""
    rows = cloud.readers.rows(select(t.order_parts).where(t.order_parts.c.order_id == order))
    return [(row.kind, row.signed) for row in rows]
