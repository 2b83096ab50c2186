"""Every way to be refused, by its reason; what is refused changes nothing but the numbers."""

from collections.abc import Callable
from typing import Any

import pytest

from cloud.items import Outcome
from energyshare.errors import WORDS, Reason, hint_of, sentence
from energyshare.messages import Inventory, Message, NotSelected, Offer, Withdrawn
from energyshare.records import replace
from energyshare.signing import Label, digest
from energyshare.values import (
    AssetId,
    Currency,
    DeviceId,
    Digest,
    DurationS,
    EndCause,
    EnergyWh,
    Epoch,
    Kind,
    Minor,
    Number,
    OrderId,
    Place,
    ProviderId,
    Role,
    Serial,
    UnixS,
    later,
    unix_s,
)
from energyshare.wire import seal
from tests.cloud.actors import (
    CNY,
    OUTLET_TARIFF,
    STRANGER_ROOT,
    T0,
    Cloud,
    asset_of,
    grant,
    key,
    refusals,
    tariff_bytes,
)
from tests.cloud.saying import TYRE
from tests.cloud.story import Story

OTHER = OrderId(b"\x09" * 16)
Row = tuple[str, Callable[[Story], Any], Callable[[Story], Message], str, Reason]


def demanded(**changes: Any) -> Callable[[Story], Message]:
    return lambda s: s.demand(**changes)


def offered(**changes: Any) -> Callable[[Story], Message]:
    return lambda s: s.offering(**changes)


def offered_under(change: Callable[[Story], Any]) -> Callable[[Story], Message]:
    """An offer whose changes depend on the order."""
    return lambda s: s.offering(**change(s))


def asset(s: Story, **changes: Any) -> dict[str, Any]:
    return {"asset": asset_of(s.cloud.roster, s.device, **changes)}


def priced(body: bytes, **changes: Any) -> Callable[[Story], Message]:
    """An offer by another tariff."""
    return lambda s: s.offering(**asset(s, tariff_hash=digest(Label.TARIFF, body)), tariff=body, **changes)


def selected(**changes: Any) -> Callable[[Story], Message]:
    return lambda s: s.selecting(**changes)


def issued(**changes: Any) -> Callable[[Story], Message]:
    return lambda s: s.issuing(**changes)


def started(**changes: Any) -> Callable[[Story], Message]:
    return lambda s: s.starting(**changes)


def ended(elapsed_s: int = 600, energy_wh: int = 400, **changes: Any) -> Callable[[Story], Message]:
    def message(s: Story) -> Message:
        s.end(elapsed_s, energy_wh, **changes)
        return s.reporting_end()

    return message


def read(*values: tuple[int, int, dict[str, Any]]) -> Callable[[Story], Message]:
    return lambda s: s.reporting(*(s.read(elapsed, wh, **changes) for elapsed, wh, changes in values))


def issuer_grant(s: Story, **changes: Any) -> Any:
    return grant(s.who(s.provider).id, Role.ISSUER, s.who(s.provider).key, **changes)


def device_grant(s: Story, **changes: Any) -> Any:
    owner = changes.pop("owner", s.who(s.device).owner)
    return grant(s.who(s.device).id, Role.DEVICE, s.who(s.device).key, owner, **changes)


def offered_with(**changes: Any) -> Callable[[Story], Message]:
    def message(s: Story) -> Message:
        s.offering()
        return Offer(s.offer.signed, issuer_grant(s, **changes).signed)

    return message


def new(s: Story) -> None:
    """Nothing was said yet."""


LONG_AGO, SOON = UnixS(unix_s(T0) - 1_000), UnixS(unix_s(T0) + 60)

DEMANDS: list[Row] = [
    ("needed by a past time", new, lambda s: s.demand(needed_by_time=later(T0, -1)), "user", Reason.NEEDED_BY_PAST),
    ("needed in eight days", new, lambda s: s.demand(needed_by_time=later(T0, 8 * 86_400)), "user", Reason.NEEDED_BY_TOO_FAR),
    ("energy without bounds", new, demanded(energy_wh=None, duration_s=None), "user", Reason.DEMAND_UNBOUNDED),
    ("a service of nothing", new, demanded(kinds=(Kind.SERVICE,), duration_s=None), "user", Reason.DEMAND_UNBOUNDED),
    ("a kind twice", new, demanded(kinds=(Kind.ENERGY, Kind.ENERGY)), "user", Reason.MALFORMED),
    ("an item twice", new, demanded(service_items=(TYRE, TYRE)), "user", Reason.MALFORMED),
    ("made by a provider", new, demanded(), "provider", Reason.WRONG_ROLE),
    ("made twice", Story.until_demanded, demanded(), "user", Reason.ORDER_EXISTS),
    ("something else opens an order", new, lambda s: s.cancelling(), "user", Reason.UNKNOWN_ORDER),
    ("what no terminal says", Story.until_demanded, lambda s: NotSelected(), "user", Reason.UNSUPPORTED),
    ("an inventory in an order", Story.until_demanded, lambda s: inventory(s), "provider", Reason.MALFORMED),
]

