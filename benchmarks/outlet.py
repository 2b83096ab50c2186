"""The device step of an order: what an outlet and the holder at it sign, with real keys and nothing else.

A session of no time with one reading. The outlet checks nothing and writes nothing: how long that takes is measured by
`benchmarks.device`, and what is measured here is the cloud.
"""

from dataclasses import dataclass
from itertools import count

from benchmarks.world import Party
from energyshare.bodies import (
    ChallengeBody,
    EndReceiptBody,
    PresentationBody,
    ReadingBody,
    ReleaseBody,
    StartReceiptBody,
    Verified,
    VoucherBody,
)
from energyshare.messages import EndRequest, Reading, Started
from energyshare.signing import SigningKey
from energyshare.values import (
    ClockQuality,
    DeviceId,
    DeviceState,
    Digest,
    DurationS,
    EndCause,
    EnergyWh,
    Epoch,
    Instant,
    Nonce,
    Number,
    OrderId,
)
from energyshare.wire import seal

EPOCH = Epoch(1)
SESSION_WH = 400
SYNCHRONIZED = ClockQuality.SYNCHRONIZED


@dataclass(frozen=True, slots=True)
class Session:
    """What came of a session at an outlet."""

    started: Started
    reading: Reading
    end_receipt: Verified[EndReceiptBody]
    grant: bytes

    def end_request(self, request: bytes) -> EndRequest:
        """Join the evidence to a signed request to end."""
        return EndRequest(request, self.end_receipt.signed, self.grant)


class Outlet:
    """One device with its key; its register and receipts go on from session to session."""

    def __init__(self, party: Party) -> None:
        self.device_id = DeviceId(party.subject_id)
        self._key = SigningKey(party.seed)
        self._grant = party.grant
        self._receipts = count(1)
        self._register_wh = 0

    def session(self, voucher: VoucherBody, voucher_hash: Digest, nonce: Nonce, holder: SigningKey, now: Instant) -> Session:
        """Start and end a session by a voucher."""
        start = self._start(voucher, voucher_hash, nonce, holder, now)
        self._register_wh += SESSION_WH
        reading = self._reading(voucher.order_id, start.digest, now)
        end = self._end(voucher.order_id, start.signed, reading.digest, nonce, holder, now)
        return Session(Started(start.signed, self._grant), Reading((reading.signed,), self._grant), end, self._grant)

    def _start(
        self, voucher: VoucherBody, voucher_hash: Digest, nonce: Nonce, holder: SigningKey, now: Instant
    ) -> Verified[StartReceiptBody]:
        challenge = ChallengeBody(self.device_id, nonce, now, SYNCHRONIZED, EPOCH, DeviceState.FREE)
        presentation = PresentationBody(voucher_hash, self.device_id, nonce)
        return seal(
            StartReceiptBody(
                device_id=self.device_id,
                order_id=voucher.order_id,
                serial=voucher.serial,
                epoch=EPOCH,
                receipt_number=Number(next(self._receipts)),
                challenge=seal(challenge, self._key).signed,
                presentation=seal(presentation, holder).signed,
                start_time=now,
                clock_quality=SYNCHRONIZED,
                register_wh=EnergyWh(self._register_wh),
                soc_pct=None,
                soh_pct=None,
            ),
            self._key,
        )

    def _reading(self, order_id: OrderId, start_hash: Digest, now: Instant) -> Verified[ReadingBody]:
        return seal(
            ReadingBody(
                device_id=self.device_id,
                order_id=order_id,
                number=Number(1),
                previous_hash=start_hash,
                reading_time=now,
                clock_quality=SYNCHRONIZED,
                elapsed_s=DurationS(0),
                register_wh=EnergyWh(self._register_wh),
                supplying=False,
                soc_pct=None,
            ),
            self._key,
        )

    def _end(
        self, order_id: OrderId, start: bytes, readings_head: Digest, nonce: Nonce, holder: SigningKey, now: Instant
    ) -> Verified[EndReceiptBody]:
        release = ReleaseBody(self.device_id, nonce, order_id)
        return seal(
            EndReceiptBody(
                device_id=self.device_id,
                order_id=order_id,
                receipt_number=Number(next(self._receipts)),
                start_receipt=start,
                release=seal(release, holder).signed,
                cause=EndCause.HOLDER,
                end_time=now,
                clock_quality=SYNCHRONIZED,
                elapsed_s=DurationS(0),
                register_wh=EnergyWh(self._register_wh),
                readings_count=Number(1),
                readings_head=readings_head,
                soc_pct=None,
                soh_pct=None,
            ),
            self._key,
        )
