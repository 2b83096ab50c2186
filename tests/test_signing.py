"""Signatures: the primitive against Project Wycheproof's cases, and the labels that keep kinds apart."""

import json
from pathlib import Path

import pytest
from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from energyshare.errors import Corrupt, Rejected
from energyshare.signing import Label, SigningKey, derive_id, digest, key_id, labelled, verify
from energyshare.values import PublicKey

VECTORS = Path(__file__).parents[2] / "shared" / "vectors" / "wycheproof-ed25519.json"
KEY = SigningKey(bytes(range(32)))


def accepts(key: bytes, message: bytes, signature: bytes) -> bool:
    """Check as `verify` does, but without a label: the cases carry none."""
    try:
        VerifyKey(key).verify(message, signature)
    except (BadSignatureError, ValueError, TypeError):
        return False
    return True


def test_every_wycheproof_case_is_decided_rightly() -> None:
    if not VECTORS.exists():
        pytest.skip(f"{VECTORS} is not here")
    groups = json.loads(VECTORS.read_text())["testGroups"]
    cases = [(group["publicKey"]["pk"], case) for group in groups for case in group["tests"]]
    wrong = [
        case["tcId"]
        for key, case in cases
        if accepts(bytes.fromhex(key), bytes.fromhex(case["msg"]), bytes.fromhex(case["sig"])) != (case["result"] == "valid")
    ]
    assert (len(cases), wrong) == (151, [])


def test_a_signature_holds_for_its_label_payload_and_key_only() -> None:
    signature = KEY.sign(Label.VOUCHER, b"payload")
    verify(Label.VOUCHER, b"payload", signature, KEY.public)
    other = SigningKey(bytes(32)).public
    for label, payload, key in (
        (Label.GRANT, b"payload", KEY.public),
        (Label.VOUCHER, b"Payload", KEY.public),
        (Label.VOUCHER, b"payload", other),
    ):
        with pytest.raises(Rejected, match="SIGNATURE_INVALID"):
            verify(label, payload, signature, key)


@pytest.mark.parametrize("signature", [b"", b"x" * 63, b"x" * 64, b"x" * 65])
def test_odd_signatures_are_refused(signature: bytes) -> None:
    with pytest.raises(Rejected, match="SIGNATURE_INVALID"):
        verify(Label.VOUCHER, b"payload", signature, KEY.public)


@pytest.mark.parametrize("key", [b"", b"k" * 31, b"k" * 33, bytes(32), b"\x01" + bytes(31), b"\xff" * 32])
def test_odd_and_small_order_keys_are_refused(key: bytes) -> None:
    with pytest.raises(Rejected, match="SIGNATURE_INVALID"):
        verify(Label.VOUCHER, b"payload", bytes(64), PublicKey(key))


def test_no_label_is_the_beginning_of_another_with_its_zero_byte() -> None:
    labels = [labelled(label, b"") for label in Label]
    assert not any(one != other and other.startswith(one) for one in labels for other in labels)


def test_a_hash_and_an_id_depend_on_their_kind() -> None:
    assert digest(Label.VOUCHER, b"x") != digest(Label.GRANT, b"x")
    assert derive_id(Label.DEVICE_ID, b"o", "a") != derive_id(Label.ASSET_ID, b"o", "a")
    assert len(derive_id(Label.DEVICE_ID, b"o", "a")) == 16
    assert len(key_id(KEY.public)) == 8


def test_a_key_file_is_private_and_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "key"
    KEY.save(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert SigningKey.load(path).public == KEY.public
    with pytest.raises(FileExistsError):
        SigningKey.generate().save(path)


@pytest.mark.parametrize("text", ["", "zz", "00" * 31, "00" * 33])
def test_what_is_no_key_file_is_said_to_be_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "key").write_text(text)
    with pytest.raises(Corrupt, match="is not a key file"):
        SigningKey.load(tmp_path / "key")
