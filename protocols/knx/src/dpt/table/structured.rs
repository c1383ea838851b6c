//! Types with named fields: main numbers 2, 3, 10, 11, 15, 18, 19, 25 to 27 and above 200 (`03_07_02` v02.02.01, §3.2,
//! §3.3, §3.11, §3.12, §3.16, §3.19, §3.20; §6.6.1 for 232.600, §6.16 for 249.600, §6.18 for 251.600), and 6.020 (§3.7).
//!
//! Of 249.600, the standard's own line of the format counts four octets where its fields have six; six are on the wire.

use super::{Definition, Format, row};
use crate::dpt::structure::{Coding, Field, Layout};

const fn flag(bit: u8, name: &'static str) -> Field {
    Field { name, shift: bit, width: 1, coding: Coding::Flag, mark: None }
}

const fn number(shift: u8, width: u8, name: &'static str, min: i64, max: i64) -> Field {
    Field { name, shift, width, coding: Coding::Unsigned(min, max), mark: None }
}

const fn octet(shift: u8, name: &'static str) -> Field {
    number(shift, 8, name, 0, 0xff)
}

const fn word(shift: u8, name: &'static str) -> Field {
    number(shift, 16, name, 0, 0xffff)
}

const fn field(shift: u8, width: u8, name: &'static str, coding: Coding) -> Field {
    Field { name, shift, width, coding, mark: None }
}

const fn percent(shift: u8, name: &'static str) -> Field {
    field(shift, 8, name, Coding::Scaled(100.0, 255.0))
}

impl Field {
    /// Valid where this bit is set.
    const fn if_set(mut self, bit: u8) -> Field {
        self.mark = Some((bit, true));
        self
    }

    /// Valid where this bit is clear.
    const fn if_clear(mut self, bit: u8) -> Field {
        self.mark = Some((bit, false));
        self
    }
}

const CONTROL_1: Layout = Layout { octets: 0, fields: &[flag(1, "control"), flag(0, "value")] };
/// `control`: 3.007 false is darker, true brighter; 3.008 false is up, true down. `step_code`: 0 stops, n makes
/// intervals of 1/2^(n-1).
const CONTROL_3: Layout =
    Layout { octets: 0, fields: &[flag(3, "control"), number(0, 3, "step_code", 0, 7)] };
/// A bit that is false is set, as the standard has it.
const STATUS_MODE: Layout = Layout {
    octets: 1,
    fields: &[
        flag(7, "a"),
        flag(6, "b"),
        flag(5, "c"),
        flag(4, "d"),
        flag(3, "e"),
        field(0, 3, "mode", Coding::OneOfThree),
    ],
};
/// `day`: 1 is Monday, 7 Sunday, 0 none.
const TIME: Layout = Layout {
    octets: 3,
    fields: &[
        number(21, 3, "day", 0, 7),
        number(16, 5, "hour", 0, 23),
        number(8, 6, "minute", 0, 59),
        number(0, 6, "second", 0, 59),
    ],
};
const DATE: Layout = Layout {
    octets: 3,
    fields: &[number(16, 5, "day", 1, 31), number(8, 4, "month", 1, 12), field(0, 7, "year", Coding::Year90)],
};
const ACCESS: Layout = Layout {
    octets: 4,
    fields: &[
        field(8, 24, "code", Coding::Digits),
        flag(7, "detection_error"),
        flag(6, "permission"),
        flag(5, "right_to_left"),
        flag(4, "encrypted"),
        number(0, 4, "index", 0, 15),
    ],
};
/// `learn`: the scene is stored, else recalled. `scene`: 0 to 63.
const SCENE_CONTROL: Layout = Layout { octets: 1, fields: &[flag(7, "learn"), number(0, 6, "scene", 0, 63)] };
/// Octet 7 has the bits `F WD NWD NY ND NDoW NT SUTI`; octet 8 begins with `CLQ SRC`.
const DATE_TIME: Layout = Layout {
    octets: 8,
    fields: &[
        field(56, 8, "year", Coding::From(1900)).if_clear(12),
        number(48, 4, "month", 1, 12).if_clear(11),
        number(40, 5, "day", 1, 31).if_clear(11),
        number(37, 3, "day_of_week", 0, 7).if_clear(10),
        number(32, 5, "hour", 0, 24).if_clear(9),
        number(24, 6, "minute", 0, 59).if_clear(9),
        number(16, 6, "second", 0, 59).if_clear(9),
        flag(15, "fault"),
        flag(14, "working_day").if_clear(13),
        flag(8, "summer_time"),
        flag(7, "clock_synchronized"),
        flag(6, "clock_reliable"),
    ],
};
const NIBBLES: Layout =
    Layout { octets: 1, fields: &[number(4, 4, "busy", 0, 15), number(0, 4, "nak", 0, 15)] };
