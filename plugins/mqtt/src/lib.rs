//! MQTT interface plugin: client for v3.1.1 and v5 brokers.
