"""Whatever comes over the network: the listener lives, keeps within its memory, and accounts for every object.

An object ends in one of three ways: acknowledged (a receipt, a row and a file with exactly the bytes that were sent),
refused with a status, or cut off with its association; in the last two there is neither a row nor a file.
"""

from __future__ import annotations

import os
import secrets
import struct
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.promises.fuzz import wire
from tests.promises.fuzz.parsers import PARSERS, parse
from tests.promises.fuzz.receiver import Receiver, receiver
from tests.promises.fuzz.write_corpus import CORPUS, DATASETS, UID, explicit, files, fragments, header, pixels

# More by hand: RADDRAFT_FUZZ_EXAMPLES=20000.
_EXAMPLES = int(os.environ.get("RADDRAFT_FUZZ_EXAMPLES", "60"))
# What the listener may need beyond what it needs for ordinary objects, whatever comes: a megabyte for each PDU that is
# announced so long, 4 MiB of an inflated header, and the pages of an object whose header is walked through.
_MORE_BYTES_MAX = 48 << 20
_fuzzed = settings(
    max_examples=_EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
)


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    """One listener for all that is sent here; in the end it answers, balances and has kept within its memory."""
    with receiver(tmp_path_factory.mktemp("receiver")) as running:
        for number in range(20):
            dataset = header(f"2.25.9{number}") + pixels(secrets.token_bytes(500_000))
            heard = wire.say(
                running.port, [wire.request(), wire.store(dataset, f"2.25.9{number}"), wire.RELEASE]
            )
            assert heard.store_statuses == [0x0000]
        ordinary_bytes = running.peak_rss_bytes()
        yield running
        assert running.is_well()
        assert running.peak_rss_bytes() < ordinary_bytes + _MORE_BYTES_MAX
        account = running.account()
        assert account.balanced, account.problems
        assert account.acknowledged == running.receipts()


def accounted(far: Receiver, pieces: list[bytes]) -> wire.Heard:
    """Send these bytes; afterwards there is a receipt for each success that was heard, and nothing unfinished."""
    before = far.receipts()
    heard = wire.say(far.port, pieces)
    assert far.receipts() - before == heard.successes
    assert set(far.spool.keys()) == far.rows()
    assert far.unfinished() == []
    assert far.process.is_running()
    return heard


def test_the_corpus_is_what_its_script_writes() -> None:
    written = {path.name: path.read_bytes() for path in CORPUS.glob("*.bin")}
    assert written == files(), "run: python -m tests.promises.fuzz.write_corpus"


def test_what_a_guided_search_found_is_read_or_refused_by_every_parser() -> None:
    found = [path.read_bytes() for path in sorted((CORPUS.parent / "found").glob("*.bin"))]
    read = [parse(bytes((number,)) + content[1:]) for content in found for number in range(len(PARSERS))]
    assert found and any(read) and not all(read)


@pytest.mark.parametrize("name", sorted(path.stem for path in CORPUS.glob("association-*.bin")))
def test_an_association_of_the_corpus_is_accounted_for(far: Receiver, name: str) -> None:
    heard = accounted(far, [(CORPUS / f"{name}.bin").read_bytes()])
    if "whole-object" in name or name.endswith(("empty-data-values", "command-in-pieces")):
        assert heard.store_statuses == [0x0000]
    else:
        assert heard.successes == 0


@pytest.mark.parametrize("name", sorted(DATASETS))
def test_a_data_set_of_the_corpus_is_kept_or_refused_with_a_status(far: Receiver, name: str) -> None:
    heard = accounted(far, stored(DATASETS[name], context_id=int(name[:2])))
    assert len(heard.store_statuses) == 1
    assert heard.store_statuses[0] in (0x0000, 0xA900, 0xC000)


def stored(dataset: bytes, *, context_id: int = 1) -> list[bytes]:
    return [wire.request(), wire.store(dataset, UID, context_id=context_id), wire.RELEASE]


_EXTREMES = st.sampled_from([b"\0\0\0\0", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\1\0\0\0", b"\0\0\0\1"])


@st.composite
def damaged(draw: st.DrawFn, kind: str) -> tuple[str, bytes]:
    """A file of the corpus with a few bytes changed, put in, taken out, doubled or cut off."""
    path = draw(st.sampled_from(sorted(CORPUS.glob(f"{kind}-*.bin"))))
    content = bytearray(path.read_bytes())
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, min(len(content), 2000)))
        action = draw(st.sampled_from(["change", "length", "insert", "remove", "double", "cut"]))
        if action == "change":
            content[at : at + 1] = draw(st.binary(min_size=1, max_size=1))
        elif action == "length":
            content[at : at + 4] = draw(_EXTREMES)
        elif action == "insert":
            content[at:at] = draw(st.binary(min_size=1, max_size=12))
        elif action == "remove":
            del content[at : at + draw(st.integers(1, 40))]
        elif action == "double":
            content[at:at] = content[at : at + draw(st.integers(1, 400))]
        else:
            del content[at:]
    return path.stem, bytes(content)


@_fuzzed
@given(damaged("association"))
def test_damaged_associations_are_accounted_for(far: Receiver, damage: tuple[str, bytes]) -> None:
    accounted(far, [damage[1]])


@_fuzzed
@given(damaged("dataset"))
def test_damaged_data_sets_are_kept_or_refused_with_a_status(
    far: Receiver, damage: tuple[str, bytes]
) -> None:
    name, content = damage
    context_id = int(name.split("-")[1])
    assert len(accounted(far, stored(content, context_id=context_id)).store_statuses) == 1


