"""Messages to values and back: the only place of the shared package that knows the generated code.

One codec a type is compiled at import from the value's annotations and the contract's descriptor, matched by name. Decoding
holds every field to its length, range and presence and raises `Rejected{MALFORMED}` naming the field. Signed parts are
checked first and parsed strictly afterwards: encoding the parsed body again must give the same bytes, which refuses unknown
fields, duplicates and odd encodings alike.
"""

import re
from collections.abc import Callable, Mapping
from enum import IntEnum
from types import ModuleType, NoneType, UnionType
from typing import Annotated, Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from google.protobuf.message import DecodeError
from google.protobuf.message import Message as Proto
from google.protobuf.timestamp_pb2 import Timestamp
from msgspec import Struct, structs

from energyshare import bodies, messages
from energyshare.bodies import Between, Body, GrantBody, Part, Verified, VoucherBody
from energyshare.errors import Reason, Rejected
from energyshare.messages import Message
from energyshare.signing import SigningKey, digest, verify
from energyshare.v1 import asset_pb2, device_pb2, enrollment_pb2, evidence_pb2, order_pb2, signed_pb2, stream_pb2
from energyshare.values import (
    BYTE_LENGTHS,
    RANGES,
    Instant,
    KeyId,
    Number,
    OrderId,
    PublicKey,
    Signature,
)

PRESENTABLE_BYTES_MAX = 408
INSTANT_MAX_S = 253_402_300_799  # the year 9999, where datetime ends

T = TypeVar("T")
BodyT = TypeVar("BodyT", bound=Body)
Decode = Callable[[Any], Any]
Encode = Callable[[Any], Any]


class Signed(Struct, frozen=True):
    """A body's bytes with their signature, taken apart but not checked."""

    payload: bytes
    signature: Signature
    key_id: KeyId


class Presentable(Struct, frozen=True):
    """What a user carries to a device: two serialized Signed, of a VoucherBody and its GrantBody."""

    voucher: bytes
    grant: bytes


class Envelope(Struct, frozen=True):
    """One message of a conversation; `order_id` is None in the conversation with the terminal itself."""

    order_id: OrderId | None
    number: Number
    message: Message


class Bundle(Struct, frozen=True):
    """The evidence of one order."""

    order_id: OrderId
    parts: tuple[Part, ...]


class Malformed(Rejected):
    """A message does not hold to the contract."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(Reason.MALFORMED, field=field, problem=problem)


# Public names


def encode(value: object) -> bytes:
    """Encode a message or body."""
    return to_proto(value).SerializeToString(deterministic=True)


def decode(cls: type[T], data: bytes) -> T:
    """Decode a message or body; raises Rejected{MALFORMED}."""
    codec = _codec(cls)
    try:
        proto = codec.proto.FromString(data)
    except DecodeError:
        raise Malformed(cls.__name__, "does not parse") from None
    return cast(T, codec.decode(proto))


def to_proto(value: object) -> Proto:
    """Turn a value into the contract's message of the same name."""
    return cast(Proto, _codec(type(value)).encode(value))


def from_proto(cls: type[T], proto: Proto) -> T:
    """Turn the contract's message into a value; raises Rejected{MALFORMED}."""
    return cast(T, _codec(cls).decode(proto))


def decode_strictly(cls: type[T], data: bytes) -> T:
    """Decode bytes that have exactly one encoding; raises Rejected{MALFORMED}."""
    value = decode(cls, data)
    if encode(value) != data:
        raise Malformed(cls.__name__, "is not in canonical encoding or has unknown fields")
    return value


def seal(body: Body, key: SigningKey) -> Verified[Any]:
    """Sign a body; the result's `signed` is the serialized Signed."""
    payload = encode(body)
    signed = _join(payload, key.sign(body.label, payload), key.key_id)
    return Verified(body, signed, digest(body.label, payload), key.public)


def open_signed(cls: type[BodyT], signed: bytes, key: PublicKey) -> Verified[BodyT]:
    """Check a serialized Signed with a key, then parse its body strictly.

    Raises: Rejected with SIGNATURE_INVALID or MALFORMED.
    """
    parts = take_apart(signed)
    verify(cls.label, parts.payload, parts.signature, key)
    return Verified(decode_strictly(cls, parts.payload), signed, digest(cls.label, parts.payload), key)


