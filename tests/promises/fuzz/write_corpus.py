"""Writes the corpus: data sets and associations that are wrong in one way each, made up from nothing.

Run it from the repository's root after a change here::

    python -m tests.promises.fuzz.write_corpus
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

from tests.promises.fuzz.wire import (
    C_STORE_RSP,
    COMMAND,
    CR_IMAGE,
    LAST,
    RELEASE,
    command_set,
    data_value,
    element,
    pdu,
    request,
    store,
    store_command,
)

CORPUS = Path(__file__).parent / "corpus"
UID = "2.25.77"
_ITEM, _ITEM_END, _SEQUENCE_END = b"\xfe\xff\x00\xe0", b"\xfe\xff\x0d\xe0", b"\xfe\xff\xdd\xe0"
_UNDEFINED = b"\xff\xff\xff\xff"
_PIXELS = (0x7FE0, 0x0010)


def explicit(tag: tuple[int, int], vr: bytes, value: bytes, *, length: int | None = None) -> bytes:
    """An element in Explicit VR Little Endian, with a length that may lie."""
    told = len(value) if length is None else length
    if vr in (b"OB", b"OW", b"SQ", b"UN", b"UT", b"OF"):
        return struct.pack("<HH2sHL", *tag, vr, 0, told) + value
    return struct.pack("<HH2sH", *tag, vr, told & 0xFFFF) + value


def header(uid: str = UID) -> bytes:
    """What identifies an object, in ascending order."""
    padded = (uid + "\0" * (len(uid) % 2)).encode()
    sop_class = (CR_IMAGE + "\0" * (len(CR_IMAGE) % 2)).encode()
    return b"".join(
        (
            explicit((0x0008, 0x0016), b"UI", sop_class),
            explicit((0x0008, 0x0018), b"UI", padded),
            explicit((0x0008, 0x0060), b"CS", b"CR"),
            explicit((0x0010, 0x0010), b"PN", b"Made^Up "),
            explicit((0x0020, 0x000D), b"UI", b"2.25.78\0"),
            explicit((0x0020, 0x000E), b"UI", b"2.25.79\0"),
        )
    )


def pixels(value: bytes = b"\0" * 512) -> bytes:
    """A tiny image."""
    return (
        explicit((0x0028, 0x0010), b"US", struct.pack("<H", 16))
        + explicit((0x0028, 0x0011), b"US", struct.pack("<H", 16))
        + explicit((0x0028, 0x0100), b"US", struct.pack("<H", 16))
        + explicit(_PIXELS, b"OW", value)
    )


def nested(depth: int, *, undefined: bool, close: bool = True) -> bytes:
    """Sequences in items in sequences."""
    content = b""
    for _ in range(depth):
        if undefined:
            item = _ITEM + _UNDEFINED + content + _ITEM_END + bytes(4)
            end = _SEQUENCE_END + bytes(4) if close else b""
            content = explicit((0x0008, 0x1140), b"SQ", item + end, length=0xFFFFFFFF)
        else:
            content = explicit((0x0008, 0x1140), b"SQ", _ITEM + struct.pack("<L", len(content)) + content)
    return content


def fragments(*pieces: bytes, end: bool = True) -> bytes:
    """Encapsulated pixels (PS3.5 Annex A.4)."""
    items = b"".join(_ITEM + struct.pack("<L", len(piece)) + piece for piece in pieces)
    return explicit(_PIXELS, b"OB", items + (_SEQUENCE_END + bytes(4) if end else b""), length=0xFFFFFFFF)


def _deflated(content: bytes) -> bytes:
    deflater = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return deflater.compress(content) + deflater.flush()


# Name (context ID of the syntax it is sent in, what is wrong) -> encoded data set.
DATASETS = {
    "01-whole": header() + pixels(),
    "01-empty": b"",
    "01-one-byte": b"\x08",
    "01-cut-off-in-a-uid": header()[:30],
    "01-no-pixels": header(),
    "01-pixels-cut-off": header() + pixels()[:-200],
    "01-length-of-4-gigabytes": header() + explicit(_PIXELS, b"OW", b"\0" * 64, length=0xFFFFFFFE),
    "01-uid-length-beyond-the-end": explicit((0x0008, 0x0018), b"UI", b"2.25", length=0xFFFF) + header(),
    "01-uid-of-3000-bytes": explicit((0x0008, 0x0018), b"UI", b"1." * 1500),
    "01-uid-with-a-path": header("../../etc/x"),
    "01-uid-with-nulls": header("2.25.77\0\0\0"),
    "01-repeated-uid": header() + explicit((0x0008, 0x0018), b"UI", b"2.25.80\0") + pixels(),
    "01-descending": pixels() + header(),
    "01-group-2-in-the-data-set": explicit((0x0002, 0x0010), b"UI", b"1.2.840.10008.1.2\0")
    + header()
    + pixels(),
    "01-implicit-though-explicit-was-said": element(0x0018, b"2.25.77\0", group=0x0008),
    "01-vr-of-no-standard": explicit((0x0008, 0x0005), b"ZZ", b"x ") + header() + pixels(),
    "01-lower-case-vr": explicit((0x0008, 0x0005), b"cs", b"x ") + header() + pixels(),
    "01-nested-2000-deep-undefined": nested(2000, undefined=True) + header() + pixels(),
    "01-nested-300-deep-defined": nested(300, undefined=False) + header() + pixels(),
    "01-sequences-never-close": nested(500, undefined=True, close=False) + header(),
    "01-item-end-without-item": _ITEM_END + bytes(4) + header(),
    "01-sequence-end-without-sequence": _SEQUENCE_END + bytes(4) + header(),
    "01-item-longer-than-its-sequence": explicit((0x0008, 0x1140), b"SQ", _ITEM + b"\xff\xff\xff\x7f")
    + header(),
    "01-item-length-4-gigabytes": explicit(
        (0x0008, 0x1140), b"SQ", _ITEM + b"\xfe\xff\xff\xff", length=0xFFFFFFFF
    ),
    "01-3000-empty-items": explicit((0x0008, 0x1140), b"SQ", (_ITEM + bytes(4)) * 3000) + header() + pixels(),
    "01-element-in-place-of-item": explicit((0x0008, 0x1140), b"SQ", header(), length=0xFFFFFFFF),
    "01-undefined-length-text": explicit((0x0010, 0x4000), b"UT", b"x", length=0xFFFFFFFF) + header(),
    "01-odd-lengths": explicit((0x0008, 0x0070), b"LO", b"abc") + header() + pixels(b"\0" * 511),
    "03-explicit-though-implicit-was-said": header() + pixels(),
    "03-implicit": b"".join(
        (
            element(0x0016, (CR_IMAGE + "\0").encode(), group=0x0008),
            element(0x0018, b"2.25.77\0", group=0x0008),
            element(0x000D, b"2.25.78\0", group=0x0020),
            element(0x000E, b"2.25.79\0", group=0x0020),
        )
    ),
    "05-little-endian-though-big-was-said": header() + pixels(),
    "07-not-deflated": header() + pixels(),
    "07-deflated": _deflated(header() + pixels()),
    "07-deflated-cut-off": _deflated(header() + pixels())[:40],
    "07-deflates-to-20-megabytes": _deflated(header() + explicit(_PIXELS, b"OW", bytes(20 << 20))),
    "07-deflates-to-a-text-of-20-megabytes-before-the-uids": _deflated(
        explicit((0x0008, 0x0001), b"UT", bytes(20 << 20)) + header()
    ),
    "09-fragments": header() + fragments(b"", b"\xff\xd8\xff\xd9"),
    "09-no-fragment-at-all": header() + fragments(),
    "09-no-end-of-fragments": header() + fragments(b"", b"\xff\xd8\xff\xd9", end=False),
    "09-offsets-beyond-the-end": header() + fragments(b"\xff\xff\xff\xff" * 8, b"\xff\xd8"),
    "09-2000-empty-fragments": header() + fragments(*[b""] * 2000),
    "09-fragment-cut-off": header() + fragments(b"", b"\xff\xd8" * 300)[:-200],
    "09-pixels-not-encapsulated": header() + pixels(),
}

_WHOLE = DATASETS["01-whole"]
_COMMAND = store_command(UID)
_REQUEST = request()


def _aborted(content: bytes) -> bytes:
    return _REQUEST + content + RELEASE


# Name -> the bytes of one connection.
ASSOCIATIONS = {
    "nothing": b"",
    "request-cut-off": _REQUEST[:90],
    "request-twice": _REQUEST * 2,
    "request-without-contexts": pdu(_REQUEST[6:74], kind=0x01),
    "request-with-item-lengths-of-65535": pdu(_REQUEST[6:76] + b"\xff\xff" + _REQUEST[78:], kind=0x01),
    "answer-in-place-of-a-request": pdu(_REQUEST[6:], kind=0x02),
    "data-before-the-request": store(_WHOLE, UID) + _REQUEST,
    "whole-object": _aborted(store(_WHOLE, UID)),
    "whole-object-in-pieces-of-one-byte": _aborted(store(_WHOLE, UID, step=1)),
    "empty-data-pdu": _aborted(pdu(b"")),
    "empty-data-values": _aborted(
        pdu(data_value(1, COMMAND | LAST, _COMMAND))
        + pdu(data_value(1, 0, b"") * 50 + data_value(1, LAST, _WHOLE))
    ),
    "data-value-of-length-0": _aborted(pdu(data_value(1, COMMAND | LAST, _COMMAND, length=0))),
    "data-value-longer-than-its-pdu": _aborted(pdu(data_value(1, COMMAND | LAST, _COMMAND, length=1 << 20))),
    "data-value-cut-off": _aborted(pdu(b"\0\0\0")),
    "pdu-of-4-gigabytes": _aborted(pdu(b"x" * 100, length=0xFFFFFFFF)),
    "pdu-of-a-megabyte-that-never-comes": _aborted(pdu(b"x" * 100, length=1 << 20)),
    "context-that-was-not-accepted": _aborted(pdu(data_value(99, COMMAND | LAST, _COMMAND))),
    "data-on-another-context": _aborted(
        pdu(data_value(1, COMMAND | LAST, _COMMAND)) + pdu(data_value(3, LAST, _WHOLE))
    ),
    "data-without-command": _aborted(pdu(data_value(1, LAST, _WHOLE))),
    "command-in-the-middle-of-data": _aborted(
        pdu(
            data_value(1, COMMAND | LAST, _COMMAND)
            + data_value(1, 0, _WHOLE)
            + data_value(1, COMMAND | LAST, _COMMAND)
        )
    ),
    "command-in-pieces": _aborted(
        b"".join(pdu(data_value(1, COMMAND, _COMMAND[n : n + 1])) for n in range(len(_COMMAND) - 1))
        + pdu(data_value(1, COMMAND | LAST, _COMMAND[-1:]))
        + pdu(data_value(1, LAST, _WHOLE))
    ),
    "command-without-end": _aborted(pdu(data_value(1, COMMAND, b"\0" * 30_000)) * 4),
    "command-of-another-group": _aborted(pdu(data_value(1, COMMAND | LAST, element(1, b"", group=8)))),
    "command-with-length-beyond-the-end": _aborted(
        pdu(data_value(1, COMMAND | LAST, element(0x0100, b"\1\0", length=0xFFFFFFFF)))
    ),
    "command-nobody-knows": _aborted(
        pdu(
            data_value(1, COMMAND | LAST, command_set(element(0x0100, b"\x77\x01"), element(0x0800, b"\1\1")))
        )
    ),
    "store-without-uids": _aborted(
        pdu(data_value(1, COMMAND | LAST, command_set(element(0x0100, b"\1\0"), element(0x0800, b"\1\0"))))
        + pdu(data_value(1, LAST, _WHOLE))
    ),
    "store-without-data-set": _aborted(
        pdu(
            data_value(
                1, COMMAND | LAST, _COMMAND.replace(b"\0\0\0\x08\2\0\0\0\1\0", b"\0\0\0\x08\2\0\0\0\1\1")
            )
        )
    ),
    "store-of-another-object-than-its-data-set": _aborted(store(_WHOLE, "2.25.1234")),
    "store-without-its-last-piece": _aborted(
        pdu(data_value(1, COMMAND | LAST, _COMMAND)) + pdu(data_value(1, 0, _WHOLE))
    ),
    "response-nobody-asked-for": _aborted(
        pdu(
            data_value(
                1,
                COMMAND | LAST,
                command_set(element(0x0100, struct.pack("<H", C_STORE_RSP)), element(0x0800, b"\1\1")),
            )
        )
    ),
    "cancel": _aborted(
        pdu(
            data_value(1, COMMAND | LAST, command_set(element(0x0100, b"\xff\x0f"), element(0x0800, b"\1\1")))
        )
    ),
    "pdu-of-no-known-kind": _aborted(pdu(b"x" * 20, kind=0x42)),
    "data-after-release": _REQUEST + RELEASE + store(_WHOLE, UID),
    "abort-in-the-middle": _REQUEST + store(_WHOLE, UID, step=200)[:700] + pdu(bytes(4), kind=0x07),
}


def files() -> dict[str, bytes]:
    """Every file of the corpus by its name."""
    return {
        **{f"dataset-{name}.bin": content for name, content in DATASETS.items()},
        **{f"association-{name}.bin": content for name, content in ASSOCIATIONS.items()},
    }


def main() -> None:
    """Write them."""
    CORPUS.mkdir(exist_ok=True)
    for old in CORPUS.glob("*.bin"):
        old.unlink()
    for name, content in files().items():
        (CORPUS / name).write_bytes(content)


if __name__ == "__main__":
    main()
