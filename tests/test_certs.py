"""Certificates: what the authority issues, and all that it and its readers refuse."""

import contextlib
import stat
from collections.abc import Callable
from pathlib import Path
from ssl import DER_cert_to_PEM_cert

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given, settings
from hypothesis import strategies as st

from certs.authority import SERVER_LIFETIME_S, TERMINAL_LIFETIME_S, Authority
from certs.certificates import certifies, read_certificate
from certs.requests import new_key_and_request, request_for
from certs.spiffe import SpiffeId, parse_spiffe
from energyshare.errors import Corrupt, Reason, Rejected, Unavailable
from energyshare.values import DAY_S, Instant, later

NOW = Instant(1_795_341_600_123_456)  # 2026-11-22 10:00:00.123456
SUBJECT = bytes(range(16))
URI = "spiffe://share.example/user/00010203-0405-0607-0809-0a0b0c0d0e0f"
AUTHORITY = Authority.create("share.example", NOW)
KEY, REQUEST = new_key_and_request()
CERTIFICATE = AUTHORITY.issue_terminal(REQUEST, "user", SUBJECT, NOW).pem


# What is issued


def test_a_terminal_gets_a_certificate_that_speaks_for_its_subject_and_key() -> None:
    issued = AUTHORITY.issue_terminal(REQUEST, "user", SUBJECT, NOW)
    info = read_certificate(issued.pem)
    assert info.spiffe == SpiffeId("share.example", "user", SUBJECT)
    assert (info.serial, info.not_after) == (issued.serial, issued.not_after)
    assert certifies(issued.pem, KEY)


def test_a_terminals_certificate_lives_seven_days_and_begins_five_minutes_back() -> None:
    info = read_certificate(CERTIFICATE)
    second = Instant(NOW - NOW % 1_000_000)
    assert info.not_before == later(second, -300)
    assert info.not_after == later(second, TERMINAL_LIFETIME_S) == later(second, 7 * DAY_S)


def test_the_same_request_gets_another_serial_each_time() -> None:
    serials = {AUTHORITY.issue_terminal(REQUEST, "user", SUBJECT, NOW).serial for _ in range(10)}
    assert len(serials) == 10


def test_a_certificate_is_signed_by_the_authority_and_only_by_it() -> None:
    certificate = x509.load_pem_x509_certificate(CERTIFICATE)
    certificate.verify_directly_issued_by(AUTHORITY.certificate)
    with pytest.raises(ValueError, match="does not match"):
        certificate.verify_directly_issued_by(Authority.create("share.example", NOW).certificate)


def test_a_terminals_certificate_is_for_clients_and_certifies_nobody() -> None:
    extensions = x509.load_pem_x509_certificate(CERTIFICATE).extensions
    assert list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert not extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert not extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign


def test_the_subject_and_names_that_a_request_asks_for_are_ignored() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    names = x509.SubjectAlternativeName([x509.DNSName("cloud.example"), x509.UniformResourceIdentifier(URI)])
    builder = x509.CertificateSigningRequestBuilder().add_extension(names, critical=False)
    request = builder.subject_name(x509.Name.from_rfc4514_string("CN=cloud.example")).sign(key, hashes.SHA256())
    issued = AUTHORITY.issue_terminal(request.public_bytes(Encoding.DER), "device", bytes(16), NOW)
    certificate = x509.load_pem_x509_certificate(issued.pem)
    assert read_certificate(issued.pem).spiffe == SpiffeId("share.example", "device", bytes(16))
    assert certificate.subject == x509.Name([])
    assert b"cloud.example" not in certificate.tbs_certificate_bytes


def test_a_node_gets_a_certificate_for_servers_with_its_names_and_the_nodes_id() -> None:
    chain, key, not_after = AUTHORITY.issue_server(["cloud.example", "127.0.0.1", "::1"], NOW)
    extensions = x509.load_pem_x509_certificate(chain).extensions
    names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["cloud.example"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1"]
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["spiffe://share.example/cloud/node"]
    assert list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert certifies(chain, key)
    assert not_after == later(Instant(NOW - NOW % 1_000_000), SERVER_LIFETIME_S)


@pytest.mark.parametrize(
    "names", [[], [""], ["two words"], ["Cloud.example"], ["-a.example"], ["a..b"], ["a" * 64], ["é.example"], ["*.example"]]
)
def test_a_node_without_a_proper_name_gets_nothing(names: list[str]) -> None:
    with pytest.raises(Rejected) as refusal:
        AUTHORITY.issue_server(names, NOW)
    assert refusal.value.reason is Reason.MALFORMED
    assert refusal.value.metadata["field"] == "names"


def test_nothing_that_is_issued_outlives_the_authority() -> None:
    end = AUTHORITY.certificate.not_valid_after_utc
    issued = AUTHORITY.issue_terminal(REQUEST, "user", SUBJECT, later(NOW, 3_650 * DAY_S))
    assert x509.load_pem_x509_certificate(issued.pem).not_valid_after_utc == end


def test_an_expired_authority_issues_nothing() -> None:
    with pytest.raises(Unavailable, match="expired"):
        AUTHORITY.issue_terminal(REQUEST, "user", SUBJECT, later(NOW, 3_653 * DAY_S))


# Requests


def _signed_by(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def _ed25519() -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return builder.sign(ed25519.Ed25519PrivateKey.generate(), None).public_bytes(Encoding.DER)


def _with_a_long_subject() -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "x" * 64)] * 80)
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    return builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256()).public_bytes(Encoding.DER)