const SCENE_INFO: Layout = Layout { octets: 1, fields: &[flag(6, "inactive"), number(0, 6, "scene", 0, 63)] };
/// Bit n of `states` counts where bit n of `mask` is set.
const INFO_ON_OFF: Layout = Layout { octets: 4, fields: &[word(16, "mask"), word(0, "states")] };
const MODE_NEXT: Layout = Layout { octets: 3, fields: &[word(8, "delay_min"), octet(0, "mode")] };
const VERSION: Layout = Layout {
    octets: 2,
    fields: &[number(11, 5, "magic", 0, 31), number(6, 5, "version", 0, 31), number(0, 6, "revision", 0, 63)],
};
const ALARM: Layout = Layout {
    octets: 6,
    fields: &[
        octet(40, "log_number"),
        number(32, 8, "priority", 0, 3),
        octet(24, "application_area"),
        octet(16, "error_class"),
        flag(11, "error_code_supported"),
        flag(10, "text_supported"),
        flag(9, "timestamp_supported"),
        flag(8, "acknowledge_supported"),
        flag(2, "locked"),
        flag(1, "unacknowledged"),
        flag(0, "in_alarm"),
    ],
};
const SERIAL: Layout =
    Layout { octets: 6, fields: &[word(32, "manufacturer"), number(0, 32, "number", 0, 0xffff_ffff)] };
const SETPOINTS: Layout = Layout {
    octets: 6,
    fields: &[
        field(32, 16, "comfort", Coding::Float16),
        field(16, 16, "standby", Coding::Float16),
        field(0, 16, "economy", Coding::Float16),
    ],
};
const SCALING_SPEED: Layout = Layout {
    octets: 3,
    fields: &[field(8, 16, "time_ms", Coding::Scaled(100.0, 1.0)), percent(0, "percent")],
};
/// The time as it is on the wire.
const SCALING_ANY: Layout = Layout { octets: 3, fields: &[word(8, "time"), percent(0, "percent")] };
const TARIFF_NEXT: Layout =
    Layout { octets: 3, fields: &[word(8, "delay_min"), number(0, 8, "tariff", 0, 254)] };
const MBUS: Layout = Layout {
    octets: 8,
    fields: &[
        word(48, "manufacturer"),
        number(16, 32, "identification", 0, 0xffff_ffff),
        octet(8, "version"),
        octet(0, "medium"),
    ],
};
const RGB: Layout = Layout { octets: 3, fields: &[octet(16, "red"), octet(8, "green"), octet(0, "blue")] };
/// A set bit marks what is not valid.
const TARIFF_ENERGY: Layout = Layout {
    octets: 6,
    fields: &[
        field(16, 32, "energy_wh", Coding::Signed).if_clear(1),
        number(8, 8, "tariff", 0, 254).if_clear(0),
    ],
};
const DALI_GEAR: Layout = Layout {
    octets: 2,
    fields: &[
        flag(10, "converter_error"),
        flag(9, "ballast_failure"),
        flag(8, "lamp_failure"),
        flag(7, "read"),
        flag(6, "group_address"),
        number(0, 6, "address", 0, 63),
    ],
};
const DALI: Layout = Layout {
    octets: 1,
    fields: &[flag(7, "ballast_failure"), flag(6, "lamp_failure"), number(0, 6, "address", 0, 63)],
};
const POSITION: Layout =
    Layout { octets: 3, fields: &[percent(16, "height").if_set(0), percent(8, "slats").if_set(1)] };
