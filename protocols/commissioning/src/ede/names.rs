//! Numbers of the standard: object types and engineering units (clause 21).

/// The name of an object type as addresses have it, or its number.
pub(super) fn object_type(number: u32) -> String {
    let name = usize::try_from(number).ok().and_then(|at| OBJECT_TYPES.get(at));
    name.map_or_else(|| number.to_string(), |name| (*name).to_owned())
}

/// The number of an object type by its name, its short name or its number.
pub(super) fn type_number(text: &str) -> Option<u32> {
    let lower = text.to_ascii_lowercase();
    let name = SHORT_TYPES.iter().find(|(short, _)| *short == lower).map_or(lower.as_str(), |(_, name)| name);
    let known = OBJECT_TYPES.iter().position(|known| *known == name).and_then(|at| u32::try_from(at).ok());
    known.or_else(|| name.parse().ok().filter(|number| *number < 1024))
}

/// The name of an object type that has no present value; none if it has one, or is not of the standard.
pub(super) fn without_value(number: u32) -> Option<&'static str> {
    let is_without = WITHOUT_VALUE.contains(&number);
    usize::try_from(number).ok().and_then(|at| OBJECT_TYPES.get(at)).copied().filter(|_| is_without)
}

/// Whether its states count from 0.
pub(super) fn is_binary(number: u32) -> bool {
    matches!(number, 3..=5 | 55)
}

/// The sign of a unit.
pub(super) fn unit(code: u32) -> Option<&'static str> {
    UNITS.iter().find(|(known, _)| *known == code).map(|(_, sign)| *sign)
}

/// The unit of a sign.
pub(super) fn unit_code(sign: &str) -> Option<u32> {
    UNITS.iter().find(|(_, known)| *known == sign).map(|(code, _)| *code)
}

/// The number of the device object.
pub(super) const DEVICE: u32 = 8;

/// In the order of their numbers, from 0.
const OBJECT_TYPES: [&str; 65] = [
    "analog-input",
    "analog-output",
    "analog-value",
    "binary-input",
    "binary-output",
    "binary-value",
    "calendar",
    "command",
    "device",
    "event-enrollment",
    "file",
    "group",
    "loop",
    "multi-state-input",
    "multi-state-output",
    "notification-class",
    "program",
    "schedule",
    "averaging",
    "multi-state-value",
    "trend-log",
    "life-safety-point",
    "life-safety-zone",
    "accumulator",
    "pulse-converter",
    "event-log",
    "global-group",
    "trend-log-multiple",
    "load-control",
    "structured-view",
    "access-door",
    "timer",
    "access-credential",
    "access-point",
    "access-rights",
    "access-user",
    "access-zone",
    "credential-data-input",
    "network-security",
    "bitstring-value",
    "characterstring-value",
    "date-pattern-value",
    "date-value",
    "datetime-pattern-value",
    "datetime-value",
    "integer-value",
    "large-analog-value",
    "octetstring-value",
    "positive-integer-value",
    "time-pattern-value",
    "time-value",
    "notification-forwarder",
    "alert-enrollment",
    "channel",
    "lighting-output",
    "binary-lighting-output",
    "network-port",
    "elevator-group",
    "escalator",
    "lift",
    "staging",
    "audit-log",
    "audit-reporter",
    "color",
    "color-temperature",
];
const SHORT_TYPES: [(&str, &str); 9] = [
    ("ai", "analog-input"),
    ("ao", "analog-output"),
    ("av", "analog-value"),
    ("bi", "binary-input"),
    ("bo", "binary-output"),
    ("bv", "binary-value"),
    ("mi", "multi-state-input"),
    ("mo", "multi-state-output"),
    ("mv", "multi-state-value"),
];
/// Device, event enrollment, file, notification class, program, logs, structured view, forwarder, alert enrollment,
/// network port, elevator group and audit objects.
const WITHOUT_VALUE: [u32; 17] = [8, 9, 10, 15, 16, 20, 25, 27, 29, 38, 51, 52, 56, 57, 58, 61, 62];
/// Each sign once, so that it leads back to its code.
const UNITS: [(u32, &str); 52] = [
    (95, ""),
    (2, "mA"),
    (3, "A"),
    (4, "Ω"),
    (5, "V"),
    (6, "kV"),
    (8, "VA"),
    (9, "kVA"),
    (11, "var"),
    (12, "kvar"),
    (16, "J"),
    (17, "kJ"),
    (18, "Wh"),
    (19, "kWh"),
    (27, "Hz"),
    (29, "% r.h."),
    (30, "mm"),
    (31, "m"),
    (35, "W/m²"),
    (36, "lm"),
    (37, "lx"),
    (39, "kg"),
    (42, "kg/s"),
    (44, "kg/h"),
    (47, "W"),
    (48, "kW"),
    (49, "MW"),
    (53, "Pa"),
    (54, "kPa"),
    (55, "bar"),
    (62, "°C"),
    (63, "K"),
    (64, "°F"),
    (70, "d"),
    (71, "h"),
    (72, "min"),
    (73, "s"),
    (74, "m/s"),
    (75, "km/h"),
    (80, "m³"),
    (82, "l"),
    (85, "m³/s"),
    (87, "l/s"),
    (88, "l/min"),
    (90, "°"),
    (96, "ppm"),
    (98, "%"),
    (124, "mV"),
    (133, "hPa"),
    (134, "mbar"),
    (135, "m³/h"),
    (136, "l/h"),
];
