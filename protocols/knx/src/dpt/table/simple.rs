//! Bits, whole numbers, characters and texts: main numbers 1, 4 to 8, 12, 13, 16, 17, 24, 28 and 29 (`03_07_02`
//! v02.02.01, §3.1, §3.4 to §3.9, §3.13, §3.14, §3.17 and §3.18).

use super::{Definition, Format, row, row_in};
use crate::dpt::number::Kind;

const fn bit(sub: u16, name: &'static str) -> Definition {
    row(1, sub, name, "", Format::Bit)
}

const fn scaled(kind: Kind, factor: f64, divisor: f64) -> Format {
    Format::Scaled { kind, factor, divisor, none: None }
}

const fn whole(main: u16, sub: u16, name: &'static str, unit: &'static str, kind: Kind) -> Definition {
    row(main, sub, name, unit, Format::Integer(kind))
}

/// §3.9.1: 7FFFh marks invalid data.
const PERCENT_V16: Format =
    Format::Scaled { kind: Kind::V16, factor: 1.0, divisor: 100.0, none: Some(0x7fff) };

pub(super) const ROWS: &[Definition] = &[
    Definition::main(1, "Boolean", Format::Bit),
    bit(1, "DPT_Switch"),
    bit(2, "DPT_Bool"),
    bit(3, "DPT_Enable"),
    bit(4, "DPT_Ramp"),
    bit(5, "DPT_Alarm"),
    bit(6, "DPT_BinaryValue"),
    bit(7, "DPT_Step"),
    bit(8, "DPT_UpDown"),
    bit(9, "DPT_OpenClose"),
    bit(10, "DPT_Start"),
    bit(11, "DPT_State"),
    bit(12, "DPT_Invert"),
    bit(13, "DPT_DimSendStyle"),
    bit(14, "DPT_InputSource"),
    bit(15, "DPT_Reset"),
    bit(16, "DPT_Ack"),
    bit(17, "DPT_Trigger"),
    bit(18, "DPT_Occupancy"),
    bit(19, "DPT_Window_Door"),
    bit(21, "DPT_LogicalFunction"),
    bit(22, "DPT_Scene_AB"),
    bit(23, "DPT_ShutterBlinds_Mode"),
    bit(24, "DPT_DayNight"),
    bit(100, "DPT_Heat/Cool"),
    bit(1200, "DPT_ConsumerProducer"),
    bit(1201, "DPT_EnergyDirection"),
    Definition::main(4, "Character", Format::Character(false)),
    row(4, 1, "DPT_Char_ASCII", "", Format::Character(true)),
    row(4, 2, "DPT_Char_8859_1", "", Format::Character(false)),
    Definition::main(5, "8-Bit Unsigned Value", Format::Integer(Kind::U8)),
    row(5, 1, "DPT_Scaling", "%", scaled(Kind::U8, 100.0, 255.0)),
    row(5, 3, "DPT_Angle", "°", scaled(Kind::U8, 360.0, 255.0)),
    whole(5, 4, "DPT_Percent_U8", "%", Kind::U8),
    whole(5, 5, "DPT_DecimalFactor", "", Kind::U8),
    row_in(5, 6, "DPT_Tariff", "", Format::Integer(Kind::U8), 0.0, 254.0),
    whole(5, 10, "DPT_Value_1_Ucount", "", Kind::U8),
    whole(5, 100, "DPT_FanStage", "", Kind::U8),
    Definition::main(6, "8-Bit Signed Value", Format::Integer(Kind::V8)),
    whole(6, 1, "DPT_Percent_V8", "%", Kind::V8),
    whole(6, 10, "DPT_Value_1_Count", "", Kind::V8),
    Definition::main(7, "2-Octet Unsigned Value", Format::Integer(Kind::U16)),
    whole(7, 1, "DPT_Value_2_Ucount", "", Kind::U16),
    whole(7, 2, "DPT_TimePeriodMsec", "ms", Kind::U16),
    row(7, 3, "DPT_TimePeriod10Msec", "ms", scaled(Kind::U16, 10.0, 1.0)),
    row(7, 4, "DPT_TimePeriod100Msec", "ms", scaled(Kind::U16, 100.0, 1.0)),
    whole(7, 5, "DPT_TimePeriodSec", "s", Kind::U16),
    whole(7, 6, "DPT_TimePeriodMin", "min", Kind::U16),
    whole(7, 7, "DPT_TimePeriodHrs", "h", Kind::U16),
    whole(7, 10, "DPT_PropDataType", "", Kind::U16),
    whole(7, 11, "DPT_Length_mm", "mm", Kind::U16),
    whole(7, 12, "DPT_UElCurrentmA", "mA", Kind::U16),
    whole(7, 13, "DPT_Brightness", "lx", Kind::U16),
    whole(7, 600, "DPT_Absolute_Colour_Temperature", "K", Kind::U16),
    Definition::main(8, "2-Octet Signed Value", Format::Integer(Kind::V16)),
    whole(8, 1, "DPT_Value_2_Count", "", Kind::V16),
    whole(8, 2, "DPT_DeltaTimeMsec", "ms", Kind::V16),
    row(8, 3, "DPT_DeltaTime10Msec", "ms", scaled(Kind::V16, 10.0, 1.0)),
    row(8, 4, "DPT_DeltaTime100Msec", "ms", scaled(Kind::V16, 100.0, 1.0)),
    whole(8, 5, "DPT_DeltaTimeSec", "s", Kind::V16),
    whole(8, 6, "DPT_DeltaTimeMin", "min", Kind::V16),
    whole(8, 7, "DPT_DeltaTimeHrs", "h", Kind::V16),
    row(8, 10, "DPT_Percent_V16", "%", PERCENT_V16),
    whole(8, 11, "DPT_Rotation_Angle", "°", Kind::V16),
    whole(8, 12, "DPT_Length_m", "m", Kind::V16),
    Definition::main(12, "4-Octet Unsigned Value", Format::Integer(Kind::U32)),
    whole(12, 1, "DPT_Value_4_Ucount", "", Kind::U32),
    whole(12, 100, "DPT_LongTimePeriod_Sec", "s", Kind::U32),
    whole(12, 101, "DPT_LongTimePeriod_Min", "min", Kind::U32),
    whole(12, 102, "DPT_LongTimePeriod_Hrs", "h", Kind::U32),
    whole(12, 1200, "DPT_VolumeLiquid_Litre", "l", Kind::U32),
    whole(12, 1201, "DPT_Volume_m3", "m³", Kind::U32),
    Definition::main(13, "4-Octet Signed Value", Format::Integer(Kind::V32)),
    whole(13, 1, "DPT_Value_4_Count", "", Kind::V32),
    // §3.14.1: resolution 0.0001 m³/h.
    row(13, 2, "DPT_FlowRate_m3/h", "m³/h", scaled(Kind::V32, 1.0, 10_000.0)),
    whole(13, 10, "DPT_ActiveEnergy", "Wh", Kind::V32),
    whole(13, 11, "DPT_ApparantEnergy", "VAh", Kind::V32),
    whole(13, 12, "DPT_ReactiveEnergy", "VARh", Kind::V32),
    whole(13, 13, "DPT_ActiveEnergy_kWh", "kWh", Kind::V32),
    whole(13, 14, "DPT_ApparantEnergy_kVAh", "kVAh", Kind::V32),
    whole(13, 15, "DPT_ReactiveEnergy_kVARh", "kVARh", Kind::V32),
    whole(13, 16, "DPT_ActiveEnergy_MWh", "MWh", Kind::V32),
    whole(13, 100, "DPT_LongDeltaTimeSec", "s", Kind::V32),
    whole(13, 1200, "DPT_DeltaVolumeLiquid_Litre", "l", Kind::V32),
    whole(13, 1201, "DPT_DeltaVolume_m3", "m³", Kind::V32),
    Definition::main(16, "String", Format::Text14(false)),
    row(16, 0, "DPT_String_ASCII", "", Format::Text14(true)),
    row(16, 1, "DPT_String_8859_1", "", Format::Text14(false)),
    // The number on the wire, 0 to 63; the ETS shows it one higher.
    Definition::main(17, "Scene Number", Format::Scene),
    row(17, 1, "DPT_SceneNumber", "", Format::Scene),
    Definition::main(24, "String of Variable Length, ISO 8859-1", Format::Latin1),
    row(24, 1, "DPT_VarString_8859_1", "", Format::Latin1),
    Definition::main(28, "Unicode UTF-8 String", Format::Utf8),
    row(28, 1, "DPT_UTF-8", "", Format::Utf8),
    Definition::main(29, "8-Octet Signed Value", Format::Integer(Kind::V64)),
    whole(29, 10, "DPT_ActiveEnergy_V64", "Wh", Kind::V64),
    whole(29, 11, "DPT_ApparantEnergy_V64", "VAh", Kind::V64),
    whole(29, 12, "DPT_ReactiveEnergy_V64", "VARh", Kind::V64),
];