def _with_another_signature() -> bytes:
    return REQUEST[:-1] + bytes([REQUEST[-1] ^ 1])


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: b"", "does not parse"),
        (lambda: b"no request", "does not parse"),
        (lambda: REQUEST + b"\0", "does not parse"),
        (lambda: REQUEST[:-1], "does not parse"),
        (lambda: KEY, "does not parse"),
        (_with_a_long_subject, "is longer than 4096 bytes"),
        (_ed25519, "is not for an ECDSA P-256 key"),
        (lambda: _signed_by(rsa.generate_private_key(65_537, 2_048)), "is not for an ECDSA P-256 key"),
        (lambda: _signed_by(ec.generate_private_key(ec.SECP384R1())), "is not for an ECDSA P-256 key"),
        (_with_another_signature, "is not signed by its own key"),
    ],
)
def test_a_bad_request_is_refused_with_what_is_wrong(make: Callable[[], bytes], problem: str) -> None:
    with pytest.raises(Rejected) as refusal:
        AUTHORITY.issue_terminal(make(), "user", SUBJECT, NOW)
    assert refusal.value.reason is Reason.MALFORMED
    assert refusal.value.metadata == {"field": "certificate_request", "problem": problem}


@pytest.mark.parametrize("change", [0x01, 0x20, 0x80, 0xFF])
def test_a_request_with_any_byte_changed_never_gets_another_key_certified(change: int) -> None:
    for position in range(len(REQUEST)):
        altered = bytearray(REQUEST)
        altered[position] ^= change
        with contextlib.suppress(Rejected):
            assert certifies(AUTHORITY.issue_terminal(bytes(altered), "user", SUBJECT, NOW).pem, KEY)


def test_a_certificate_with_any_byte_changed_breaks_nothing() -> None:
    der = x509.load_pem_x509_certificate(CERTIFICATE).public_bytes(Encoding.DER)
    for position in range(len(der)):
        altered = bytearray(der)
        altered[position] ^= 0x01
        with contextlib.suppress(Rejected):
            read_certificate(DER_cert_to_PEM_cert(bytes(altered)).encode())


@pytest.mark.parametrize(
    "key_pem",
    [
        b"",
        b"no key",
        CERTIFICATE,
        ec.generate_private_key(ec.SECP384R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    ],
    ids=["empty", "text", "certificate", "P-384"],
)
def test_a_key_file_that_is_no_p256_key_stops_the_program(key_pem: bytes) -> None:
    with pytest.raises(Corrupt):
        request_for(key_pem)


# Reading


def test_a_certificate_without_a_subjects_id_speaks_for_nobody() -> None:
    for pem in (AUTHORITY.issue_server(["cloud.example"], NOW)[0], AUTHORITY.certificate_pem):
        with pytest.raises(Rejected) as refusal:
            read_certificate(pem)
        assert refusal.value.reason is Reason.IDENTITY_UNKNOWN


def _naming(*uris: str) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1)
    builder = builder.not_valid_before(AUTHORITY.certificate.not_valid_before_utc)
    builder = builder.not_valid_after(AUTHORITY.certificate.not_valid_after_utc)
    if uris:
        names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri) for uri in uris])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


@pytest.mark.parametrize("uris", [(), (URI, URI), (URI, "https://share.example"), ("https://share.example",)])
def test_a_certificate_with_none_or_more_than_one_id_speaks_for_nobody(uris: tuple[str, ...]) -> None:
    with pytest.raises(Rejected) as refusal:
        read_certificate(_naming(*uris))
    assert refusal.value.reason is Reason.IDENTITY_UNKNOWN


