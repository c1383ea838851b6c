"""A Modbus TCP device made with pymodbus: four separate tables, registers that hold known values of each type.

Prints `READY <port>` once it listens.
"""

import asyncio

from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice


def holding():
    fill = lambda start, count: SimData(start, count=count, values=0, datatype=DataType.REGISTERS)
    return [
        SimData(0, values=-1234, datatype=DataType.INT16),
        SimData(1, values=54321, datatype=DataType.UINT16),
        SimData(2, values=-123456789, datatype=DataType.INT32),
        SimData(4, values=3456789012, datatype=DataType.UINT32),
        SimData(6, values=-1234567890123456789, datatype=DataType.INT64),
        SimData(10, values=12345678901234567890, datatype=DataType.UINT64),
        SimData(14, values=21.5, datatype=DataType.FLOAT32),
        SimData(16, values=-1.0e-300, datatype=DataType.FLOAT64),
        SimData(20, values="Twinhub!", datatype=DataType.STRING),
        fill(24, 176),
    ]


async def main():
    bits = lambda value: [SimData(0, count=64, values=value, datatype=DataType.BITS)]
    words = [SimData(0, count=100, values=4711, datatype=DataType.REGISTERS)]
    device = SimDevice(1, simdata=(bits(False), bits(True), holding(), words))
    server = ModbusTcpServer(device, address=("127.0.0.1", 0))
    await server.listen()
    print(f"READY {server.transport.sockets[0].getsockname()[1]}", flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
