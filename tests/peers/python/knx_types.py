"""What xknx makes of values of datapoint types: a list of questions as a line of JSON in, the list of answers out.

{"dpt": "9.001", "payload": [12, 26]} is answered with {"value": …}, {"dpt": "9.001", "value": 21.0} with {"payload": […]};
a payload of up to six bits is a number. {"unknown": true} is a type that xknx does not have, {"error": …} what it refuses.
"""

import datetime
import enum
import json
import math
import sys
from dataclasses import asdict, is_dataclass
from importlib.metadata import version

from xknx.dpt import DPTArray, DPTBase, DPTBinary


def plain(value):
    if isinstance(value, enum.Enum):
        return {"enum": value.value if isinstance(value.value, (int, bool)) else value.name}
    if is_dataclass(value):
        return {key: plain(field) for key, field in asdict(value).items()}
    if isinstance(value, (datetime.date, datetime.time, datetime.datetime)):
        return value.isoformat()
    if isinstance(value, (list, tuple)):
        return [plain(field) for field in value]
    if isinstance(value, dict):
        return {str(key): plain(field) for key, field in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, (bytes, bytearray)):
        return list(value)
    return value


def answer(order):
    transcoder = DPTBase.parse_transcoder(order["dpt"])
    if transcoder is None:
        return {"unknown": True}
    try:
        if "payload" in order:
            raw = order["payload"]
            payload = DPTBinary(raw) if isinstance(raw, int) else DPTArray(tuple(raw))
            decoded = transcoder.from_knx(payload)
            again = transcoder.to_knx(decoded).value
            again = list(again) if isinstance(again, tuple) else again
            return {"value": plain(decoded), "again": again}
        encoded = transcoder.to_knx(order["value"]).value
        return {"payload": list(encoded) if isinstance(encoded, tuple) else encoded}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


print(f"READY {version('xknx')}", flush=True)
for line in sys.stdin:
    print(json.dumps([answer(order) for order in json.loads(line)]), flush=True)
