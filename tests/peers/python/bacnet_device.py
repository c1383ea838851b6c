"""A BACnet/IP device made with bacpypes3.

Objects: analog-input 1 (counts up with --tick-ms), analog-value 1 and binary-output 1 (commandable), multi-state-value 1,
and as many more analog values from 100 on as --objects says. Every request is
logged as a line of JSON. Prints `READY <version>` once it listens.
"""

import asyncio
import json
import time

import bacpypes3
from bacpypes3.app import Application
from bacpypes3.argparse import SimpleArgumentParser
from bacpypes3.local.analog import AnalogInputObject, AnalogValueObject, AnalogValueObjectCmd
from bacpypes3.local.binary import BinaryOutputObject
from bacpypes3.local.multistate import MultiStateValueObject

LOG = None




class Device(Application):
    async def indication(self, apdu):
        if LOG:
            entry = {
                "at_ms": int(time.time() * 1000),
                "from": str(apdu.pduSource),
                "service": type(apdu).__name__,
            }
            for name in ("objectIdentifier", "propertyIdentifier", "priority", "monitoredObjectIdentifier", "lifetime"):
                try:
                    value = getattr(apdu, name, None)
                except Exception:
                    value = None
                if value is not None:
                    entry[name] = str(value)
            LOG.write(json.dumps(entry) + "\n")
            LOG.flush()
        await super().indication(apdu)


async def main():
    global LOG
    parser = SimpleArgumentParser()
    parser.add_argument("--objects", type=int, default=0)
    parser.add_argument("--tick-ms", type=int, default=0)
    parser.add_argument("--log")
    parser.add_argument("--max-apdu", type=int, default=1024)
    parser.add_argument("--no-cov", action="store_true")
    args = parser.parse_args()
    if args.log:
        LOG = open(args.log, "a", encoding="utf-8")
    app = Device.from_args(args)
    app.device_object.maxApduLengthAccepted = args.max_apdu
    if args.no_cov:
        from bacpypes3.errors import ExecutionError

        async def refuse(apdu):
            raise ExecutionError(errorClass="resources", errorCode="noSpaceToAddListElement")

        app.do_SubscribeCOVRequest = refuse
    counter = AnalogInputObject(
        objectIdentifier=("analog-input", 1), objectName="counter", presentValue=20.0, covIncrement=0.1,
        units="degrees-celsius", description="counts up",
    )
    app.add_object(counter)
    app.add_object(AnalogValueObjectCmd(
        objectIdentifier=("analog-value", 1), objectName="setpoint", presentValue=5.0, covIncrement=0.1,
        relinquishDefault=5.0, units="degrees-celsius",
    ))
    app.add_object(BinaryOutputObject(
        objectIdentifier=("binary-output", 1), objectName="pump", presentValue="inactive", relinquishDefault="inactive",
    ))
    app.add_object(MultiStateValueObject(
        objectIdentifier=("multi-state-value", 1), objectName="mode", presentValue=1, numberOfStates=4,
    ))
    for number in range(args.objects):
        app.add_object(AnalogValueObject(
            objectIdentifier=("analog-value", 100 + number), objectName=f"value {number}", presentValue=float(number),
            covIncrement=0.1, units="no-units",
        ))
    print(f"READY {bacpypes3.__version__}", flush=True)
    while True:
        await asyncio.sleep(args.tick_ms / 1000 if args.tick_ms else 3600)
        counter.presentValue = counter.presentValue + 1.0


asyncio.run(main())
