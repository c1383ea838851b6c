"""Reads a project file of the ETS with xknxproject and prints what it finds as JSON.

Arguments: the file, and its password if it has one.
"""

import json
import sys

from xknxproject import XKNXProj

project = XKNXProj(sys.argv[1], password=sys.argv[2] if len(sys.argv) > 2 else None).parse()
json.dump(project, sys.stdout)
