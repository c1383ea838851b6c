//! Sets of bits: main numbers 21 and 22. Bit 0 is the first name.

use super::{Definition, Format, row};
use crate::dpt::structure::{Coding, Field, Layout};

const fn flag(bit: u8, name: &'static str) -> Field {
    Field { name, shift: bit, width: 1, coding: Coding::Flag, mark: None }
}

const fn set(fields: &'static [Field]) -> Layout {
    Layout { octets: 1, fields }
}

const ANY_8: Layout =
    set(&[Field { name: "bits", shift: 0, width: 8, coding: Coding::Unsigned(0, 0xff), mark: None }]);
const ANY_16: Layout = Layout {
    octets: 2,
    fields: &[Field { name: "bits", shift: 0, width: 16, coding: Coding::Unsigned(0, 0xffff), mark: None }],
};
const STATUS_GEN: Layout = set(&[
    flag(0, "out_of_service"),
    flag(1, "fault"),
    flag(2, "overridden"),
    flag(3, "in_alarm"),
    flag(4, "alarm_unacknowledged"),
]);
const DEVICE_CONTROL: Layout =
    set(&[flag(0, "user_stopped"), flag(1, "own_individual_address"), flag(2, "verify_mode")]);
const FORCE_SIGN: Layout = set(&[
    flag(0, "force_request"),
    flag(1, "protection"),
    flag(2, "oversupply"),
    flag(3, "overrun"),
    flag(4, "dhw_norm"),
    flag(5, "dhw_legio"),
    flag(6, "room_heating_comfort"),
    flag(7, "room_heating_max"),
]);
const FORCE_SIGN_COOL: Layout = set(&[flag(0, "force_request")]);
const STATUS_RHC: Layout = set(&[
    flag(0, "fault"),
    flag(1, "eco_mode"),
    flag(2, "flow_temperature_limit"),
    flag(3, "return_temperature_limit"),
    flag(4, "morning_boost"),
    flag(5, "start_optimization"),
    flag(6, "stop_optimization"),
    flag(7, "summer_mode"),
]);
const STATUS_SDHWC: Layout =
    set(&[flag(0, "fault"), flag(1, "solar_load_active"), flag(2, "solar_load_sufficient")]);
const FUEL_TYPES: Layout = set(&[flag(0, "oil"), flag(1, "gas"), flag(2, "solid_state")]);
const STATUS_RCC: Layout = set(&[flag(0, "fault")]);
const STATUS_AHU: Layout = set(&[flag(0, "fault"), flag(1, "fan_active"), flag(2, "heat"), flag(3, "cool")]);
const LIGHT_ERRORS: Layout = set(&[
    flag(0, "load_detection_failed"),
    flag(1, "undervoltage"),
    flag(2, "overcurrent"),
    flag(3, "underload"),
    flag(4, "defective_load"),
    flag(5, "lamp_failure"),
    flag(6, "overheat"),
]);
const RF_MODES: Layout = set(&[flag(0, "asynchronous"), flag(1, "bibat_master"), flag(2, "bibat_slave")]);
const RF_FILTERS: Layout =
    set(&[flag(0, "domain_address"), flag(1, "serial_number"), flag(2, "domain_and_serial_number")]);
const SECURITY: Layout = set(&[flag(0, "security_failure")]);
const CHANNELS_8: Layout = set(&[
    flag(0, "channel_1"),
    flag(1, "channel_2"),
    flag(2, "channel_3"),
    flag(3, "channel_4"),
    flag(4, "channel_5"),
    flag(5, "channel_6"),
    flag(6, "channel_7"),
    flag(7, "channel_8"),
]);
const PHASES: Layout = set(&[flag(0, "phase_1"), flag(1, "phase_2"), flag(2, "phase_3")]);
const STATUS_DHWC: Layout = Layout {
    octets: 2,
    fields: &[
        flag(0, "fault"),
        flag(1, "load_active"),
        flag(2, "legio_protection"),
        flag(3, "push"),
        flag(4, "other_energy_source"),
        flag(5, "solar_energy_only"),
        flag(6, "solar_energy_support"),
        flag(7, "temperature_optimization_shift"),
    ],
};
const STATUS_RHCC: Layout = Layout {
    octets: 2,
    fields: &[
        flag(0, "fault"),
        flag(1, "heating_eco_mode"),
        flag(2, "flow_temperature_limit"),
        flag(3, "return_temperature_limit"),
        flag(4, "heating_morning_boost"),
        flag(5, "early_morning_start"),
        flag(6, "early_evening_shutdown"),
        flag(7, "heating_disabled"),
        flag(8, "heating_mode"),
        flag(9, "cooling_eco_mode"),
        flag(10, "precooling_mode"),
        flag(11, "cooling_disabled"),
        flag(12, "dew_point_alarm"),
        flag(13, "frost_alarm"),
        flag(14, "overheat_alarm"),
    ],
};
const MEDIA: Layout =
    Layout { octets: 2, fields: &[flag(1, "tp1"), flag(2, "pl110"), flag(4, "rf"), flag(5, "ip")] };

pub(super) const ROWS: &[Definition] = &[
    Definition::main(21, "8-Bit Set", Format::Fields(&ANY_8)),
    row(21, 1, "DPT_StatusGen", "", Format::Fields(&STATUS_GEN)),
    row(21, 2, "DPT_Device_Control", "", Format::Fields(&DEVICE_CONTROL)),
    row(21, 100, "DPT_ForceSign", "", Format::Fields(&FORCE_SIGN)),
    row(21, 101, "DPT_ForceSignCool", "", Format::Fields(&FORCE_SIGN_COOL)),
    row(21, 102, "DPT_StatusRHC", "", Format::Fields(&STATUS_RHC)),
    row(21, 103, "DPT_StatusSDHWC", "", Format::Fields(&STATUS_SDHWC)),
    row(21, 104, "DPT_FuelTypeSet", "", Format::Fields(&FUEL_TYPES)),
    row(21, 105, "DPT_StatusRCC", "", Format::Fields(&STATUS_RCC)),
    row(21, 106, "DPT_StatusAHU", "", Format::Fields(&STATUS_AHU)),
    row(21, 601, "DPT_LightActuatorErrorInfo", "", Format::Fields(&LIGHT_ERRORS)),
    row(21, 1000, "DPT_RF_ModeInfo", "", Format::Fields(&RF_MODES)),
    row(21, 1001, "DPT_RF_FilterInfo", "", Format::Fields(&RF_FILTERS)),
    row(21, 1002, "DPT_Security_Report", "", Format::Fields(&SECURITY)),
    row(21, 1010, "DPT_Channel_Activation_8", "", Format::Fields(&CHANNELS_8)),
    row(21, 1200, "DPT_VirtualDryContact", "", Format::Fields(&ANY_8)),
    row(21, 1201, "DPT_Phases_Status", "", Format::Fields(&PHASES)),
    Definition::main(22, "16-Bit Set", Format::Fields(&ANY_16)),
    row(22, 100, "DPT_StatusDHWC", "", Format::Fields(&STATUS_DHWC)),
    row(22, 101, "DPT_StatusRHCC", "", Format::Fields(&STATUS_RHCC)),
    row(22, 1000, "DPT_Media", "", Format::Fields(&MEDIA)),
    row(22, 1010, "DPT_Channel_Activation_16", "", Format::Fields(&ANY_16)),
];
