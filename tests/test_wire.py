"""The codec: every value round-trips within its ranges, and nothing that is not canonical passes."""

from collections.abc import Mapping
from enum import IntEnum
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from energyshare import bodies, wire
from energyshare.bodies import Between, GrantBody, VoucherBody
from energyshare.errors import Reason, Rejected
from energyshare.messages import Cancel, Demand, Message, NotSelected, OrderClosed
from energyshare.records import replace
from energyshare.signing import Label, SigningKey
from energyshare.v1 import order_pb2, signed_pb2, stream_pb2
from energyshare.values import (
    BYTE_LENGTHS,
    RANGES,
    DeviceId,
    Digest,
    DurationS,
    EnergyWh,
    Epoch,
    Instant,
    Kind,
    Metres,
    Number,
    OrderId,
    OrderState,
    Place,
    Role,
    Serial,
    SubjectId,
    UnixS,
)
from energyshare.wire import (
    BODY_TYPES,
    ENVELOPE_FIELDS,
    INSTANT_MAX_S,
    MESSAGE_TYPES,
    PRESENTABLE_BYTES_MAX,
    Envelope,
    decode,
    decode_envelope,
    decode_presentable,
    decode_strictly,
    encode,
    encode_envelope,
    open_signed,
    peek,
    present,
    seal,
    split_envelope,
    take_apart,
)

KEY = SigningKey(bytes(32))
MESSAGES: tuple[type, ...] = get_args(Message)
LONG = 300  # longest text or bytes that is drawn
TEXT = st.characters(codec="utf-8", exclude_categories=("C", "Z"))
NAMED = {cls.__name__: cls for cls in (*BODY_TYPES, *MESSAGES, bodies.Asset, bodies.BillLine, bodies.PartHash)}


def fields_of(cls: type) -> list[str]:
    """Name the fields of a struct."""
    return [field.name for field in structs.fields(cls)]


@cache
def values_of(cls: type) -> st.SearchStrategy[Any]:
    """Values of a struct, every field within its range."""
    hints = get_type_hints(cls, include_extras=True)
    return st.builds(cls, **{name: values(hints[name]) for name in fields_of(cls)})


def values(hint: Any, bounds: Between | None = None) -> st.SearchStrategy[Any]:
    """Values of an annotation, as `energyshare.wire` reads it."""
    origin = get_origin(hint)
    if origin is Annotated:
        inner, *extras = get_args(hint)
        return values(inner, next((extra for extra in extras if isinstance(extra, Between)), None))
    if origin in (UnionType, Union):
        return st.none() | values(next(arg for arg in get_args(hint) if arg is not NoneType))
    if origin is tuple:
        least, most = (bounds.least, min(bounds.most, 3)) if bounds else (0, 3)
        return st.lists(values(get_args(hint)[0]), min_size=least, max_size=most).map(tuple)
    if origin is not None and issubclass(origin, Mapping):
        return st.dictionaries(st.text(TEXT, max_size=8), st.text(TEXT, max_size=8), max_size=3)
    return plain_values(hint, bounds)


def plain_values(hint: Any, bounds: Between | None) -> st.SearchStrategy[Any]:
    if hint in BYTE_LENGTHS:
        return st.binary(min_size=BYTE_LENGTHS[hint], max_size=BYTE_LENGTHS[hint])
    if hint is Instant:
        return st.integers(1_000_000, INSTANT_MAX_S * 1_000_000)
    if hint is Place:
        return st.builds(Place, st.integers(-900_000_000, 900_000_000), st.integers(-1_800_000_000, 1_800_000_000))
    plain = getattr(hint, "__supertype__", hint)
    least, most = (bounds.least, bounds.most) if bounds else RANGES.get(hint, (0, LONG))
    if plain is bool:
        return st.booleans()
    if plain is int:
        return st.integers(least, most) | st.sampled_from([least, most])
    if plain is str:
        return st.text(TEXT, min_size=least, max_size=min(most, LONG))
    if plain is bytes:
        return st.binary(min_size=least, max_size=min(most, LONG))
    if issubclass(plain, IntEnum):
        return st.sampled_from(plain)
    return values_of(plain)