def peek(cls: type[BodyT], signed: bytes) -> BodyT:
    """Parse the body of a serialized Signed without checking its signature: for what the check itself must look up."""
    return decode_strictly(cls, take_apart(signed).payload)


def reread(cls: type[BodyT], signed: bytes) -> BodyT:
    """Parse the body of a serialized Signed that was opened before it was stored."""
    return decode(cls, signed_pb2.Signed.FromString(signed).payload)


def digest_of(cls: type[Body], signed: bytes) -> bytes:
    """Hash the body of a serialized Signed without checking its signature."""
    return digest(cls.label, take_apart(signed).payload)


def take_apart(signed: bytes) -> Signed:
    """Split a serialized Signed; raises Rejected{MALFORMED} unless it is in canonical encoding."""
    proto = signed_pb2.Signed()
    try:
        proto.ParseFromString(signed)
    except DecodeError:
        raise Malformed("Signed", "does not parse") from None
    if _join(proto.payload, proto.signature, proto.key_id) != signed or len(proto.signature) != 64 or len(proto.key_id) != 8:
        raise Malformed("Signed", "is not in canonical encoding")
    return Signed(proto.payload, Signature(proto.signature), KeyId(proto.key_id))


def decode_presentable(data: bytes) -> Presentable:
    """Split a serialized Presentable; raises Rejected{MALFORMED}."""
    proto = signed_pb2.Presentable()
    try:
        if len(data) > PRESENTABLE_BYTES_MAX:
            raise Malformed("Presentable", f"is longer than {PRESENTABLE_BYTES_MAX} bytes")
        proto.ParseFromString(data)
    except DecodeError:
        raise Malformed("Presentable", "does not parse") from None
    presentable = Presentable(proto.voucher.SerializeToString(), proto.grant.SerializeToString())
    if encode_presentable(presentable) != data:
        raise Malformed("Presentable", "is not in canonical encoding")
    return presentable


def encode_presentable(presentable: Presentable) -> bytes:
    """Join voucher and grant into a serialized Presentable."""
    return presentable_proto(presentable).SerializeToString(deterministic=True)


def presentable_proto(presentable: Presentable) -> signed_pb2.Presentable:
    """Turn a Presentable into the contract's message."""
    proto = signed_pb2.Presentable()
    proto.voucher.ParseFromString(presentable.voucher)
    proto.grant.ParseFromString(presentable.grant)
    return proto


def present(voucher: Verified[VoucherBody], grant: Verified[GrantBody]) -> bytes:
    """Make the serialized Presentable of a voucher and the grant of the key that signed it."""
    return encode_presentable(Presentable(voucher.signed, grant.signed))


def encode_envelope(envelope: Envelope) -> bytes:
    """Encode an envelope; these bytes are journalled, sent, and compared when a number comes again."""
    body: dict[str, Any] = {ENVELOPE_FIELDS[type(envelope.message)]: to_proto(envelope.message)}
    proto = stream_pb2.Envelope(order_id=envelope.order_id or b"", number=envelope.number, **body)
    return proto.SerializeToString(deterministic=True)


def decode_envelope(data: bytes) -> Envelope:
    """Decode an envelope; raises Rejected{MALFORMED} with metadata `field`."""
    header, body = split_envelope(data)
    if body is None:
        raise Malformed("Envelope", "has no message, or one that this program does not know")
    return Envelope(header.order_id, header.number, body())


class Header(Struct, frozen=True):
    """Whose turn an envelope claims to be, readable even when its message is not."""

    order_id: OrderId | None
    number: Number