OFFERS: list[Row] = [
    ("for another order", Story.until_demanded, offered(order_id=OTHER), "provider", Reason.OFFER_FOREIGN),
    ("by a user", Story.until_demanded, offered(), "user", Reason.GRANT_SUBJECT),
    (
        *("in another's name", Story.until_demanded),
        *(offered(provider_id=ProviderId(b"x" * 16)), "provider", Reason.OFFER_FOREIGN),
    ),
    ("twice", Story.until_offered, offered(expiry_time=later(T0, 400)), "provider", Reason.OFFER_EXISTS),
    ("after the wait", lambda s: (s.until_offered(), s.cloud.pass_s(61)), offered(), "provider", Reason.OFFER_LATE),
    ("expired already", Story.until_demanded, offered(expiry_time=T0), "provider", Reason.OFFER_WINDOW),
    ("binding past its voucher", Story.until_demanded, offered(expiry_time=later(T0, 3_601)), "provider", Reason.OFFER_WINDOW),
    (
        *("with a voucher long after needed-by", Story.until_demanded),
        *(offered(voucher_not_after_time=later(T0, 3_600 + 7_201)), "provider", Reason.OFFER_WINDOW),
    ),
    ("more energy than asked", Story.until_demanded, offered(energy_wh_max=EnergyWh(5_001)), "provider", Reason.OFFER_CAPS),
    ("more time than asked", Story.until_demanded, offered(duration_s_max=DurationS(7_201)), "provider", Reason.OFFER_CAPS),
    (
        *("an estimate above the bound", Story.until_demanded),
        *(offered(estimate_incl_vat_minor=Minor(815)), "provider", Reason.OFFER_ESTIMATE),
    ),
    (
        *("an estimate dearer without VAT", Story.until_demanded),
        *(offered(estimate_excl_vat_minor=Minor(1)), "provider", Reason.OFFER_ESTIMATE),
    ),
    (
        *("dearer than the user's limit", lambda s: s.until_demanded(price_max_minor=Minor(813), energy_wh=EnergyWh(4_999))),
        *(offered(energy_wh_max=EnergyWh(4_999), duration_s_max=DurationS(7_200)), "provider", Reason.OFFER_TOO_DEAR),
    ),
    ("in another currency", Story.until_demanded, offered(currency=Currency("EUR")), "provider", Reason.CURRENCY_MISMATCH),
    (
        *("by a tariff in another currency", Story.until_demanded),
        *(priced(tariff_bytes(("FLAT", "1"), currency="EUR")), "provider", Reason.CURRENCY_MISMATCH),
    ),
    ("by a tariff that is not the asset's", Story.until_demanded, offered(tariff=b"{}"), "provider", Reason.OFFER_TARIFF),
    ("by a tariff that can't be read", Story.until_demanded, priced(b"{}"), "provider", Reason.OFFER_TARIFF),
    (
        *("by a tariff with a name that can't be sent", Story.until_demanded),
        *(priced(b'{"\\ud800": 1}'), "provider", Reason.OFFER_TARIFF),
    ),
    (
        *("by a tariff that is over", Story.until_demanded),
        *(priced(tariff_bytes(("FLAT", "1"), end_date_time="2020-01-01T00:00:00Z")), "provider", Reason.OFFER_TARIFF),
    ),
    (
        *("in no known time zone", Story.until_demanded),
        *(offered_under(lambda s: asset(s, time_zone="Nowhere/Land")), "provider", Reason.OFFER_TARIFF),
    ),
    (
        *("with an unknown asset", Story.until_demanded),
        *(offered_under(lambda s: asset(s, asset_id=AssetId(b"x" * 16))), "provider", Reason.ASSET_FOREIGN),
    ),
    (
        *("with another's asset", Story.until_demanded),
        *(lambda s: s.offering(asset=asset_of(s.cloud.roster, "moon-outlet")), "provider", Reason.ASSET_FOREIGN),
    ),
    (
        *("with another device", Story.until_demanded),
        *(offered_under(lambda s: asset(s, device_id=DeviceId(b"x" * 16))), "provider", Reason.ASSET_FOREIGN),
    ),
    (
        *("from another place", Story.until_demanded),
        *(offered_under(lambda s: asset(s, place=Place(0, 0))), "provider", Reason.ASSET_FOREIGN),
    ),
    (
        *("with a held asset", lambda s: (Story(s.cloud, user="ben", order=OTHER).until_selected(), s.until_demanded())),
        *(offered(), "provider", Reason.ASSET_TAKEN),
    ),
    ("under a grant of another root", Story.until_demanded, offered_with(root=STRANGER_ROOT), "provider", Reason.GRANT_INVALID),
    (
        *("under a device's grant", Story.until_demanded),
        *(lambda s: Offer(s.offering().offer, s.who("sun-outlet").grant.signed), "provider", Reason.GRANT_ROLE),
    ),
    (
        *("under another's grant", Story.until_demanded),
        *(offered_with(subject_id=b"x" * 16), "provider", Reason.GRANT_SUBJECT),
    ),
    (
        *("under a grant of another key", Story.until_demanded),
        *(offered_with(public_key=key("other").public), "provider", Reason.SIGNATURE_INVALID),
    ),
    (
        *("under a grant that ends before the voucher", Story.until_demanded),
        *(offered_with(not_after_unix_s=SOON), "provider", Reason.GRANT_EXPIRED),
    ),
    (
        *("under a grant that is not valid yet", Story.until_demanded),
        *(offered_with(not_before_unix_s=SOON), "provider", Reason.GRANT_EXPIRED),
    ),
    ("withdrawn unmade", Story.until_offered, lambda s: Withdrawn(Digest(b"h" * 32)), "provider", Reason.OFFER_UNKNOWN),
]