@pytest.mark.parametrize("cls", BODY_TYPES, ids=lambda cls: cls.__name__)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_every_body_round_trips_signed(cls: Any, data: st.DataObject) -> None:
    body = data.draw(values_of(cls))
    sealed = seal(body, KEY)
    assert open_signed(cls, sealed.signed, KEY.public) == sealed
    assert decode_strictly(cls, encode(body)) == peek(cls, sealed.signed) == body


@pytest.mark.parametrize("cls", MESSAGES, ids=lambda cls: cls.__name__)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_every_message_round_trips_in_its_envelope(cls: type, data: st.DataObject) -> None:
    order = data.draw(st.none() | st.binary(min_size=16, max_size=16).map(OrderId))
    envelope = Envelope(order, Number(data.draw(st.integers(1, 2**62 - 1))), data.draw(values_of(cls)))
    assert decode_envelope(encode_envelope(envelope)) == envelope
    assert encode_envelope(envelope) == encode_envelope(decode_envelope(encode_envelope(envelope)))


# Values and contract


def test_every_message_of_the_envelope_has_a_value_and_the_other_way_round() -> None:
    contract = {field.name for field in stream_pb2.Envelope.DESCRIPTOR.oneofs_by_name["body"].fields}
    assert contract == set(MESSAGE_TYPES) == set(ENVELOPE_FIELDS.values())
    assert {cls.__name__ for cls in MESSAGE_TYPES.values()} == {cls.__name__ for cls in MESSAGES}


@pytest.mark.parametrize("cls", NAMED.values(), ids=list(NAMED))
def test_every_value_has_the_fields_of_its_message(cls: type) -> None:
    descriptor = descriptor_of(cls)
    assert fields_of(cls) == [field.name for field in descriptor.fields]


@pytest.mark.parametrize("cls", NAMED.values(), ids=list(NAMED))
def test_what_the_contract_calls_optional_may_be_missing(cls: type) -> None:
    hints = get_type_hints(cls)
    optional = {name for name in hints if NoneType in get_args(hints[name])}
    explicit = {f.name for f in descriptor_of(cls).fields if f.has_presence and f.message_type is None}
    assert explicit <= optional


def test_every_signed_body_has_a_label_of_its_own() -> None:
    labels = [cls.label for cls in BODY_TYPES]
    assert len(set(labels)) == len(labels)
    assert set(Label) - set(labels) == {
        Label.TARIFF,
        Label.LEDGER_BATCH,
        Label.DEVICE_ID,
        Label.ASSET_ID,
        Label.JOIN_TOKEN,
    }


def descriptor_of(cls: type) -> Any:
    return wire._proto_class(cls).DESCRIPTOR


# Strictness

VOUCHER = VoucherBody(
    order_id=OrderId(b"O" * 16),
    device_id=DeviceId(b"D" * 16),
    holder_key=KEY.public,
    energy_wh_max=EnergyWh(10**9),
    duration_s_max=DurationS(604_800),
    not_before_unix_s=UnixS(2**40),
    window_s=DurationS(604_800),
    serial=Serial(2**62),
    epoch=Epoch(2**32 - 1),
    tariff_hash=Digest(b"t" * 32),
)
GRANT = GrantBody(SubjectId(b"S" * 16), Role.ISSUER, KEY.public, UnixS(2**40), UnixS(2**40), None)
BYTES = encode(VOUCHER)


