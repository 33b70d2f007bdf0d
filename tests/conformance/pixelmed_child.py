"""PixelMed's validator over many files in one Java process: its templates take ten seconds to load, once.

``python pixelmed_child.py JAR FILE...`` prints one JSON list of what it said of each.
"""

from __future__ import annotations

import json
import sys

import jpype

# The templates' conditions need more XPath operations than Java allows by default.
_LIMITS = ("xpathTotalOpLimit", "xpathExprOpLimit", "xpathExprGrpLimit")

if __name__ == "__main__":
    jar, *files = sys.argv[1:]
    jpype.startJVM(*(f"-Djdk.xml.{limit}=0" for limit in _LIMITS), "-Xmx2g", classpath=[jar])
    validator = jpype.JClass("com.pixelmed.validate.DicomSRValidator")()
    print(json.dumps([str(validator.validate(file)) for file in files]))
