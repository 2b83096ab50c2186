"""What a service may come to: its quote, and the extra work that the user approved."""

from msgspec import Struct

from energyshare.bodies import AmendmentAnswerBody, AmendmentBody, OfferBody, ServiceItem, Verified
from energyshare.charging import added, extra_hold
from energyshare.errors import Reason, Rejected
from energyshare.opening import Opened
from energyshare.values import Digest, Minor


class Agreed(Struct, frozen=True):
    """Items and time of the quote and of the approved amendments, and what these added to the hold."""

    items: tuple[ServiceItem, ...]
    duration_s: int
    extra_hold_minor: Minor


def agreed_work(offer: OfferBody, opened: Opened) -> Agreed:
    """Add up the amendments that the holder approved, each at the price that the offer's tariff gives.

    Raises: Rejected with AMENDMENT_UNKNOWN or AMENDMENT_HOLD; TariffError.
    """
    amendments = sorted(opened.all(AmendmentBody), key=lambda one: one.body.number)
    if [one.body.number for one in amendments] != list(range(1, len(amendments) + 1)):
        raise Rejected(Reason.AMENDMENT_UNKNOWN, part="AMENDMENT", problem="they are not numbered from 1 on")
    approved = _approved(amendments, opened)
    agreed = Agreed(offer.items, offer.duration_s_max, Minor(0))
    for amendment in amendments:
        if amendment.digest in approved:
            agreed = _amended(agreed, offer, amendment.body)
    return agreed


def _approved(amendments: list[Verified[AmendmentBody]], opened: Opened) -> set[Digest]:
    """Give the amendments that the holder approved; each is answered once at most."""
    answers = [one.body for one in opened.all(AmendmentAnswerBody)]
    answered = [answer.amendment_hash for answer in answers]
    if len(set(answered)) != len(answered) or not set(answered) <= {one.digest for one in amendments}:
        raise Rejected(Reason.AMENDMENT_UNKNOWN, part="AMENDMENT_ANSWER", problem="it answers none, or one answered before")
    return {answer.amendment_hash for answer in answers if answer.approved}


def _amended(agreed: Agreed, offer: OfferBody, amendment: AmendmentBody) -> Agreed:
    more = extra_hold(offer, agreed.items, agreed.duration_s, amendment.items, amendment.duration_s)
    if more != amendment.hold_minor:
        raise Rejected(Reason.AMENDMENT_HOLD, needed=str(more), given=str(amendment.hold_minor))
    return Agreed(
        added(agreed.items, amendment.items),
        agreed.duration_s + amendment.duration_s,
        Minor(agreed.extra_hold_minor + more),
    )