def split_envelope(data: bytes) -> tuple[Header, Callable[[], Message] | None]:
    """Read an envelope's header and give a way to decode its message; None when it has none that is known.

    Raises: Rejected{MALFORMED} when even the header can't be read, which is a fault of the protocol.
    """
    proto = stream_pb2.Envelope()
    try:
        proto.ParseFromString(data)
    except DecodeError:
        raise Malformed("Envelope", "does not parse") from None
    if len(proto.order_id) not in (0, 16) or not 1 <= proto.number < 2**62:
        raise Malformed("Envelope", "needs a conversation of 0 or 16 bytes and a number from 1")
    header = Header(OrderId(proto.order_id) if proto.order_id else None, Number(proto.number))
    name = proto.WhichOneof("body")
    if name is None:
        return header, None
    return header, lambda: cast(Message, _codec(MESSAGE_TYPES[name]).decode(getattr(proto, name)))


# How a codec is compiled


class _Codec(Struct, frozen=True):
    proto: type[Proto]
    decode: Decode
    encode: Encode


def _join(payload: bytes, signature: bytes, key_id: bytes) -> bytes:
    return signed_pb2.Signed(payload=payload, signature=signature, key_id=key_id).SerializeToString(deterministic=True)


_MODULES: tuple[ModuleType, ...] = (signed_pb2, asset_pb2, device_pb2, order_pb2, evidence_pb2, stream_pb2, enrollment_pb2)
_codecs: dict[type, _Codec] = {}


def _proto_class(cls: type) -> type[Proto]:
    name = "Rejected" if cls is messages.RejectedMessage else cls.__name__
    for module in _MODULES:
        if hasattr(module, name):
            return cast("type[Proto]", getattr(module, name))
    raise LookupError(f"the contract has no message {name}")


def _codec(cls: type) -> _Codec:
    codec = _codecs.get(cls)
    if codec is None:
        codec = _codecs[cls] = _compile(cls)
    return codec


def _compile(cls: type) -> _Codec:
    proto_class = _proto_class(cls)
    hints = get_type_hints(cls, include_extras=True)
    descriptors = proto_class.DESCRIPTOR.fields_by_name
    fields = [(f.name, *_field(hints[f.name], descriptors[f.name])) for f in structs.fields(cls)]
    readers = [reader for _, reader, _ in fields]
    plain = [name for name, _, writer in fields if writer is _same]
    converted = [(name, writer) for name, _, writer in fields if writer is not _same]

    def decode_fields(proto: Any) -> Any:
        try:
            return cls(*[reader(proto) for reader in readers])
        except ValueError as error:
            raise Malformed(cls.__name__, str(error)) from None

    def encode_fields(value: Any) -> Any:
        given = {name: field for name in plain if (field := getattr(value, name)) is not None}
        for name, writer in converted:
            if (field := getattr(value, name)) is not None:
                given[name] = writer(field)
        return proto_class(**given)

    return _Codec(proto_class, decode_fields, encode_fields)


def _field(hint: Any, descriptor: Any) -> tuple[Decode, Encode]:
    """Give how to read a field from a message, and how to write its value."""
    name, path = descriptor.name, descriptor.full_name.removeprefix("energyshare.v1.")
    hint, bounds = _bounds(hint)
    if get_origin(hint) in (UnionType, Union):
        inner, inner_bounds = _bounds(next(arg for arg in get_args(hint) if arg is not NoneType))
        read, write = _value(inner, inner_bounds, path)
        if descriptor.has_presence:
            return (lambda proto: read(getattr(proto, name)) if proto.HasField(name) else None), write
        return (lambda proto: read(raw) if (raw := getattr(proto, name)) else None), write
    if get_origin(hint) is tuple:
        inner, inner_bounds = _bounds(get_args(hint)[0])
        read, write = _value(inner, inner_bounds, path)
        return _repeated(name, path, read, bounds or Between(0, 1_000)), lambda values: [write(value) for value in values]
    if get_origin(hint) is not None and issubclass(cast(type, get_origin(hint)), Mapping):
        return _string_map(name, path), dict
    read, write = _value(hint, bounds, path)
    if descriptor.message_type is not None:
        return _required(name, path, read), write
    return (lambda proto: read(getattr(proto, name))), write


def _bounds(hint: Any) -> tuple[Any, Between | None]:
    if get_origin(hint) is Annotated:
        inner, *extras = get_args(hint)
        return inner, next((extra for extra in extras if isinstance(extra, Between)), None)
    return hint, None