SELECTIONS: list[Row] = [
    ("an unknown offer", Story.until_offered, selected(offer_hash=Digest(b"h" * 32)), "user", Reason.OFFER_UNKNOWN),
    ("for another order", Story.until_offered, selected(order_id=OTHER), "user", Reason.OFFER_UNKNOWN),
    (
        *("a withdrawn offer", lambda s: (s.until_offered(), s.by_provider(Withdrawn(s.offer.digest)))),
        *(selected(), "user", Reason.OFFER_UNKNOWN),
    ),
    ("an expired offer", lambda s: wait(s.until_offered(), 301), selected(), "user", Reason.OFFER_EXPIRED),
    (
        *("a taken asset", lambda s: (s.until_offered(), Story(s.cloud, user="ben", order=OTHER).until_selected())),
        *(selected(), "user", Reason.ASSET_TAKEN),
    ),
    ("a smaller hold", Story.until_offered, selected(hold_minor=Minor(813)), "user", Reason.HOLD_MISMATCH),
    ("a larger hold", Story.until_offered, selected(hold_minor=Minor(815)), "user", Reason.HOLD_MISMATCH),
    ("in another currency", Story.until_offered, selected(currency=Currency("EUR")), "user", Reason.CURRENCY_MISMATCH),
    ("signed by another", Story.until_offered, selected(signer=key("ben")), "user", Reason.SIGNATURE_INVALID),
    ("made by the provider", Story.until_offered, selected(signer=key("sun")), "provider", Reason.WRONG_ROLE),
]

