"""The independent KNX client: xknx, as a tunnel or a routing peer, driven by lines on standard input.

It prints `READY <version>` once connected, or `FAILED <exception> <text>`; then `telegram <source> <group> <kind>
<hex>` for each telegram it hears. Orders: `write GROUP HEX`, `read GROUP`, `response GROUP HEX`, `stop`. Each is answered
with `done <order>` once xknx has sent it, or `failed <exception>`.
"""

import argparse
import asyncio
import importlib.metadata
import logging
import sys

from xknx import XKNX
from xknx.dpt import DPTArray, DPTBinary
from xknx.io import ConnectionConfig, ConnectionType, SecureConfig
from xknx.telegram import GroupAddress, IndividualAddress, Telegram, TelegramDirection
from xknx.telegram.apci import GroupValueRead, GroupValueResponse, GroupValueWrite


def say(line):
    print(line, flush=True)


def value(text):
    return DPTBinary(int(text, 16)) if len(text) == 1 else DPTArray(tuple(bytes.fromhex(text)))


def shown(payload):
    held = getattr(payload, "value", None)
    if held is None:
        return "-"
    return f"{held.value:x}" if isinstance(held, DPTBinary) else bytes(held.value).hex()


def heard(telegram):
    if telegram.direction is TelegramDirection.INCOMING:
        kind = type(telegram.payload).__name__
        say(f"telegram {telegram.source_address} {telegram.destination_address} {kind} {shown(telegram.payload)}")


def config(options):
    secure = None
    if options.keyring:
        secure = SecureConfig(knxkeys_file_path=options.keyring, knxkeys_password=options.keyring_password)
    if options.user is not None:
        secure = SecureConfig(
            user_id=options.user,
            user_password=options.password,
            device_authentication_password=options.authentication,
            knxkeys_file_path=options.keyring,
            knxkeys_password=options.keyring_password,
        )
    if options.backbone_key:
        secure = SecureConfig(backbone_key=options.backbone_key, latency_ms=options.latency)
    kinds = {
        "tcp-secure": ConnectionType.TUNNELING_TCP_SECURE,
        "tcp": ConnectionType.TUNNELING_TCP,
        "udp": ConnectionType.TUNNELING,
        "routing-secure": ConnectionType.ROUTING_SECURE,
        "routing": ConnectionType.ROUTING,
    }
    return ConnectionConfig(
        connection_type=kinds[options.kind],
        gateway_ip=options.gateway,
        gateway_port=options.port,
        local_ip=options.local,
        individual_address=options.address,
        multicast_group=options.multicast,
        multicast_port=options.port,
        auto_reconnect=False,
        secure_config=secure,
    )


async def obey(client, words):
    if words[0] == "write":
        payload = GroupValueWrite(value(words[2]))
    elif words[0] == "response":
        payload = GroupValueResponse(value(words[2]))
    else:
        payload = GroupValueRead()
    telegram = Telegram(destination_address=GroupAddress(words[1]), payload=payload)
    await client.cemi_handler.send_telegram(telegram)


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--kind", required=True)
    parser.add_argument("--gateway")
    parser.add_argument("--port", type=int, default=3671)
    parser.add_argument("--local", default="127.0.0.1")
    parser.add_argument("--multicast", default="224.0.23.12")
    parser.add_argument("--address")
    parser.add_argument("--user", type=int)
    parser.add_argument("--password")
    parser.add_argument("--authentication")
    parser.add_argument("--backbone-key")
    parser.add_argument("--latency", type=int, default=1000)
    parser.add_argument("--keyring")
    parser.add_argument("--keyring-password")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    logging.basicConfig(stream=sys.stderr, level=logging.DEBUG if options.verbose else logging.WARNING)

    client = XKNX(connection_config=config(options), telegram_received_cb=heard)
    try:
        await client.start()
    except Exception as error:
        say(f"FAILED {type(error).__name__} {error}")
        return
    if options.address and options.kind.startswith("routing"):
        client.current_address = IndividualAddress(options.address)
    say(f"READY {importlib.metadata.version('xknx')}")
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := (await lines.readline()).decode().strip():
        if line == "stop":
            break
        try:
            await obey(client, line.split())
            say(f"done {line}")
        except Exception as error:
            say(f"failed {type(error).__name__} {error}")
    await client.stop()
    say("STOPPED")


asyncio.run(main())
