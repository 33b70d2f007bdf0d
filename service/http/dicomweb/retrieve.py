"""WADO-RS (PS3.18 section 10.4): objects, metadata, frames and pictures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from threading import BoundedSemaphore

from clinical import Permanent, RadDraftError
from imaging import DecodeLimits, read_header
from service.book.catalogue import Criteria, Found, Level, Source, shown_objects
from service.house import House
from service.http.dicomweb.catalogue import Cataloguer
from service.http.dicomweb.dicom_json import Json, header_json
from service.http.dicomweb.frames import StoredFrames, rendered, stored_frames
from service.http.dicomweb.search import retrieve_url

_PIECE_BYTES = 1 << 20
# Each of these holds a whole object in memory.
_AT_ONCE = 4


class Archive:
    """What the book holds, as a viewer retrieves it."""

    def __init__(self, house: House, cataloguer: Cataloguer) -> None:
        self._house = house
        self._cataloguer = cataloguer
        self._whole_objects = BoundedSemaphore(_AT_ONCE)
        decode = house.settings.decode
        self._limits = DecodeLimits(
            timeout_s=decode.timeout_s, memory_bytes=decode.memory_bytes, max_pixels=decode.max_pixels
        )

    def find(self, study_uid: str, series_uid: str = "", sop_uid: str = "") -> tuple[Found, ...]:
        """Shown objects of a study, of one of its series, or one of its objects."""
        self._cataloguer.catch_up()
        criteria = Criteria(
            study_instance_uids=(study_uid,),
            series_instance_uids=(series_uid,) if series_uid else (),
            sop_instance_uids=(sop_uid,) if sop_uid else (),
        )
        return shown_objects(self._house.book.engine, criteria)

    def path(self, found: Found) -> Path:
        """Where the object's file lies."""
        spool = self._house.spool if found.source is Source.RECEIVED else self._house.results
        return spool.path(found.spool_key)

    def transfer_syntax_uid(self, found: Found) -> str:
        """How the object is stored."""
        return str(read_header(self.path(found)).file_meta.TransferSyntaxUID)

    def pieces(self, found: Found) -> Iterator[bytes]:
        """The object's file, piece by piece."""
        spool = self._house.spool if found.source is Source.RECEIVED else self._house.results
        with spool.open(found.spool_key) as file:
            while piece := file.read(_PIECE_BYTES):
                yield piece

    def metadata(self, objects: Iterable[Found], base_url: str) -> list[Json]:
        """Headers as DICOM JSON; a file that cannot be read is told by its UIDs alone."""
        return [self._metadata(found, base_url) for found in objects]

    def _metadata(self, found: Found, base_url: str) -> Json:
        url = retrieve_url(Level.INSTANCE, found, base_url)
        try:
            header = read_header(self.path(found))
        except RadDraftError:
            return {
                "00080016": {"vr": "UI", "Value": [found.sop_class_uid]},
                "00080018": {"vr": "UI", "Value": [found.sop_instance_uid]},
                "0020000D": {"vr": "UI", "Value": [found.study_instance_uid]},
                "0020000E": {"vr": "UI", "Value": [found.series_instance_uid]},
            }
        return header_json(header, bulk_data_uri=lambda tag: f"{url}/bulkdata/{tag}")

    def bulk_data(self, found: Found, tag: str) -> bytes:
        """Value of one attribute that `metadata` gave by its address.

        Raises
        ------
        Permanent
            ``no-bulk-data``.
        """
        with self._whole_objects:
            element = read_header(self.path(found)).get(int(tag, 16))
        if element is None or not isinstance(element.value, bytes):
            raise Permanent("no-bulk-data", "the object has no such value of bytes")
        return element.value

    def frames(self, found: Found, numbers: Sequence[int]) -> StoredFrames:
        """Frames as they are stored; raises as `stored_frames` does."""
        with self._whole_objects:
            return stored_frames(self.path(found), numbers)

    def picture(self, found: Found, *, is_png: bool, longest_px: tuple[int, int] | None) -> bytes:
        """The object as a picture; raises as `rendered` does."""
        with self._whole_objects:
            return rendered(found, self.path(found), self._limits, is_png=is_png, longest_px=longest_px)