VOUCHERS: list[Row] = [
    ("for another order", Story.until_selected, issued(order_id=OTHER), "provider", Reason.VOUCHER_ORDER),
    ("for another holder", Story.until_selected, issued(holder_key=key("ben").public), "provider", Reason.VOUCHER_HOLDER),
    ("for another device", Story.until_selected, issued(device_id=DeviceId(b"x" * 16)), "provider", Reason.VOUCHER_DEVICE),
    ("with more energy", Story.until_selected, issued(energy_wh_max=EnergyWh(5_001)), "provider", Reason.VOUCHER_CAPS),
    ("with less energy", Story.until_selected, issued(energy_wh_max=EnergyWh(4_999)), "provider", Reason.VOUCHER_CAPS),
    ("with less time", Story.until_selected, issued(duration_s_max=DurationS(7_199)), "provider", Reason.VOUCHER_CAPS),
    ("by another tariff", Story.until_selected, issued(tariff_hash=Digest(b"t" * 32)), "provider", Reason.VOUCHER_TARIFF),
    ("for too long", Story.until_selected, issued(window_s=DurationS(3_601)), "provider", Reason.VOUCHER_WINDOW),
    ("over already", Story.until_selected, issued(not_before_unix_s=LONG_AGO, window_s=10), "provider", Reason.VOUCHER_WINDOW),
    (
        *("that begins later", Story.until_selected),
        *(issued(not_before_unix_s=unix_s(T0) + 601, window_s=10), "provider", Reason.VOUCHER_WINDOW),
    ),
    ("by another provider", Story.until_selected, issued(issuer="moon"), "provider", Reason.GRANT_SUBJECT),
    ("by a device", Story.until_selected, issued(issuer="sun-outlet"), "provider", Reason.GRANT_ROLE),
    (
        *("under a grant of another root", Story.until_selected),
        *(lambda s: s.issuing(grant=issuer_grant(s, root=STRANGER_ROOT)), "provider", Reason.GRANT_INVALID),
    ),
    (
        *("under a grant that ends before it", Story.until_selected),
        *(lambda s: s.issuing(grant=issuer_grant(s, not_after_unix_s=SOON)), "provider", Reason.GRANT_EXPIRED),
    ),
    ("under a grant of another key", Story.until_selected, lambda s: sealed_by_stranger(s), "provider", Reason.GRANT_SUBJECT),
    ("made by the user", Story.until_selected, issued(), "user", Reason.WRONG_ROLE),
    ("a second one", Story.until_authorized, issued(serial=Serial(2)), "provider", Reason.ORDER_MOVED_ON),
]

STARTS: list[Row] = [
    ("presented by nobody", Story.until_authorized, started(presentation=b"x"), "user", Reason.PRESENTATION_MISSING),
    ("presented by a stranger", Story.until_authorized, started(holder=key("ben")), "user", Reason.PRESENTATION_MISSING),
    ("presented by its provider", Story.until_authorized, started(holder=key("sun")), "provider", Reason.PRESENTATION_MISSING),
    ("an old presentation", Story.until_authorized, started(nonce=b"o" * 16), "provider", Reason.PRESENTATION_MISSING),
    ("of another order", Story.until_authorized, started(order_id=OTHER), "user", Reason.RECEIPT_FOREIGN),
    ("of another serial", Story.until_authorized, started(serial=Serial(7)), "user", Reason.RECEIPT_FOREIGN),
    ("of another epoch", Story.until_authorized, started(epoch=Epoch(7)), "user", Reason.RECEIPT_FOREIGN),
    ("of another voucher", Story.until_authorized, started(voucher_hash=Digest(b"v" * 32)), "user", Reason.RECEIPT_FOREIGN),
    ("by another's device", Story.until_authorized, lambda s: started_by_other_device(s), "user", Reason.GRANT_OWNER),
    (
        *("under another owner's grant", Story.until_authorized),
        *(lambda s: s.starting(grant=device_grant(s, owner=b"x" * 16)), "user", Reason.GRANT_OWNER),
    ),
    (
        *("under a grant without an owner", Story.until_authorized),
        *(lambda s: s.starting(grant=device_grant(s, owner_id=None)), "user", Reason.GRANT_ROLE),
    ),
    (
        *("under an issuer's grant", Story.until_authorized),
        *(lambda s: s.starting(grant=issuer_grant(s)), "user", Reason.GRANT_ROLE),
    ),
    (
        *("under another device's grant", Story.until_authorized),
        *(lambda s: s.starting(grant=device_grant(s, subject_id=b"x" * 16)), "user", Reason.GRANT_SUBJECT),
    ),
    (
        *("under a grant that was over", Story.until_authorized),
        *(lambda s: s.starting(grant=device_grant(s, not_after_unix_s=LONG_AGO)), "user", Reason.GRANT_EXPIRED),
    ),
    ("after the voucher's window", Story.until_authorized, started(at=later(T0, 3_601)), "user", Reason.VOUCHER_EXPIRED),
]