const XYY: Layout = Layout {
    octets: 6,
    fields: &[
        field(32, 16, "x", Coding::Scaled(1.0, 65_535.0)).if_set(1),
        field(16, 16, "y", Coding::Scaled(1.0, 65_535.0)).if_set(1),
        percent(8, "brightness").if_set(0),
    ],
};
const TRANSITION: Layout = Layout {
    octets: 6,
    fields: &[
        field(32, 16, "time_ms", Coding::Scaled(100.0, 1.0)).if_set(2),
        word(16, "color_temperature").if_set(1),
        percent(8, "brightness").if_set(0),
    ],
};
const RGBW: Layout = Layout {
    octets: 6,
    fields: &[
        octet(40, "red").if_set(3),
        octet(32, "green").if_set(2),
        octet(24, "blue").if_set(1),
        octet(16, "white").if_set(0),
    ],
};

pub(super) const ROWS: &[Definition] = &[
    Definition::main(2, "1-Bit Controlled", Format::Fields(&CONTROL_1)),
    row(2, 1, "DPT_Switch_Control", "", Format::Fields(&CONTROL_1)),
    row(2, 2, "DPT_Bool_Control", "", Format::Fields(&CONTROL_1)),
    row(2, 3, "DPT_Enable_Control", "", Format::Fields(&CONTROL_1)),
    row(2, 4, "DPT_Ramp_Control", "", Format::Fields(&CONTROL_1)),
    row(2, 5, "DPT_Alarm_Control", "", Format::Fields(&CONTROL_1)),
    row(2, 6, "DPT_BinaryValue_Control", "", Format::Fields(&CONTROL_1)),
    row(2, 7, "DPT_Step_Control", "", Format::Fields(&CONTROL_1)),
    row(2, 8, "DPT_Direction1_Control", "", Format::Fields(&CONTROL_1)),
    row(2, 9, "DPT_Direction2_Control", "", Format::Fields(&CONTROL_1)),
    row(2, 10, "DPT_Start_Control", "", Format::Fields(&CONTROL_1)),
    row(2, 11, "DPT_State_Control", "", Format::Fields(&CONTROL_1)),
    row(2, 12, "DPT_Invert_Control", "", Format::Fields(&CONTROL_1)),
    Definition::main(3, "3-Bit Controlled", Format::Fields(&CONTROL_3)),
    row(3, 7, "DPT_Control_Dimming", "", Format::Fields(&CONTROL_3)),
    row(3, 8, "DPT_Control_Blinds", "", Format::Fields(&CONTROL_3)),
    row(6, 20, "DPT_Status_Mode3", "", Format::Fields(&STATUS_MODE)),
    Definition::main(10, "Time", Format::Fields(&TIME)),
    row(10, 1, "DPT_TimeOfDay", "", Format::Fields(&TIME)),
    Definition::main(11, "Date", Format::Fields(&DATE)),
    row(11, 1, "DPT_Date", "", Format::Fields(&DATE)),
    Definition::main(15, "Access Data", Format::Fields(&ACCESS)),
    row(15, 0, "DPT_Access_Data", "", Format::Fields(&ACCESS)),
    Definition::main(18, "Scene Control", Format::Fields(&SCENE_CONTROL)),
    row(18, 1, "DPT_SceneControl", "", Format::Fields(&SCENE_CONTROL)),
    Definition::main(19, "Date and Time", Format::Fields(&DATE_TIME)),
    row(19, 1, "DPT_DateTime", "", Format::Fields(&DATE_TIME)),
    Definition::main(25, "Two Nibbles", Format::Fields(&NIBBLES)),
    row(25, 1000, "DPT_DoubleNibble", "", Format::Fields(&NIBBLES)),
    Definition::main(26, "Scene Information", Format::Fields(&SCENE_INFO)),
    row(26, 1, "DPT_SceneInfo", "", Format::Fields(&SCENE_INFO)),
    Definition::main(27, "32-Bit Set", Format::Fields(&INFO_ON_OFF)),
    row(27, 1, "DPT_CombinedInfoOnOff", "", Format::Fields(&INFO_ON_OFF)),
    Definition::main(206, "Time and Mode", Format::Fields(&MODE_NEXT)),
    row(206, 100, "DPT_HVACModeNext", "", Format::Fields(&MODE_NEXT)),
    row(206, 102, "DPT_DHWModeNext", "", Format::Fields(&MODE_NEXT)),
    row(206, 104, "DPT_OccModeNext", "", Format::Fields(&MODE_NEXT)),
    row(206, 105, "DPT_BuildingModeNext", "", Format::Fields(&MODE_NEXT)),
    Definition::main(217, "Version", Format::Fields(&VERSION)),
    row(217, 1, "DPT_Version", "", Format::Fields(&VERSION)),
    Definition::main(219, "Alarm Information", Format::Fields(&ALARM)),
    row(219, 1, "DPT_AlarmInfo", "", Format::Fields(&ALARM)),
    Definition::main(221, "Serial Number", Format::Fields(&SERIAL)),
    row(221, 1, "DPT_SerNum", "", Format::Fields(&SERIAL)),
    Definition::main(222, "Three 2-Octet Floats", Format::Fields(&SETPOINTS)),
    row(222, 100, "DPT_TempRoomSetpSetF16[3]", "°C", Format::Fields(&SETPOINTS)),
    row(222, 101, "DPT_TempRoomSetpSetShiftF16[3]", "K", Format::Fields(&SETPOINTS)),
    Definition::main(225, "Time and Scaling", Format::Fields(&SCALING_ANY)),
    row(225, 1, "DPT_ScalingSpeed", "", Format::Fields(&SCALING_SPEED)),
    row(225, 2, "DPT_Scaling_Step_Time", "", Format::Fields(&SCALING_ANY)),
    row(225, 3, "DPT_TariffNext", "", Format::Fields(&TARIFF_NEXT)),
    Definition::main(230, "M-Bus Address", Format::Fields(&MBUS)),
    row(230, 1000, "DPT_MBus_Address", "", Format::Fields(&MBUS)),
    Definition::main(232, "Color RGB", Format::Fields(&RGB)),
    row(232, 600, "DPT_Colour_RGB", "", Format::Fields(&RGB)),
    Definition::main(235, "Tariff and Active Energy", Format::Fields(&TARIFF_ENERGY)),
    row(235, 1, "DPT_Tariff_ActiveEnergy", "", Format::Fields(&TARIFF_ENERGY)),
    Definition::main(237, "DALI Control Gear", Format::Fields(&DALI_GEAR)),
    row(237, 600, "DPT_DALI_Control_Gear_Diagnostic", "", Format::Fields(&DALI_GEAR)),
    Definition::main(238, "DALI Diagnostics", Format::Fields(&DALI)),
    row(238, 600, "DPT_DALI_Diagnostics", "", Format::Fields(&DALI)),
    Definition::main(240, "Combined Position", Format::Fields(&POSITION)),
    row(240, 800, "DPT_CombinedPosition", "%", Format::Fields(&POSITION)),
    Definition::main(242, "Color xyY", Format::Fields(&XYY)),
    row(242, 600, "DPT_Colour_xyY", "", Format::Fields(&XYY)),
    Definition::main(249, "Brightness and Color Temperature", Format::Fields(&TRANSITION)),
    row(249, 600, "DPT_Brightness_Colour_Temperature_Transition", "", Format::Fields(&TRANSITION)),
    Definition::main(251, "Color RGBW", Format::Fields(&RGBW)),
    row(251, 600, "DPT_Colour_RGBW", "", Format::Fields(&RGBW)),
];
