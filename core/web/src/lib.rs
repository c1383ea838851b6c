//! REST, WebSocket and metrics over a running hub.
