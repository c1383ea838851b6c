"""A Modbus TCP device made with pymodbus that logs every request with the client's address.

Prints `READY <port> <version>` once it listens. The log is one JSON object per line; `t` is CLOCK_MONOTONIC in ns.
"""

import argparse
import asyncio
import json
import time
from contextvars import ContextVar

import pymodbus
from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.server.requesthandler import ServerRequestHandler
from pymodbus.simulator import DataType, SimData, SimDevice
from pymodbus.transaction import TransactionManager

TASKS = set()
CLIENT = ContextVar("client", default="?")
WRITES = {5, 6, 15, 16, 22, 23}


def remember_client():
    """pymodbus does not tell the action who asked; its request handler knows."""
    original = ServerRequestHandler.handle_request

    async def handle_request(self):
        peer = self.transport.get_extra_info("peername") if self.transport else None
        CLIENT.set(f"{peer[0]}:{peer[1]}" if peer else "?")
        await original(self)

    ServerRequestHandler.handle_request = handle_request


def answer_together(order):
    """pymodbus answers one request of a segment and leaves the others; this answers all, also the last one first."""

    def callback_data(self, data, addr=None):
        used, requests = 0, []
        while used < len(data):
            cut = TransactionManager.callback_data(self, data[used:], addr)
            if cut == 0:
                break
            used += cut
            if self.last_pdu:
                requests.append(self.last_pdu)
        if order == "backwards":
            requests.reverse()
        if requests:
            task = self.loop.create_task(answer(self, requests, addr))
            TASKS.add(task)
            task.add_done_callback(TASKS.discard)
        return used

    async def answer(self, requests, addr):
        for request in requests:
            self.last_pdu, self.last_addr = request, addr
            await self.handle_request()

    ServerRequestHandler.callback_data = callback_data


def make_action(options, log):
    started = time.monotonic_ns()
    counter = None
    if options.counter:
        register, interval_ms = options.counter.split(":")
        counter = (int(register), int(interval_ms) * 1_000_000)

    async def action(function_code, start_address, address, count, current_registers, set_values):
        now = time.monotonic_ns()
        if counter is not None:
            register, interval = counter
            current_registers[register - start_address] = ((now - started) // interval) & 0xFFFF
        if options.changing:
            tick = (now - started) // (options.changing * 1_000_000)
            for place in range(address, address + count):
                current_registers[place - start_address] = (tick + place) & 0xFFFF
        if function_code in WRITES or options.log_reads:
            entry = {
                "t": now,
                "peer": CLIENT.get(),
                "unit": 1,
                "fc": function_code,
                "address": address,
                "count": count,
                "values": [int(value) for value in set_values or []],
            }
            log.write(json.dumps(entry) + "\n")
        if options.failing is not None and address <= options.failing < address + count:
            return ExcCodes.DEVICE_FAILURE
        return None

    return action


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--registers", type=int, default=200)
    parser.add_argument("--counter", help="register:interval in ms")
    parser.add_argument("--changing", type=int, help="ms: every register holds its address plus the ticks since the start")
    parser.add_argument("--failing", type=int, help="register that is answered with exception 4")
    parser.add_argument("--together", choices=["in-order", "backwards"], help="answers all requests of a segment")
    parser.add_argument("--log", required=True)
    parser.add_argument("--log-reads", action="store_true")
    options = parser.parse_args()
    if options.together:
        answer_together(options.together)
    remember_client()
    with open(options.log, "w", buffering=1, encoding="utf-8") as log:
        block = SimData(0, count=options.registers, values=0, datatype=DataType.REGISTERS)
        device = SimDevice(1, simdata=[block], action=make_action(options, log))
        server = ModbusTcpServer(device, address=("127.0.0.1", options.port))
        await server.listen()
        port = server.transport.sockets[0].getsockname()[1]
        print(f"READY {port} {pymodbus.__version__}", flush=True)
        await asyncio.Event().wait()


asyncio.run(main())