READINGS: list[Row] = [
    ("not the next", Story.until_active, read((0, 0, {"number": Number(2)})), "user", Reason.READING_GAP),
    (
        "after another than the start",
        Story.until_active,
        read((0, 0, {"previous_hash": b"x" * 32})),
        "user",
        Reason.READING_GAP,
    ),
    ("a gap within", Story.until_active, read((0, 0, {}), (1, 1, {"number": Number(3)})), "user", Reason.READING_GAP),
    ("a register that falls", Story.until_active, read((0, 5, {}), (1, 4, {})), "provider", Reason.READING_IMPLAUSIBLE),
    ("a time that falls", Story.until_active, read((2, 5, {}), (1, 5, {})), "provider", Reason.READING_IMPLAUSIBLE),
    ("below the start's register", Story.until_active, read((1, -1, {})), "provider", Reason.READING_IMPLAUSIBLE),
    ("of another order", Story.until_active, read((1, 1, {"order_id": OTHER})), "user", Reason.RECEIPT_FOREIGN),
    ("of another device", Story.until_active, read((1, 1, {"device_id": b"x" * 16})), "user", Reason.GRANT_SUBJECT),
]

ENDS: list[Row] = [
    ("released by a stranger", Story.until_active, ended(releaser=key("eve")), "provider", Reason.STRANGER),
    ("reported by the user", Story.until_active, ended(cause=EndCause.DURATION_CAP), "user", Reason.WRONG_ROLE),
    ("without a release", Story.until_active, ended(release=None), "provider", Reason.STRANGER),
    ("of another order", Story.until_active, ended(order_id=OTHER), "provider", Reason.RECEIPT_FOREIGN),
    (
        *("below a reading", lambda s: (s.until_active(), s.by_user(s.reporting(s.read(700, 500))))),
        *(ended(), "provider", Reason.READING_IMPLAUSIBLE),
    ),
    ("asked for another order", Story.until_active, lambda s: asking(s, order_id=OTHER), "user", Reason.RECEIPT_FOREIGN),
    ("asked with another's key", Story.until_active, lambda s: asking(s, signer=key("ben")), "user", Reason.SIGNATURE_INVALID),
    (
        *("asked with another receipt", Story.until_active),
        *(lambda s: asking(s, end_receipt_hash=Digest(b"h" * 32)), "user", Reason.RECEIPT_FOREIGN),
    ),
    (
        *("asked before the start without a receipt", Story.until_authorized),
        *(lambda s: s.asking_to_end(with_receipt=False), "user", Reason.WRONG_STATE),
    ),
    (
        *("confirmed for another receipt", Story.until_ending),
        *(lambda s: s.confirming(end_receipt_hash=Digest(b"h" * 32)), "provider", Reason.CONFIRMATION_FOREIGN),
    ),
    (
        "confirmed for another order",
        Story.until_ending,
        lambda s: s.confirming(order_id=OTHER),
        "provider",
        Reason.CONFIRMATION_FOREIGN,
    ),
    (
        "confirmed without its receipt",
        Story.until_ending,
        lambda s: s.confirming(end_receipt_hash=None),
        "provider",
        Reason.CONFIRMATION_FOREIGN,
    ),
    ("confirmed by the user", Story.until_ending, lambda s: s.confirming(), "user", Reason.SIGNATURE_INVALID),
    ("a cancellation when it has begun", Story.until_active, lambda s: s.cancelling(), "user", Reason.WRONG_STATE),
]


def wait(s: Story, seconds: int) -> None:
    s.cloud.now = later(s.cloud.now, seconds)


def inventory(s: Story) -> Inventory:
    return Inventory((asset_of(s.cloud.roster, s.device, version=Number(2)),), ())


def asking(s: Story, **changes: Any) -> Message:
    s.end(600, 400)
    return s.asking_to_end(**changes)


def sealed_by_stranger(s: Story) -> Message:
    """A voucher by a key that the root granted to the provider later, not the one that offered."""
    stranger = replace(s.who("sun"), key=key("new"))
    s.cloud.roster["new"] = stranger
    return s.issuing(issuer="new")


def started_by_other_device(s: Story) -> Message:
    other = Story(s.cloud, device="moon-outlet", order=s.order)
    other.offer, other.voucher = s.offer, s.voucher
    return other.starting()


def send(s: Story, message: Message, side: str) -> Outcome:
    return s.by_user(message) if side == "user" else s.by_provider(message)


@pytest.mark.parametrize(
    ("before", "message", "side", "reason"),
    [
        pytest.param(*row[1:], id=f"{group}: {row[0]}")
        for group, rows in (
            *(("demand", DEMANDS), ("offer", OFFERS), ("selection", SELECTIONS), ("voucher", VOUCHERS)),
            *(("start", STARTS), ("reading", READINGS), ("end", ENDS)),
        )
        for row in rows
    ],
)
def test_is_refused(
    cloud: Cloud, before: Callable[[Story], Any], message: Callable[[Story], Message], side: str, reason: Reason
) -> None:
    story = Story(cloud)
    before(story)
    said = message(story)
    kept = (cloud.balance("ann"), cloud.balance("sun"), cloud.money(story.order))
    outcome = send(story, said, side)
    assert refusals(cloud, outcome, story.user if side == "user" else story.provider) == [reason]
    assert kept == (cloud.balance("ann"), cloud.balance("sun"), cloud.money(story.order))
    assert cloud.audit().fault == ""


