"""A JPEG on a page of a PDF, embedded as the bytes it is."""

from __future__ import annotations

from io import BytesIO

from reportlab.lib.utils import ImageReader
from reportlab.platypus import Flowable


class JpegPicture(Flowable):  # type: ignore[misc]  # reportlab has no types
    """A picture that flows with the text; `width` and `height` in points."""

    def __init__(self, jpeg: bytes, width: float, height: float) -> None:
        super().__init__()
        self._jpeg = jpeg
        self.width, self.height = width, height

    def wrap(self, *_available: float) -> tuple[float, float]:
        """Room it takes, in points."""
        return self.width, self.height

    def draw(self) -> None:
        """Put it on the page."""
        self.canv.drawImage(_Encoded(BytesIO(self._jpeg)), 0, 0, self.width, self.height)


class _Encoded(ImageReader):  # type: ignore[misc]  # reportlab has no types
    """Named after its own bytes; reportlab would decode every picture to give it a name."""

    _dataA = None  # noqa: N815 - reportlab's name: no transparency

    def getRGBData(self) -> bytes:  # noqa: N802 - reportlab's name
        return bytes(self.fp.getvalue())
