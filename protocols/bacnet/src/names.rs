//! Numbers and the standard's hyphenated names: clause 21.
//!
//! Each enumeration of the protocol is a number in a type of its own. A number that has no name here is kept as
//! it is: it may be a vendor's own, or of a later edition. Text accepts the name as well as the number, so that
//! a configuration can say `present-value`, `85` or `1047`.

/// Writes a table of numbers and names, several on a line.
macro_rules! names {
    ($($number:literal: $name:literal,)+) => { &[$(($number, $name)),+] };
}

mod errors;
mod objects;
mod properties;
mod states;
mod units;

use std::fmt;

/// Declares an enumeration over its table.
macro_rules! enumeration {
    ($(#[$doc:meta])* $kind:ident, $table:path, $vendor:expr, { $($(#[$constant_doc:meta])* $constant:ident = $number:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $kind(u32);

        impl $kind {
            $(
                #[doc = concat!("Number ", stringify!($number), ".")]
                pub const $constant: $kind = $kind($number);
            )*

            /// Of this number, whether it has a name or not.
            pub const fn new(number: u32) -> $kind {
                $kind(number)
            }

            /// Its number.
            pub const fn number(self) -> u32 {
                self.0
            }

            /// Its name in the standard.
            pub fn name(self) -> Option<&'static str> {
                name_of($table, self.0)
            }

            /// Reads a name or a number.
            pub fn parse(text: &str) -> Option<$kind> {
                number_of($table, text).map($kind)
            }

            /// Whether vendors give it its meaning.
            pub fn is_proprietary(self) -> bool {
                $vendor.contains(&self.0)
            }

            /// All that have a name, in order of their numbers.
            pub fn all() -> impl Iterator<Item = $kind> {
                $table.iter().map(|(number, _)| $kind(*number))
            }
        }

        impl fmt::Display for $kind {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.name() {
                    Some(name) => formatter.write_str(name),
                    None => write!(formatter, "{}", self.0),
                }
            }
        }

        impl fmt::Debug for $kind {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, formatter)
            }
        }
    };
}

/// No number belongs to vendors.
const NONE: std::ops::Range<u32> = 0..0;
/// Octets from 64 on belong to vendors.
const FROM_64: std::ops::RangeInclusive<u32> = 64..=255;
/// Numbers from 64 on belong to vendors.
const FROM_64_WIDE: std::ops::RangeInclusive<u32> = 64..=65_535;

