//! Executes what the pure machines order: sockets, timers, item table, output gate, plugin supervision.
