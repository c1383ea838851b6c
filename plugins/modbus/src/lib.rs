//! Modbus interface plugin: TCP client with block planning, poll classes and typed registers.