_LENGTHS = st.one_of(st.none(), st.sampled_from([0, 1, 2, 255, 65535, 1 << 20, 0x7FFFFFFF, 0xFFFFFFFF]))
_COMMANDS = st.one_of(
    st.just(wire.store_command(UID)),
    st.lists(
        st.builds(
            wire.element,
            st.sampled_from([0x0002, 0x0100, 0x0110, 0x0120, 0x0700, 0x0800, 0x0900, 0x1000, 0x9999]),
            st.one_of(
                st.binary(max_size=70), st.sampled_from([b"\1\0", b"\x30\0", b"\1\x80", b"\1\1", b"\x30\1"])
            ),
            length=_LENGTHS,
            group=st.sampled_from([0, 0, 0, 8]),
        ),
        max_size=8,
    ).map(lambda elements: wire.command_set(*elements)),
    st.binary(max_size=100),
)
_VALUES = st.one_of(
    st.builds(wire.data_value, st.just(1), st.just(wire.COMMAND | wire.LAST), _COMMANDS),
    st.builds(wire.data_value, st.just(1), st.sampled_from([0, wire.LAST]), st.just(DATASETS["01-whole"])),
    st.builds(
        wire.data_value,
        st.integers(0, 255),
        st.integers(0, 255),
        st.one_of(_COMMANDS, st.binary(max_size=300)),
        length=_LENGTHS,
    ),
)
_PDUS = st.one_of(
    st.lists(_VALUES, max_size=4).map(lambda values: wire.pdu(b"".join(values))),
    st.just(wire.store(DATASETS["01-whole"], UID)),
    st.builds(wire.pdu, st.binary(max_size=200), kind=st.integers(0, 9), length=_LENGTHS),
    st.just(wire.request()),
    st.just(wire.RELEASE),
)


@_fuzzed
@given(st.lists(_PDUS, max_size=8))
def test_any_order_of_pdus_and_any_lengths_are_accounted_for(far: Receiver, pdus: list[bytes]) -> None:
    accounted(far, [wire.request(), *pdus, wire.RELEASE])


_TAGS = st.tuples(
    st.sampled_from([0x0002, 0x0008, 0x0010, 0x0020, 0x0028, 0x7FE0, 0xFFFE]), st.integers(0, 0x1FF)
)
_VRS = st.sampled_from([b"UI", b"CS", b"PN", b"US", b"SQ", b"OB", b"OW", b"UN", b"UT", b"ZZ", b"\0\0"])
_LEAVES = st.builds(explicit, _TAGS, _VRS, st.binary(max_size=60), length=_LENGTHS)


def _sequences(content: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    items = st.lists(
        st.builds(
            lambda body, length, end: (
                b"\xfe\xff\x00\xe0"
                + struct.pack("<L", len(body) if length is None else length)
                + body
                + (b"\xfe\xff\x0d\xe0" + bytes(4)) * end
            ),
            content,
            _LENGTHS,
            st.booleans(),
        ),
        max_size=3,
    ).map(b"".join)
    return st.builds(
        lambda tag, body, length, end: explicit(
            tag, b"SQ", body + (b"\xfe\xff\xdd\xe0" + bytes(4)) * end, length=length
        ),
        _TAGS,
        items,
        _LENGTHS,
        st.booleans(),
    )


_ELEMENTS = st.recursive(_LEAVES, _sequences, max_leaves=12)
_ENDS = st.one_of(
    st.just(pixels()),
    st.just(b""),
    st.lists(st.binary(max_size=40), max_size=5).map(lambda pieces: fragments(*pieces)),
    st.lists(st.binary(max_size=40), max_size=5).map(lambda pieces: fragments(*pieces, end=False)),
)


@_fuzzed
@given(
    st.lists(_ELEMENTS, max_size=4).map(b"".join),
    st.lists(_ELEMENTS, max_size=4).map(b"".join),
    _ENDS,
    st.sampled_from(sorted(wire.SYNTAXES)),
    st.integers(1, 4000),
    st.integers(0, 1 << 40),
)
def test_any_nesting_and_any_fragments_are_kept_or_refused_with_a_status(
    far: Receiver, before: bytes, after: bytes, end: bytes, context_id: int, step: int, number: int
) -> None:
    uid = f"2.25.1000{number}"
    dataset = before + header(uid) + after + end
    sent = wire.store(dataset, uid, context_id=context_id, step=step)
    heard = accounted(far, [wire.request(), sent, wire.RELEASE])
    assert len(heard.store_statuses) == 1
    if heard.successes:
        assert any(path.read_bytes().endswith(dataset) for path in far.kept_under(uid))


def test_megabytes_of_empty_items_and_long_pdus_stay_within_the_memory(far: Receiver) -> None:
    items = explicit((0x0008, 0x1140), b"SQ", b"\xfe\xff\x00\xe0\0\0\0\0" * 2_000_000, length=0xFFFFFFFF)
    heard = accounted(far, [wire.request(), wire.store(items + header(), UID, step=100_000), wire.RELEASE])
    assert heard.store_statuses == [0xC000]
    long = wire.pdu(wire.data_value(1, 0, bytes((1 << 20) - 6)))
    start = wire.pdu(wire.data_value(1, wire.COMMAND | wire.LAST, wire.store_command(UID)))
    heard = accounted(far, [wire.request(), start, long * 20, wire.RELEASE])
    assert heard.successes == 0