enumeration!(
    /// The type of an object.
    ObjectType, objects::OBJECT_TYPES, (128..=1023), {
        ANALOG_INPUT = 0, ANALOG_OUTPUT = 1, ANALOG_VALUE = 2, BINARY_INPUT = 3, BINARY_OUTPUT = 4,
        BINARY_VALUE = 5, CALENDAR = 6, DEVICE = 8, EVENT_ENROLLMENT = 9, FILE = 10, LOOP = 12,
        MULTI_STATE_INPUT = 13, MULTI_STATE_OUTPUT = 14, NOTIFICATION_CLASS = 15, SCHEDULE = 17,
        MULTI_STATE_VALUE = 19, TREND_LOG = 20, STRUCTURED_VIEW = 29, NETWORK_PORT = 56,
    }
);
enumeration!(
    /// A property of an object.
    PropertyIdentifier, properties::PROPERTIES, (512..=4_194_303), {
        ACKED_TRANSITIONS = 0, ALL = 8, APDU_SEGMENT_TIMEOUT = 10, APDU_TIMEOUT = 11,
        APPLICATION_SOFTWARE_VERSION = 12, COV_INCREMENT = 22, DESCRIPTION = 28, EVENT_STATE = 36,
        EXCEPTION_SCHEDULE = 38, FIRMWARE_REVISION = 44, INACTIVE_TEXT = 46, ACTIVE_TEXT = 4, LOCATION = 58,
        MAX_APDU_LENGTH_ACCEPTED = 62, MODEL_NAME = 70, NUMBER_OF_APDU_RETRIES = 73, NUMBER_OF_STATES = 74,
        OBJECT_IDENTIFIER = 75, OBJECT_LIST = 76, OBJECT_NAME = 77, OBJECT_TYPE = 79, OPTIONAL = 80,
        OUT_OF_SERVICE = 81, PRESENT_VALUE = 85, PRIORITY_ARRAY = 87, PROTOCOL_OBJECT_TYPES_SUPPORTED = 96,
        PROTOCOL_SERVICES_SUPPORTED = 97, PROTOCOL_VERSION = 98, RELIABILITY = 103, RELINQUISH_DEFAULT = 104,
        REQUIRED = 105, SEGMENTATION_SUPPORTED = 107, STATE_TEXT = 110, STATUS_FLAGS = 111,
        SYSTEM_STATUS = 112, UNITS = 117, VENDOR_IDENTIFIER = 120, VENDOR_NAME = 121, WEEKLY_SCHEDULE = 123,
        EVENT_TIME_STAMPS = 130, LOG_BUFFER = 131, PROTOCOL_REVISION = 139, RECORD_COUNT = 141,
        TOTAL_RECORD_COUNT = 145, ACTIVE_COV_SUBSCRIPTIONS = 152, DATABASE_REVISION = 155,
        MAX_SEGMENTS_ACCEPTED = 167, PROPERTY_LIST = 371,
    }
);
enumeration!(
    /// An engineering unit. Vendors have 256 to 47807 and 50000 to 65535.
    EngineeringUnits, units::UNITS, VendorUnits, {
        DEGREES_CELSIUS = 62, NO_UNITS = 95, PERCENT = 98,
    }
);
enumeration!(
    /// The kind of an error.
    ErrorClass, errors::ERROR_CLASSES, FROM_64_WIDE, {
        DEVICE = 0, OBJECT = 1, PROPERTY = 2, RESOURCES = 3, SECURITY = 4, SERVICES = 5, VT = 6,
        COMMUNICATION = 7,
    }
);
enumeration!(
    /// What an error says.
    ErrorCode, errors::ERROR_CODES, (256..=65_535), {
        OTHER = 0, INVALID_DATA_TYPE = 9, READ_ACCESS_DENIED = 27, SERVICE_REQUEST_DENIED = 29, TIMEOUT = 30,
        UNKNOWN_OBJECT = 31, UNKNOWN_PROPERTY = 32, VALUE_OUT_OF_RANGE = 37, WRITE_ACCESS_DENIED = 40,
        INVALID_ARRAY_INDEX = 42, COV_SUBSCRIPTION_FAILED = 43, NOT_COV_PROPERTY = 44,
        OPTIONAL_FUNCTIONALITY_NOT_SUPPORTED = 45, PROPERTY_IS_NOT_AN_ARRAY = 50, COMMUNICATION_DISABLED = 83,
        NO_SPACE_TO_ADD_LIST_ELEMENT = 19,
    }
);
enumeration!(
    /// Why a transaction was aborted.
    AbortReason, errors::ABORT_REASONS, FROM_64, {
        OTHER = 0, BUFFER_OVERFLOW = 1, INVALID_APDU_IN_THIS_STATE = 2, SEGMENTATION_NOT_SUPPORTED = 4,
        WINDOW_SIZE_OUT_OF_RANGE = 7, APPLICATION_EXCEEDED_REPLY_TIME = 8, OUT_OF_RESOURCES = 9,
        TSM_TIMEOUT = 10, APDU_TOO_LONG = 11,
    }
);
enumeration!(
    /// Why a request was rejected.
    RejectReason, errors::REJECT_REASONS, FROM_64, {
        OTHER = 0, BUFFER_OVERFLOW = 1, INVALID_TAG = 4, MISSING_REQUIRED_PARAMETER = 5,
        PARAMETER_OUT_OF_RANGE = 6, TOO_MANY_ARGUMENTS = 7, UNRECOGNIZED_SERVICE = 9,
    }
);
enumeration!(
    /// How far a value can be relied on.
    Reliability, states::RELIABILITIES, FROM_64_WIDE, {
        NO_FAULT_DETECTED = 0, COMMUNICATION_FAILURE = 12,
    }
);
enumeration!(
    /// The state of an object that reports events.
    EventState, states::EVENT_STATES, FROM_64_WIDE, {
        NORMAL = 0, FAULT = 1, OFFNORMAL = 2, HIGH_LIMIT = 3, LOW_LIMIT = 4, LIFE_SAFETY_ALARM = 5,
    }
);
enumeration!(
    /// What an event is about.
    EventType, states::EVENT_TYPES, FROM_64_WIDE, {
        CHANGE_OF_STATE = 1, CHANGE_OF_VALUE = 2, FLOATING_LIMIT = 4, OUT_OF_RANGE = 5,
    }
);
enumeration!(
    /// Whether a notification is an alarm, an event, or tells of an acknowledgment.
    NotifyType, states::NOTIFY_TYPES, NONE, {
        ALARM = 0, EVENT = 1, ACK_NOTIFICATION = 2,
    }
);
enumeration!(
    /// What a device can do with segmented messages.
    Segmentation, states::SEGMENTATIONS, NONE, {
        BOTH = 0, TRANSMIT = 1, RECEIVE = 2, NONE = 3,
    }
);
enumeration!(
    /// The state of a device.
    DeviceStatus, states::DEVICE_STATUSES, FROM_64_WIDE, {
        OPERATIONAL = 0, NON_OPERATIONAL = 4,
    }
);
enumeration!(
    /// A service that is answered.
    ConfirmedService, states::CONFIRMED_SERVICES, NONE, {
        ACKNOWLEDGE_ALARM = 0, CONFIRMED_COV_NOTIFICATION = 1, CONFIRMED_EVENT_NOTIFICATION = 2,
        GET_ALARM_SUMMARY = 3, SUBSCRIBE_COV = 5, ADD_LIST_ELEMENT = 8, REMOVE_LIST_ELEMENT = 9,
        CREATE_OBJECT = 10, READ_PROPERTY = 12, READ_PROPERTY_MULTIPLE = 14, WRITE_PROPERTY = 15,
        WRITE_PROPERTY_MULTIPLE = 16, DEVICE_COMMUNICATION_CONTROL = 17, CONFIRMED_PRIVATE_TRANSFER = 18,
        REINITIALIZE_DEVICE = 20, READ_RANGE = 26, SUBSCRIBE_COV_PROPERTY = 28, GET_EVENT_INFORMATION = 29,
        SUBSCRIBE_COV_PROPERTY_MULTIPLE = 30,
    }
);
enumeration!(
    /// A service that is not answered.
    UnconfirmedService, states::UNCONFIRMED_SERVICES, NONE, {
        I_AM = 0, I_HAVE = 1, UNCONFIRMED_COV_NOTIFICATION = 2, UNCONFIRMED_EVENT_NOTIFICATION = 3,
        TIME_SYNCHRONIZATION = 6, WHO_HAS = 7, WHO_IS = 8, UTC_TIME_SYNCHRONIZATION = 9,
    }
);
enumeration!(
    /// What a device is to be restarted into.
    ReinitializedState, states::REINITIALIZED_STATES, NONE, {
        COLDSTART = 0, WARMSTART = 1, ACTIVATE_CHANGES = 7,
    }
);
enumeration!(
    /// What a device is still to say.
    CommunicationState, states::COMMUNICATION_STATES, NONE, {
        ENABLE = 0, DISABLE = 1, DISABLE_INITIATION = 2,
    }
);

