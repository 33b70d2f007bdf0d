"""Words by which headers name body parts and views, in the languages DICOM headers are commonly written in.

A phrase is one or more whole words; a trailing ``*`` stands for any ending. Words of scripts without spaces are
looked for anywhere. Case, accents and punctuation do not count.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

CHEST = (
    "chest*", "thorax", "thorac*", "thorak*", "torax", "torac*", "lung*", "pulmo*", "poumon*", "cxr", "chst",
    "brustkorb", "petto", "klatk*", "bröstkorg", "грудн*", "грудь", "легк*", "огк", "胸", "흉부", "ทรวงอก",
)  # fmt: skip

# Looked for first and taken out: they hold a chest word and mean something else.
CHEST_LOOKALIKE = (
    "thoracic spine", "thoracic vertebra*", "thoracic inlet", "thoracic outlet", "t spine", "th spine",
    "thoracolumbar*", "thorakolumbal*", "thorakalwirbel*", "columna toracica", "coluna toracica",
    "colonna toracica", "rachis thoracique", "грудной отдел позвоночника", "грудного отдела позвоночника",
    "胸椎", "胸骨", "흉추",
)  # fmt: skip

OTHER_PART = (
    # spine
    "spine", "*spine", "vertebra*", "wirbel*", "bws", "hws", "lws", "rachis", "columna", "coluna", "colonna",
    "позвон*", "cervical*", "cervico*", "lumbar*", "lumbal*", "lumbo*", "sacr*", "coccyx", "腰椎", "頚椎",
    # arm
    "shoulder*", "schulter*", "epaule*", "hombro*", "ombro*", "spalla", "плеч*", "clavicl*", "scapula*",
    "humer*", "upper extremit*", "elbow*", "ellenbogen*", "coude*", "codo", "локо*", "forearm*",
    "radius", "ulna", "wrist*", "poignet*", "hands", "mano", "finger*", "thumb*", "кист*",
    # leg
    "hip", "hips", "hufte*", "hanche*", "cadera*", "pelvis*", "pelvic", "becken*", "bassin", "таз",
    "тазобедр*", "femur*", "thigh*", "knee*", "knie*", "genou*", "rodilla*", "колен*", "patella*", "tibia*",
    "fibula*", "legs", "lower extremit*", "extremit*", "ankle*", "cheville*", "foot", "feet", "fuss",
    "pied", "toe", "toes", "calcan*", "heel*", "стоп*", "голен*",
    # head and neck
    "skull*", "schadel*", "crane", "craneo", "череп*", "sinus*", "facial", "nasal*", "orbit*",
    "mandib*", "maxill*", "jaw*", "tmj", "teeth", "tooth", "dental*", "dent", "zahn*", "opg", "panoram*",
    "ceph*", "larynx", "зуб*", "челюст*",
    # trunk
    "abdom*", "abd", "kub", "bauch", "ventre", "брюш*", "腹部", "복부", "urogra*", "renal", "kidney*",
    "bladder", "breast*", "mammo*", "mama", "mamma", "rib", "ribs", "ripp*", "sternum", "ребр*",
    # whole body
    "whole body", "bone age", "skeletal survey", "scoliosis", "babygram",
)  # fmt: skip

# Names of parts as Body Part Examined gives them (PS3.16 Annex L); in running text they mean too many other things
# ("head up 45", "C-arm", French "face" for a frontal view).
PART_NAMES = ("head", "face", "arm", "leg", "neck", "hand")

FRONTAL = (
    "pa", "ap", "frontal*", "front", "face", "face frontal", "antero posterior", "anteroposterior",
    "postero anterior", "posteroanterior", "прям*", "正面",
)  # fmt: skip
DECUBITUS = ("decub*", "lld", "rld", "cross table")
OBLIQUE = (
    "obliq*", "llo", "rlo", "lao", "rao", "lpo", "rpo", "lordotic", "apical", "axial", "swimmer*",
    "schrag*", "кос*", "斜位",
)  # fmt: skip
LATERAL = (
    "lateral*", "latero*", "lat", "llat", "rlat", "ll", "rl", "lt lat", "rt lat", "seitl*", "profil*",
    "perfil", "боков*", "側面",
)  # fmt: skip

_WORD = re.compile(r"[^\W_]+")
# Thai, Hangul (as decomposed letters), kana and Chinese characters.
_UNSPACED = re.compile(r"[\u0e00-\u0e7f\u1100-\u11ff\u3040-\u30ff\u4e00-\u9fff]")


def normalised(text: str) -> str:
    """`text` in lower case, without accents, words separated by single spaces, one space at either end."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    plain = "".join(char for char in decomposed if not unicodedata.combining(char))
    return " " + " ".join(_WORD.findall(plain)) + " "


def names_any(text: str, phrases: Iterable[str]) -> bool:
    """Whether `text` holds one of `phrases`."""
    words = normalised(text)
    return any(_pattern(phrase).search(words) for phrase in phrases)


def without(text: str, phrases: Iterable[str]) -> str:
    """Words of `text` that are not part of one of `phrases`."""
    words = normalised(text)
    for phrase in phrases:
        words = _pattern(phrase).sub(" ", words)
    return words


@lru_cache(maxsize=1024)
def _pattern(phrase: str) -> re.Pattern[str]:
    words = normalised(phrase.replace("*", "")).strip()
    if _UNSPACED.search(words):
        return re.compile(re.escape(words))
    start = r"\S*" if phrase.startswith("*") else ""
    end = r"\S*" if phrase.endswith("*") else ""
    return re.compile(rf"(?<=\s){start}{re.escape(words)}{end}(?=\s)")
