"""A KNX client made with xknx: a device on the bus that is told by lines of JSON what to do.

Prints `READY <version> <individual address>` when it is connected, then one JSON object per telegram heard. Orders on
standard input: {"write": "1/2/3", "value": [18, 52]}, {"read": "1/2/3"}, {"answer": "1/2/3", "value": 1},
{"burst": "1/2/3", "count": 100, "pause_ms": 20}. A number is a value of up to six bits, a list holds octets.
"""

import argparse
import asyncio
import json
import sys
from importlib.metadata import version

from xknx import XKNX
from xknx.dpt import DPTArray, DPTBinary
from xknx.io import ConnectionConfig, ConnectionType
from xknx.telegram import Telegram, TelegramDirection
from xknx.telegram.address import GroupAddress
from xknx.telegram.apci import GroupValueRead, GroupValueResponse, GroupValueWrite

SERVICES = {GroupValueRead: "read", GroupValueResponse: "response", GroupValueWrite: "write"}


def payload(value):
    return DPTBinary(value) if isinstance(value, int) else DPTArray(tuple(value))


async def obey(xknx, answers, order):
    async def send(group, apci):
        await xknx.telegrams.put(Telegram(destination_address=GroupAddress(group), payload=apci))

    if "write" in order:
        await send(order["write"], GroupValueWrite(payload(order["value"])))
    elif "read" in order:
        await send(order["read"], GroupValueRead())
    elif "answer" in order:
        answers[order["answer"]] = payload(order["value"])
    elif "burst" in order:
        for number in range(order["count"]):
            await send(order["burst"], GroupValueWrite(payload([number >> 8, number & 255])))
            await asyncio.sleep(order.get("pause_ms", 0) / 1000)


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--gateway")
    parser.add_argument("--transport", default="udp")
    parser.add_argument("--routing")
    parser.add_argument("--local", default="127.0.0.1")
    parser.add_argument("--address")
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    if arguments.routing:
        config = ConnectionConfig(
            connection_type=ConnectionType.ROUTING,
            local_ip=arguments.local,
            individual_address=arguments.address,
            multicast_group=arguments.routing,
            multicast_port=arguments.port,
        )
    else:
        kind = ConnectionType.TUNNELING_TCP if arguments.transport == "tcp" else ConnectionType.TUNNELING
        config = ConnectionConfig(
            connection_type=kind,
            gateway_ip=arguments.gateway,
            gateway_port=arguments.port,
            local_ip=arguments.local,
        )
    answers = {}

    def heard(telegram):
        if telegram.direction != TelegramDirection.INCOMING or type(telegram.payload) not in SERVICES:
            return
        value = getattr(telegram.payload, "value", None)
        value = None if value is None else value.value
        print(
            json.dumps(
                {
                    "source": str(telegram.source_address),
                    "group": str(telegram.destination_address),
                    "service": SERVICES[type(telegram.payload)],
                    "value": list(value) if isinstance(value, tuple) else value,
                }
            ),
            flush=True,
        )
        answer = answers.get(str(telegram.destination_address))
        if isinstance(telegram.payload, GroupValueRead) and answer is not None:
            response = Telegram(destination_address=telegram.destination_address, payload=GroupValueResponse(answer))
            xknx.telegrams.put_nowait(response)

    xknx = XKNX(connection_config=config, telegram_received_cb=heard)
    await xknx.start()
    print(f"READY {version('xknx')} {xknx.current_address}", flush=True)
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        await obey(xknx, answers, json.loads(line))
    await xknx.stop()


asyncio.run(main())