/// Numbers of units that belong to vendors, on both sides of a range that does not.
struct VendorUnits;

impl VendorUnits {
    #[expect(clippy::unused_self, reason = "stands where the other enumerations have a range")]
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "stands where the other enumerations have a range")]
    fn contains(&self, number: &u32) -> bool {
        matches!(number, 256..=47_807 | 50_000..=65_535)
    }
}

/// Names of the edition after 135-2020 and other spellings that are met in lists of engineering tools.
const OTHER_SPELLINGS: &[(&str, &str)] = &[
    ("kelvin", "degrees-kelvin"),
    ("delta-kelvin", "delta-degrees-kelvin"),
    ("kelvin-per-hour", "degrees-kelvin-per-hour"),
    ("kelvin-per-minute", "degrees-kelvin-per-minute"),
    ("watt-reactive-hours", "watt-hours-reactive"),
    ("kilowatt-reactive-hours", "kilowatt-hours-reactive"),
    ("megawatt-reactive-hours", "megawatt-hours-reactive"),
    ("volt-ampere-reactive-hours", "volt-ampere-hours-reactive"),
    ("kilovolt-ampere-reactive-hours", "kilovolt-ampere-hours-reactive"),
    ("megavolt-ampere-reactive-hours", "megavolt-ampere-hours-reactive"),
];

fn name_of(table: &'static [(u32, &'static str)], number: u32) -> Option<&'static str> {
    let place = table.binary_search_by_key(&number, |(number, _)| *number).ok()?;
    Some(table[place].1)
}

fn number_of(table: &[(u32, &str)], text: &str) -> Option<u32> {
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let name = OTHER_SPELLINGS.iter().find(|(other, _)| *other == text).map_or(text, |(_, name)| name);
    table.iter().find(|(_, known)| *known == name).map(|(number, _)| *number)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn tables_are_in_order_and_every_name_stands_once() {
        let tables = [
            objects::OBJECT_TYPES,
            properties::PROPERTIES,
            units::UNITS,
            errors::ERROR_CLASSES,
            errors::ERROR_CODES,
            errors::ABORT_REASONS,
            errors::REJECT_REASONS,
            states::RELIABILITIES,
            states::EVENT_STATES,
            states::EVENT_TYPES,
            states::CONFIRMED_SERVICES,
            states::UNCONFIRMED_SERVICES,
        ];
        for table in tables {
            assert!(table.windows(2).all(|pair| pair[0].0 < pair[1].0));
            let names: BTreeSet<&str> = table.iter().map(|(_, name)| *name).collect();
            assert_eq!(names.len(), table.len());
            let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            assert!(names.iter().all(|name| name.bytes().all(is_plain)));
        }
    }

    #[test]
    fn names_and_numbers_lead_to_each_other_and_unknown_numbers_are_kept() {
        assert_eq!(PropertyIdentifier::parse("present-value"), Some(PropertyIdentifier::PRESENT_VALUE));
        assert_eq!(PropertyIdentifier::parse("85"), Some(PropertyIdentifier::PRESENT_VALUE));
        assert_eq!(PropertyIdentifier::parse("presentvalue"), None);
        assert_eq!(PropertyIdentifier::new(1047).to_string(), "1047");
        assert!(PropertyIdentifier::new(1047).is_proprietary());
        assert_eq!(EngineeringUnits::parse("kelvin").map(EngineeringUnits::number), Some(63));
        assert!(EngineeringUnits::new(300).is_proprietary());
        assert!(!EngineeringUnits::new(47_808).is_proprietary());
        assert_eq!(ObjectType::all().filter_map(ObjectType::name).count(), ObjectType::all().count());
    }
}