def varint(value: int) -> bytes:
    head = bytearray()
    while value > 127:
        head.append(value & 127 | 128)
        value >>= 7
    return bytes([*head, value])


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(BYTES + b"\x58\x01", id="an unknown number"),
        pytest.param(BYTES + b"\x5a\x01x", id="an unknown text"),
        pytest.param(BYTES + b"\x48\x05", id="a field twice"),
        pytest.param(BYTES[18:] + BYTES[:18], id="fields in another order"),
        pytest.param(BYTES.replace(b"\x20\x80\x94\xeb\xdc\x03", b"\x20\x80\x94\xeb\xdc\x83\x00"), id="a padded number"),
        pytest.param(BYTES[18:], id="a missing field"),
        pytest.param(BYTES[:-1], id="cut short"),
        pytest.param(b"", id="nothing"),
        pytest.param(BYTES.replace(b"\x0a\x10", b"\x0a\x0f", 1), id="a wrong length"),
        pytest.param(BYTES[:-34] + b"\x52\x1f" + b"t" * 31, id="a short hash"),
        pytest.param(BYTES.replace(b"\x20" + varint(10**9), b"\x20" + varint(10**9 + 1)), id="a number past its range"),
        pytest.param(BYTES.replace(b"\x20" + varint(10**9), b""), id="a number below its range"),
    ],
)
def test_only_the_one_encoding_of_a_body_is_read(data: bytes) -> None:
    assert data != BYTES
    assert decode_strictly(VoucherBody, BYTES) == VOUCHER
    with pytest.raises(Rejected) as refused:
        decode_strictly(VoucherBody, data)
    assert refused.value.reason is Reason.MALFORMED


@pytest.mark.parametrize("role", [0, 4, 99])
def test_an_enum_that_is_unset_or_unknown_is_refused(role: int) -> None:
    proto = signed_pb2.GrantBody.FromString(encode(GRANT))
    proto.role = role  # type: ignore[assignment]
    with pytest.raises(Rejected, match=r"GrantBody\.role"):
        decode(GrantBody, proto.SerializeToString())


def test_an_instant_finer_than_a_microsecond_has_no_encoding() -> None:
    closed = bodies.NotReturnedBody(OrderId(b"O" * 16), Instant(1_000_001))
    data = encode(closed)
    fine = data.replace(b"\x10\xe8\x07", b"\x10\xe9\x07")
    assert fine != data
    with pytest.raises(Rejected, match="canonical"):
        decode_strictly(bodies.NotReturnedBody, fine)


@pytest.mark.parametrize(
    ("seconds", "nanos"), [(0, 0), (-1, 0), (INSTANT_MAX_S + 1, 0), (1, -1), (1, 10**9)], ids=lambda number: str(number)
)
def test_what_is_no_time_is_refused(seconds: int, nanos: int) -> None:
    proto = order_pb2.Demand.FromString(encode(DEMAND))
    proto.needed_by_time.seconds, proto.needed_by_time.nanos = seconds, nanos
    with pytest.raises(Rejected, match="needed_by_time"):
        decode(Demand, proto.SerializeToString())


DEMAND = Demand(
    kinds=(Kind.ENERGY,),
    place=Place(1, 1),
    radius_m=Metres(1),
    energy_wh=None,
    duration_s=None,
    service_items=(),
    needed_by_time=Instant(1_000_000),
    price_max_minor=None,
    time_to_live_s=DurationS(1),
    connector=None,
)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("radius_m", 0),
        ("radius_m", 200_001),
        ("energy_wh", 0),
        ("duration_s", 604_801),
        ("price_max_minor", 0),
        ("time_to_live_s", 3_601),
        ("connector", 0),
    ],
)
def test_a_demand_out_of_range_names_its_field(field: str, value: int) -> None:
    proto = order_pb2.Demand.FromString(encode(DEMAND))
    setattr(proto, field, value)
    with pytest.raises(Rejected, match=field):
        decode(Demand, proto.SerializeToString())


@pytest.mark.parametrize(("latitude", "longitude"), [(900_000_001, 0), (-900_000_001, 0), (0, 1_800_000_001)])
def test_a_place_off_the_earth_is_refused(latitude: int, longitude: int) -> None:
    proto = order_pb2.Demand.FromString(encode(DEMAND))
    proto.place.latitude_e7, proto.place.longitude_e7 = latitude, longitude
    with pytest.raises(Rejected, match="latitude"):
        decode(Demand, proto.SerializeToString())