def _required(name: str, path: str, read: Decode) -> Decode:
    def reader(proto: Any) -> Any:
        if not proto.HasField(name):
            raise Malformed(path, "is required")
        return read(getattr(proto, name))

    return reader


def _repeated(name: str, path: str, read: Decode, bounds: Between) -> Decode:
    def reader(proto: Any) -> Any:
        values = getattr(proto, name)
        if not bounds.least <= len(values) <= bounds.most:
            raise Malformed(path, f"must hold {bounds.least} to {bounds.most} values, not {len(values)}")
        return tuple([read(value) for value in values])

    return reader


def _string_map(name: str, path: str) -> Decode:
    def reader(proto: Any) -> Any:
        values = dict(getattr(proto, name))
        if len(values) > 20 or any(len(key) > 64 or len(value) > 500 for key, value in values.items()):
            raise Malformed(path, "must hold at most 20 short texts")
        return values

    return reader


def _value(hint: Any, bounds: Between | None, path: str) -> tuple[Decode, Encode]:
    """Give how to check and convert one value of a type."""
    if hint in BYTE_LENGTHS:
        return _bytes(path, Between(BYTE_LENGTHS[hint], BYTE_LENGTHS[hint])), _same
    if hint is Instant:
        return _instant(path), lambda value: Timestamp(seconds=value // 1_000_000, nanos=value % 1_000_000 * 1_000)
    if hint in RANGES:
        return _number(path, bounds or Between(*RANGES[hint])), _same
    plain = getattr(hint, "__supertype__", hint)
    if plain is bool:
        return _same, _same
    if plain is int:
        return _number(path, bounds or Between(-(2**62), 2**62)), _same
    if plain is str:
        return _text(path, bounds or Between(0, 500)), _same
    if plain is bytes:
        return _bytes(path, bounds or Between(0, 100_000)), _same
    if issubclass(plain, IntEnum):
        return _enum(path, plain), int
    if issubclass(plain, Struct):
        codec = _codec(cast(type, plain))
        return codec.decode, codec.encode
    raise TypeError(f"no codec for {path}: {hint}")


def _same(value: Any) -> Any:
    return value


def _bytes(path: str, bounds: Between) -> Decode:
    least, most = bounds.least, bounds.most

    def read(value: bytes) -> bytes:
        if not least <= len(value) <= most:
            raise Malformed(path, f"must be {least} bytes" if least == most else f"must be {least} to {most} bytes")
        return value

    return read


def _number(path: str, bounds: Between) -> Decode:
    least, most = bounds.least, bounds.most

    def read(value: int) -> int:
        if not least <= value <= most:
            raise Malformed(path, f"must be from {least} to {most}, not {value}")
        return value

    return read


def _text(path: str, bounds: Between) -> Decode:
    def read(value: str) -> str:
        if not bounds.least <= len(value) <= bounds.most or not value.isprintable():
            raise Malformed(path, f"must be {bounds.least} to {bounds.most} printable characters")
        return value

    return read


def _instant(path: str) -> Decode:
    def read(value: Timestamp) -> int:
        if not 0 < value.seconds <= INSTANT_MAX_S or not 0 <= value.nanos < 1_000_000_000:
            raise Malformed(path, "is no time after 1970")
        return value.seconds * 1_000_000 + value.nanos // 1_000

    return read


def _enum(path: str, enum: type[IntEnum]) -> Decode:
    members = {int(member): member for member in enum}

    def read(value: int) -> IntEnum:
        member = members.get(value)
        if member is None:
            raise Malformed(path, "is unset or not known")
        return member

    return read


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


ENVELOPE_FIELDS: dict[type, str] = {
    cls: "rejected" if cls is messages.RejectedMessage else _snake(cls.__name__) for cls in get_args(Message)
}
MESSAGE_TYPES: dict[str, type] = {name: cls for cls, name in ENVELOPE_FIELDS.items()}
BODY_TYPES: tuple[type[Body], ...] = tuple(
    value for name, value in vars(bodies).items() if name.endswith("Body") and isinstance(value, type) and value is not Body
)
