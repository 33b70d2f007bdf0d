"""Stored pixels to displayed grayscale: safe decoding and the one display pipeline."""

from imaging.decode import decodable_transfer_syntaxes, load_displayed, stored_pixels_sha256
from imaging.display import display
from imaging.display_facts import DisplayFacts, display_facts
from imaging.displayed import DisplayedImage
from imaging.flavours import Flavour
from imaging.header import read_header
from imaging.limits import DecodeLimits
from imaging.lookup import LookupTable, VoiFunction, Window

__all__ = [
    "DecodeLimits",
    "DisplayFacts",
    "DisplayedImage",
    "Flavour",
    "LookupTable",
    "VoiFunction",
    "Window",
    "decodable_transfer_syntaxes",
    "display",
    "display_facts",
    "load_displayed",
    "read_header",
    "stored_pixels_sha256",
]