@pytest.mark.parametrize("reason", ["", "x" * 65, "two\nlines", "\x00"])
def test_texts_are_short_and_printable(reason: str) -> None:
    with pytest.raises(Rejected, match=r"Cancel\.reason"):
        decode(Cancel, order_pb2.Cancel(reason=reason).SerializeToString())


# Presentables and envelopes


def test_the_largest_presentable_fits_a_qr_code() -> None:
    data = present(seal(VOUCHER, KEY), seal(GRANT, KEY))
    assert len(data) <= PRESENTABLE_BYTES_MAX
    assert decode_presentable(data).grant == seal(GRANT, KEY).signed


@settings(max_examples=60, deadline=None)
@given(voucher=values_of(VoucherBody), grant=values_of(GrantBody))
def test_no_voucher_with_an_issuers_grant_is_longer(voucher: VoucherBody, grant: GrantBody) -> None:
    issued = replace(grant, role=Role.ISSUER, owner_id=None)
    data = present(seal(voucher, KEY), seal(issued, KEY))
    assert len(data) <= PRESENTABLE_BYTES_MAX
    assert decode_presentable(data).voucher == seal(voucher, KEY).signed


PRESENTABLE = present(seal(VOUCHER, KEY), seal(GRANT, KEY))


@pytest.mark.parametrize(
    "data", [PRESENTABLE + b"\x18\x01", PRESENTABLE + b"x" * 200, PRESENTABLE[:-1], b"\xff"], ids=["more", "long", "cut", "odd"]
)
def test_an_odd_presentable_is_refused(data: bytes) -> None:
    with pytest.raises(Rejected, match="MALFORMED"):
        decode_presentable(data)


@pytest.mark.parametrize(
    "envelope",
    [
        stream_pb2.Envelope(number=0, not_selected=order_pb2.NotSelected()),
        stream_pb2.Envelope(number=-1, not_selected=order_pb2.NotSelected()),
        stream_pb2.Envelope(number=2**62, not_selected=order_pb2.NotSelected()),
        stream_pb2.Envelope(number=1, order_id=b"short", not_selected=order_pb2.NotSelected()),
        stream_pb2.Envelope(number=1),
    ],
)
def test_an_envelope_needs_a_number_a_conversation_and_a_message(envelope: stream_pb2.Envelope) -> None:
    with pytest.raises(Rejected, match="Envelope"):
        decode_envelope(envelope.SerializeToString())


def test_a_header_is_read_even_when_its_message_is_wrong() -> None:
    wrong = stream_pb2.Envelope(number=7, order_id=b"O" * 16, cancel=order_pb2.Cancel())
    header, body = split_envelope(wrong.SerializeToString())
    assert (header.order_id, header.number) == (b"O" * 16, 7)
    assert body is not None
    with pytest.raises(Rejected, match=r"Cancel\.reason"):
        body()
    assert split_envelope(stream_pb2.Envelope(number=7).SerializeToString())[1] is None


def test_an_empty_message_is_a_message() -> None:
    assert decode_envelope(encode_envelope(Envelope(None, Number(1), NotSelected()))).message == NotSelected()


SAMPLES = [
    encode_envelope(Envelope(OrderId(b"O" * 16), Number(1), message))
    for message in (DEMAND, Cancel("X"), OrderClosed(OrderState.EXPIRED, "X"))
]


@settings(max_examples=200, deadline=None)
@given(
    data=st.binary(max_size=200),
    sample=st.sampled_from([*SAMPLES, PRESENTABLE, seal(VOUCHER, KEY).signed]),
    at=st.integers(0, 99),
)
def test_random_bytes_are_only_ever_rejected(data: bytes, sample: bytes, at: int) -> None:
    for raw in (data, sample[:at] + data[:2] + sample[at + 2 :]):
        for read in (decode_envelope, decode_presentable, take_apart):
            try:
                read(raw)
            except Rejected as refused:
                assert refused.reason is Reason.MALFORMED  # noqa: PT017
        for cls in (Demand, VoucherBody, GrantBody):
            try:
                decode_strictly(cls, raw)
            except Rejected as refused:
                assert refused.reason is Reason.MALFORMED  # noqa: PT017
