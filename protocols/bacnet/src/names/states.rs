//! States, kinds of events and services: the short enumerations of clause 21.

/// Numbers and names of reliabilities.
pub(super) const RELIABILITIES: &[(u32, &str)] = names! {
    0: "no-fault-detected", 1: "no-sensor", 2: "over-range", 3: "under-range", 4: "open-loop",
    5: "shorted-loop", 6: "no-output", 7: "unreliable-other", 8: "process-error", 9: "multi-state-fault",
    10: "configuration-error", 12: "communication-failure", 13: "member-fault",
    14: "monitored-object-fault", 15: "tripped", 16: "lamp-failure", 17: "activation-failure",
    18: "renew-dhcp-failure", 19: "renew-fd-registration-failure", 20: "restart-auto-negotiation-failure",
    21: "restart-failure", 22: "proprietary-command-failure", 23: "faults-listed",
    24: "referenced-object-fault", 25: "multi-state-out-of-range",
};

/// Numbers and names of event states.
pub(super) const EVENT_STATES: &[(u32, &str)] = names! {
    0: "normal", 1: "fault", 2: "offnormal", 3: "high-limit", 4: "low-limit", 5: "life-safety-alarm",
};

/// Numbers and names of event types.
pub(super) const EVENT_TYPES: &[(u32, &str)] = names! {
    0: "change-of-bitstring", 1: "change-of-state", 2: "change-of-value", 3: "command-failure",
    4: "floating-limit", 5: "out-of-range", 6: "complex-event-type", 8: "change-of-life-safety",
    9: "extended", 10: "buffer-ready", 11: "unsigned-range", 13: "access-event", 14: "double-out-of-range",
    15: "signed-out-of-range", 16: "unsigned-out-of-range", 17: "change-of-characterstring",
    18: "change-of-status-flags", 19: "change-of-reliability", 20: "none", 21: "change-of-discrete-value",
    22: "change-of-timer",
};

/// Numbers and names of notify types.
pub(super) const NOTIFY_TYPES: &[(u32, &str)] = names! {
    0: "alarm", 1: "event", 2: "ack-notification",
};

/// Numbers and names of what a device can do with segments.
pub(super) const SEGMENTATIONS: &[(u32, &str)] = names! {
    0: "segmented-both", 1: "segmented-transmit", 2: "segmented-receive", 3: "no-segmentation",
};

/// Numbers and names of device states.
pub(super) const DEVICE_STATUSES: &[(u32, &str)] = names! {
    0: "operational", 1: "operational-read-only", 2: "download-required", 3: "download-in-progress",
    4: "non-operational", 5: "backup-in-progress",
};

/// Numbers and names of confirmed services.
pub(super) const CONFIRMED_SERVICES: &[(u32, &str)] = names! {
    0: "acknowledge-alarm", 1: "confirmed-cov-notification", 2: "confirmed-event-notification",
    3: "get-alarm-summary", 4: "get-enrollment-summary", 5: "subscribe-cov", 6: "atomic-read-file",
    7: "atomic-write-file", 8: "add-list-element", 9: "remove-list-element", 10: "create-object",
    11: "delete-object", 12: "read-property", 13: "read-property-conditional", 14: "read-property-multiple",
    15: "write-property", 16: "write-property-multiple", 17: "device-communication-control",
    18: "confirmed-private-transfer", 19: "confirmed-text-message", 20: "reinitialize-device",
    21: "vt-open", 22: "vt-close", 23: "vt-data", 24: "authenticate", 25: "request-key", 26: "read-range",
    27: "life-safety-operation", 28: "subscribe-cov-property", 29: "get-event-information",
    30: "subscribe-cov-property-multiple", 31: "confirmed-cov-notification-multiple",
    32: "confirmed-audit-notification", 33: "audit-log-query", 34: "auth-request",
};

/// Numbers and names of unconfirmed services.
pub(super) const UNCONFIRMED_SERVICES: &[(u32, &str)] = names! {
    0: "i-am", 1: "i-have", 2: "unconfirmed-cov-notification", 3: "unconfirmed-event-notification",
    4: "unconfirmed-private-transfer", 5: "unconfirmed-text-message", 6: "time-synchronization",
    7: "who-has", 8: "who-is", 9: "utc-time-synchronization", 10: "write-group",
    11: "unconfirmed-cov-notification-multiple", 12: "unconfirmed-audit-notification", 13: "who-am-i",
    14: "you-are",
};

/// Numbers and names of what a device can be restarted into.
pub(super) const REINITIALIZED_STATES: &[(u32, &str)] = names! {
    0: "coldstart", 1: "warmstart", 2: "start-backup", 3: "end-backup", 4: "start-restore",
    5: "end-restore", 6: "abort-restore", 7: "activate-changes",
};

/// Numbers and names of states of communication.
pub(super) const COMMUNICATION_STATES: &[(u32, &str)] = names! {
    0: "enable", 1: "disable", 2: "disable-initiation",
};
