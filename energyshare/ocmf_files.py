"""Files that hold OCMF records: texts of one or several, and the XML container of transparency software.

The container is `values` with a `value` for each record: `signedData` holds it, `publicKey` may hold the key. A document type
is refused, and with it every entity that could grow.
Source: S.A.F.E. e.V., transparenzsoftware, XML format.
"""

import re
from base64 import b64decode
from collections.abc import Iterator
from xml.etree import ElementTree

from msgspec import Struct

from energyshare.ocmf_fields import Fault, OcmfError

FILE_BYTES_MAX = 4 * 2**20
RECORDS_MAX = 10_000
RECORD_START = re.compile(r"^[ \t]*(?=OCMF\|)", re.MULTILINE)  # no JSON text holds a line break
DATA = ("signedData", "encodedData")


class Sealed(Struct, frozen=True):
    """A record as a file holds it, with the key that came along."""

    place: str
    text: str
    key: bytes | None


def sealed_of(data: bytes) -> list[Sealed]:
    """Find the records of a file; raises OcmfError{FORMAT} when there is none."""
    if len(data) > FILE_BYTES_MAX:
        raise OcmfError(Fault.FORMAT, "", f"the file is {len(data):,} bytes long; {FILE_BYTES_MAX:,} are read")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise OcmfError(Fault.FORMAT, "", f"the file is not UTF-8 at byte {error.start}") from None
    found = list(_of_xml(text) if text.lstrip().startswith("<") else _of_text(text))
    if not 1 <= len(found) <= RECORDS_MAX:
        raise OcmfError(Fault.FORMAT, "", f"the file holds {len(found):,} records; it takes 1 to {RECORDS_MAX:,}")
    return found


def _of_text(text: str) -> Iterator[Sealed]:
    before, *records = RECORD_START.split(text)
    if before.strip():
        raise OcmfError(Fault.FORMAT, "", "the file does not begin with OCMF|")
    for number, record in enumerate(records, 1):
        yield Sealed(f"record {number}", record, None)


def _of_xml(text: str) -> Iterator[Sealed]:
    if "<!DOCTYPE" in text:
        raise OcmfError(Fault.FORMAT, "", "the XML has a document type; a container of records has none")
    try:
        root = ElementTree.fromstring(text)  # noqa: S314 - there is no document type, so no entity
    except (ElementTree.ParseError, ValueError) as error:
        raise OcmfError(Fault.FORMAT, "", f"is not XML that can be read: {error}") from None
    for number, value in enumerate(root.iter("value"), 1):
        yield _of_value(value, f"record {number}")


def _of_value(value: ElementTree.Element, place: str) -> Sealed:
    found = [element for name in DATA for element in value.findall(name)]
    keys = value.findall("publicKey")
    if len(found) != 1 or len(keys) > 1:
        problem = f"has {len(found)} signed parts and {len(keys)} keys; it takes one, and one at most"
        raise OcmfError(Fault.FORMAT, "value", problem, place)
    [data] = found
    if data.get("format", "OCMF") != "OCMF":
        raise OcmfError(Fault.FORMAT, data.tag, f"is {data.get('format')!a}, not OCMF", place)
    return Sealed(place, _text_of(data, place), "".join(map(_content, keys)).encode() or None)


def _text_of(element: ElementTree.Element, place: str) -> str:
    """Give a record's text, as it stands or out of hex or base64."""
    encoding, content = element.get("encoding", "plain"), _content(element)
    try:
        match encoding:
            case "plain" | "":
                return content
            case "hex":
                return bytes.fromhex(content).decode()
            case "base64":
                return b64decode("".join(content.split()), validate=True).decode()
    except ValueError:
        raise OcmfError(Fault.FORMAT, element.tag, f"is not {encoding} of a text", place) from None
    raise OcmfError(Fault.FORMAT, element.tag, f"is in an encoding that is not known: {encoding!a}", place)


def _content(element: ElementTree.Element) -> str:
    return "".join(element.itertext()).strip()
