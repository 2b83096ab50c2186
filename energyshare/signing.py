"""Ed25519 signatures over labelled bytes, and all the labels.

A signature covers the context label of its kind, a zero byte and the payload as sent, so that bytes signed as one kind can
never pass for another. A hash is SHA-256 over the same bytes. Checks use PyNaCl, which refuses small-order keys; any
exception from it means no.
"""

import os
from enum import StrEnum
from hashlib import sha256
from pathlib import Path

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey as NaclSigningKey
from nacl.signing import VerifyKey

from energyshare.errors import Corrupt, Reason, Rejected
from energyshare.values import Digest, KeyId, PublicKey, Signature


class Label(StrEnum):
    """The context labels: what a signature is about."""

    GRANT = "energyshare/grant/v1"
    VOUCHER = "energyshare/voucher/v1"
    OFFER = "energyshare/offer/v1"
    TARIFF = "energyshare/tariff/v1"
    SELECTION = "energyshare/selection/v1"
    CHALLENGE = "energyshare/challenge/v1"
    PRESENTATION = "energyshare/presentation/v1"
    START_RECEIPT = "energyshare/start-receipt/v1"
    READING = "energyshare/reading/v1"
    RELEASE = "energyshare/release/v1"
    END_RECEIPT = "energyshare/end-receipt/v1"
    SERIAL_CLOSED = "energyshare/serial-closed/v1"
    END_REQUEST = "energyshare/end-request/v1"
    END_CONFIRMATION = "energyshare/end-confirmation/v1"
    END_REFUSAL = "energyshare/end-refusal/v1"
    NOT_RETURNED = "energyshare/not-returned/v1"
    AMENDMENT = "energyshare/amendment/v1"
    AMENDMENT_ANSWER = "energyshare/amendment-answer/v1"
    SETTLEMENT_REQUEST = "energyshare/settlement-request/v1"
    SETTLEMENT_ANSWER = "energyshare/settlement-answer/v1"
    CHARGE_RECORD = "energyshare/charge-record/v1"
    SILENCE_DECISION = "energyshare/silence-decision/v1"
    RULING = "energyshare/ruling/v1"
    REVOCATION = "energyshare/revocation/v1"
    LEDGER_BATCH = "energyshare/ledger-batch/v1"
    CHECKPOINT = "energyshare/checkpoint/v1"
    TIME_STATEMENT = "energyshare/time-statement/v1"
    ENROLLMENT_PROOF = "energyshare/enrollment-proof/v1"
    DEVICE_ID = "energyshare/device-id/v1"
    ASSET_ID = "energyshare/asset-id/v1"
    JOIN_TOKEN = "energyshare/join-token/v1"


def labelled(label: Label, payload: bytes) -> bytes:
    """Give the bytes that a signature or hash of this kind covers."""
    return label.encode() + b"\0" + payload


def digest(label: Label, payload: bytes) -> Digest:
    """Hash a payload of one kind."""
    return Digest(sha256(labelled(label, payload)).digest())


def derive_id(label: Label, owner: bytes, name: str) -> bytes:
    """Derive the 16-byte id of a named thing from its owner, so that both sides know it without asking."""
    return digest(label, owner + name.encode())[:16]


def key_id(key: PublicKey) -> KeyId:
    """Give the hint at a key that signatures carry."""
    return KeyId(sha256(key).digest()[:8])


class SigningKey:
    """A private Ed25519 key in memory."""

    __slots__ = ("_key", "key_id", "public")

    def __init__(self, seed: bytes) -> None:
        self._key = NaclSigningKey(seed)
        self.public = PublicKey(bytes(self._key.verify_key))
        self.key_id = key_id(self.public)

    def sign(self, label: Label, payload: bytes) -> Signature:
        """Sign a payload of one kind."""
        return Signature(self._key.sign(labelled(label, payload)).signature)

    @classmethod
    def generate(cls) -> "SigningKey":
        """Make a new key."""
        return cls(os.urandom(32))

    @classmethod
    def load(cls, path: Path) -> "SigningKey":
        """Read a key file; raises Corrupt when it is none."""
        try:
            return cls(bytes.fromhex(path.read_text().strip()))
        except (ValueError, TypeError):
            raise Corrupt(f"{path} is not a key file", "restore it from your backup, or enroll anew in another home") from None

    def save(self, path: Path) -> None:
        """Write a new key file that only its owner can read; never overwrites one."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(bytes(self._key).hex() + "\n")
            file.flush()
            os.fsync(file.fileno())


def verify(label: Label, payload: bytes, signature: bytes, key: PublicKey) -> None:
    """Check a signature; raises Rejected{SIGNATURE_INVALID}."""
    try:
        VerifyKey(key).verify(labelled(label, payload), signature)
    except (BadSignatureError, ValueError, TypeError):
        raise Rejected(Reason.SIGNATURE_INVALID, kind=label) from None