@pytest.mark.parametrize("pem", [b"", b"no certificate", KEY, CERTIFICATE[:100]], ids=["empty", "text", "key", "cut short"])
def test_what_is_no_certificate_is_refused(pem: bytes) -> None:
    with pytest.raises(Rejected) as refusal:
        read_certificate(pem)
    assert refusal.value.reason is Reason.MALFORMED


@settings(max_examples=100, deadline=None)
@given(
    st.text("abcxyz019._-", min_size=1, max_size=40),
    st.sampled_from(["user", "provider", "device", "cloud"]),
    st.binary(min_size=16, max_size=16),
)
def test_an_id_is_written_in_one_way_and_read_back(trust_domain: str, role: str, subject_id: bytes) -> None:
    spiffe = SpiffeId(trust_domain, role, subject_id)
    assert parse_spiffe(str(spiffe)) == spiffe


@pytest.mark.parametrize(
    "uri",
    [
        "",
        URI.upper(),
        URI.replace("0a0b0c0d0e0f", "0A0B0C0D0E0F"),
        URI.replace("user", "operator"),
        URI.replace("user", "User"),
        URI.replace("spiffe", "https"),
        URI.replace("share.example", ""),
        URI.replace("share.example", "Share.example"),
        URI.replace("share.example", "share.example:443"),
        URI.replace("share.example", "me@share.example"),
        URI.replace("share.example", "s" * 256),
        URI.replace("-", ""),
        URI + "/",
        URI + "\n",
        URI + "?as=provider",
        URI + "#user",
        URI.replace("/user/", "/user//"),
        URI.replace("/user/", "/provider/../user/"),
        URI[:-1],
        "spiffe://share.example/cloud/node",
        "spiffe://share.example",
    ],
)
def test_an_id_in_any_other_spelling_is_unknown(uri: str) -> None:
    with pytest.raises(Rejected) as refusal:
        parse_spiffe(uri)
    assert refusal.value.reason is Reason.IDENTITY_UNKNOWN


# Keeping the authority


def test_an_authority_is_loaded_as_it_was_saved_and_issues_on(tmp_path: Path) -> None:
    AUTHORITY.save(tmp_path / "ca")
    loaded = Authority.load(tmp_path / "ca")
    assert (loaded.trust_domain, loaded.certificate_pem) == ("share.example", AUTHORITY.certificate_pem)
    issued = loaded.issue_terminal(REQUEST, "user", SUBJECT, NOW)
    x509.load_pem_x509_certificate(issued.pem).verify_directly_issued_by(AUTHORITY.certificate)


def test_the_authoritys_key_is_for_its_owner_only(tmp_path: Path) -> None:
    AUTHORITY.save(tmp_path / "ca")
    assert stat.S_IMODE((tmp_path / "ca" / "ca.key").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "ca").stat().st_mode) == 0o700


@pytest.mark.parametrize("existing", ["ca.key", "ca.pem"])
def test_an_authority_is_never_overwritten(tmp_path: Path, existing: str) -> None:
    (tmp_path / existing).write_text("precious")
    with pytest.raises(FileExistsError):
        AUTHORITY.save(tmp_path)
    assert (tmp_path / existing).read_text() == "precious"


@pytest.mark.parametrize("missing", ["ca.key", "ca.pem"])
def test_an_authority_with_a_file_missing_is_not_there(tmp_path: Path, missing: str) -> None:
    AUTHORITY.save(tmp_path)
    (tmp_path / missing).unlink()
    with pytest.raises(Unavailable, match="no certificate authority"):
        Authority.load(tmp_path)


@pytest.mark.parametrize(
    ("name", "contents"),
    [
        ("ca.key", b""),
        ("ca.key", KEY),
        ("ca.pem", b"no certificate"),
        ("ca.pem", Authority.create("share.example", NOW).certificate_pem),
    ],
    ids=["no key", "another key", "no certificate", "another certificate"],
)
def test_an_authority_whose_files_do_not_fit_together_stops_the_program(tmp_path: Path, name: str, contents: bytes) -> None:
    AUTHORITY.save(tmp_path)
    (tmp_path / name).write_bytes(contents)
    with pytest.raises(Corrupt):
        Authority.load(tmp_path)


@pytest.mark.parametrize("trust_domain", ["", "Share.example", "share example", "spiffe://x", "a/b", "a" * 256])
def test_an_authority_needs_a_proper_trust_domain(trust_domain: str) -> None:
    with pytest.raises(Rejected) as refusal:
        Authority.create(trust_domain, NOW)
    assert refusal.value.metadata["field"] == "trust_domain"


def test_an_authority_keeps_its_key_out_of_its_text() -> None:
    assert "key" not in repr(AUTHORITY)