def test_a_wallet_that_is_too_small_says_what_is_missing(cloud: Cloud) -> None:
    story = Story(cloud, user="eve").until_offered()
    story.by_user(story.selecting())
    refused = [e.message for to, e in cloud.letters if to == cloud.roster["eve"].id][-1]
    assert refused.reason == Reason.INSUFFICIENT_FUNDS  # type: ignore[union-attr]
    assert refused.metadata == {"needed": "814", "available": "0"}  # type: ignore[union-attr]


def test_a_user_has_so_many_open_orders_and_no_more(cloud: Cloud) -> None:
    stories = [Story(cloud, order=OrderId(bytes([1, n]) * 8)) for n in range(33)]
    outcome = cloud.process(*(cloud.inbound("ann", s.order, s.demand()) for s in stories))
    assert refusals(cloud, outcome, "ann") == [Reason.TOO_MANY_OPEN_ORDERS]


@pytest.mark.parametrize(
    ("tariff", "reason"),
    [
        (b"{}", Reason.OFFER_TARIFF),
        (b'{"\\ud800": 1}', Reason.OFFER_TARIFF),
        (tariff_bytes(("FLAT", "1"), currency="EUR"), Reason.CURRENCY_MISMATCH),
    ],
)
def test_an_inventory_brings_tariffs_that_can_be_billed(cloud: Cloud, tariff: bytes, reason: Reason) -> None:
    page = Inventory((asset_of(cloud.roster, "sun-outlet", version=Number(2)),), (tariff,))
    assert refusals(cloud, cloud.say("sun", None, page), "sun") == [reason]


@pytest.mark.parametrize(
    "changes", [{"tariff_hash": Digest(b"t" * 32)}, {"time_zone": "Nowhere/Land"}], ids=["unknown tariff", "unknown zone"]
)
def test_an_inventory_names_tariffs_and_time_zones_that_are_known(cloud: Cloud, changes: dict[str, Any]) -> None:
    page = Inventory((asset_of(cloud.roster, "sun-outlet", version=Number(2), **changes),), (OUTLET_TARIFF,))
    assert refusals(cloud, cloud.say("sun", None, page), "sun") == [Reason.OFFER_TARIFF]


@pytest.mark.parametrize(
    ("amount", "currency", "reason"),
    [
        (0, CNY, Reason.AMOUNT_NOT_POSITIVE),
        (-1, CNY, Reason.AMOUNT_NOT_POSITIVE),
        (10**12 + 1, CNY, Reason.AMOUNT_TOO_LARGE),
        (1, Currency("EUR"), Reason.CURRENCY_MISMATCH),
    ],
)
def test_such_amounts_are_not_paid_in(cloud: Cloud, amount: int, currency: Currency, reason: Reason) -> None:
    refused = cloud.top_up("eve", amount, currency=currency)
    assert refused.reason == reason
    assert cloud.balance("eve").available_minor == 0


def test_paying_in_is_done_once_a_request(cloud: Cloud) -> None:
    assert cloud.top_up("eve", 10, b"1" * 16).available_minor == 10
    assert cloud.top_up("eve", 10, b"1" * 16).available_minor == 10
    assert cloud.top_up("eve", 10, b"2" * 16).available_minor == 20


def test_every_reason_has_words_and_a_hint() -> None:
    assert set(WORDS) == set(Reason)
    assert all(words and hint for words, hint in WORDS.values())
    assert sentence("ASSET_TAKEN", {"asset": "x"}) == "someone else has just taken it (asset x)"
    assert sentence("SOMETHING_NEW", {}) == "something new"
    assert hint_of("SOMETHING_NEW") == "update this program"


def test_a_seal_by_nobody_known_is_no_offer(cloud: Cloud) -> None:
    story = Story(cloud).until_demanded()
    forged = seal(story.offer_body(), key("forger"))
    outcome = story.by_provider(Offer(forged.signed, story.who("sun").grant.signed))
    assert refusals(cloud, outcome, "sun") == [Reason.SIGNATURE_INVALID]
