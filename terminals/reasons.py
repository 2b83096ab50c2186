"""What the short codes that travel with orders say to a person.

Why an asset was left out or a demand declined, why an order was closed or opened again, what a decision taken on silence had
waited for. What is refused with a `Reason` has its words in energyshare.errors; a code that is in neither is written in lower
case.
"""

from collections.abc import Mapping

from energyshare.errors import sentence

EXCLUSIONS = {
    "KIND": "of another kind",
    "DISTANCE": "too far away",
    "OUT_OF_SERVICE": "out of service",
    "HELD": "held by another order",
    "UNKNOWN": "not known to be back",
    "OFFLINE": "their provider is offline",
    "CONNECTOR": "another connector",
    "CAPACITY": "not charged enough",
    "TARIFF": "no price for this",
    "PRICE": "could cost more than your limit",
    "SAME_STATION": "another one there was asked",
    "RANK": "nearer or cheaper ones were asked",
    "SUSPENDED": "put aside by the operator",
    "ITEMS": "do not do what was asked for",
}
"""Why assets were left out when a demand was screened; said after their number."""

DECLINES = {
    "NOT_OURS": "it is not this provider's any more",
    "NOT_CHARGED_ENOUGH": "the battery is not charged enough",
    "TOO_DEAR": "it could cost more than your limit",
    "TOO_FAR_AHEAD": "it is needed too far ahead",
    "TOO_LATE": "there was no time to answer",
    "SHORT_NOTICE": "it needs more notice",
    "TARIFF_NOT_VALID": "its prices do not hold at that time",
    "NO_ITEMS": "say what is to be done, with --item",
    "CLOSED": "it is closed at that time",
    "ITEM_NOT_DONE": "not all that was asked for is done there",
    "USER_LIMIT": "this user has as many orders there as the provider allows",
}
"""Why a provider made no offer."""

CLOSINGS = {
    "NO_OFFER": "nobody made an offer in time",
    "NO_PROVIDER": "nobody near has what is needed",
    "PROVIDERS_OFFLINE": "who has it near is not online; ask again in a while",
    "OFFERS_EXPIRED": "no offer was selected in time",
    "NO_VOUCHER": "the provider sent no voucher in time",
    "NOT_STARTED": "the voucher ran out unused",
    "NO_SETTLEMENT_REQUEST": "the provider never asked for settlement",
    "SERIAL_CLOSED": "the voucher was closed unused at its device",
    "CHANGED_MY_MIND": "not needed any more",
    "BY_USER": "the user called it off",
    "BY_PROVIDER": "the provider called it off",
    "PRESSED_TWICE": "ordered twice",
}
"""Why an order ended unbilled, or went back to its other offers."""

WAITS = {
    "OFFERS": "offers",
    "OFFER_EXPIRY": "a selection",
    "VOUCHER": "the voucher",
    "START": "the start",
    "END_OF_SUPPLY": "the end of the supply",
    "RETURN": "the battery's return",
    "NOT_RETURNED": "the provider's word on a battery that did not come back",
    "CONFIRMATION": "the provider's confirmation",
    "SETTLEMENT_REQUEST": "the provider's request for settlement",
    "SERVICE_ACKNOWLEDGEMENT": "the user's terminal to hear of the settlement",
    "SERVICE_CONFIRMATION": "the user's answer to the settlement",
    "RULING": "the operator's ruling",
}
"""What a decision taken on silence had waited for."""

CODES: Mapping[str, str] = EXCLUSIONS | DECLINES | CLOSINGS | WAITS


def reason_text(code: str, metadata: Mapping[str, str] | None = None) -> str:
    """Say a code in words; what is no code stays as it is."""
    if not code.isupper():
        return code
    return CODES[code] if code in CODES else sentence(code, metadata or {})
