"""PixelMed's validator over many files in one Java process: its templates take ten seconds to load, once.

``python pixelmed_child.py JAR FILE...`` prints, for each file as soon as it has been read, one line: what was said of
it, as a JSON string. The process may end early; files without a line have not been validated.
"""

from __future__ import annotations

import json
import sys

import jpype

# The templates' conditions need more XPath operations than Java allows by default.
_LIMITS = ("xpathTotalOpLimit", "xpathExprOpLimit", "xpathExprGrpLimit")
# The templates become methods of more than 8,000 bytecodes, which Java interprets unless it is told otherwise.
_FASTER = ("-XX:-DontCompileHugeMethods", "-XX:+UseSerialGC")

if __name__ == "__main__":
    jar, *files = sys.argv[1:]
    jpype.startJVM(*(f"-Djdk.xml.{limit}=0" for limit in _LIMITS), *_FASTER, "-Xmx3g", classpath=[jar])
    validator = jpype.JClass("com.pixelmed.validate.DicomSRValidator")()
    for file in files:
        try:
            said = str(validator.validate(file))
        except Exception as error:
            # An exception of Java's is one of Python's here; its text may quote the file.
            said = f"Error: the validator failed with {type(error).__name__}"
        print(json.dumps(said), flush=True)
