//! The C header and the Rust types describe the same bytes and the same numbers.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use twinhub_contract::{abi, constants, event, extension};

/// `Struct { member, .. }` on the Rust side, in the order of the header.
macro_rules! layouts {
    ($($c:literal = $rust:ty { $($member:ident),+ $(,)? })+) => {
        vec![$(
            ($c, size_of::<$rust>(), align_of::<$rust>(), vec![
                $((stringify!($member), std::mem::offset_of!($rust, $member))),+
            ])
        ),+]
    };
}

macro_rules! numbers {
    ($($c:literal = $rust:expr),+ $(,)?) => {
        vec![$(($c, i128::from($rust))),+]
    };
}

#[test]
fn every_size_and_offset_of_the_header_is_that_of_the_rust_type() {
    let layouts = layouts();
    let mut source = String::from(PRELUDE);
    for (name, _, _, members) in &layouts {
        writeln!(source, "printf(\"{name} %zu %zu\\n\", sizeof({name}), _Alignof({name}));").unwrap();
        for (member, _) in members {
            writeln!(source, "printf(\"{name}.{member} %zu 0\\n\", offsetof({name}, {member}));").unwrap();
        }
    }
    source.push_str("return 0; }\n");
    let printed = compile_and_run(&source, "layout");
    let in_c: BTreeMap<&str, (usize, usize)> = printed
        .lines()
        .map(|line| {
            let words: Vec<_> = line.split(' ').collect();
            (words[0], (words[1].parse().unwrap(), words[2].parse().unwrap()))
        })
        .collect();

    for (name, size, align, members) in layouts {
        assert_eq!(in_c[name], (size, align), "size and alignment of {name}");
        let mut end = 0;
        for (member, offset) in members {
            assert_eq!(in_c[format!("{name}.{member}").as_str()].0, offset, "offset of {name}.{member}");
            end = end.max(offset);
        }
        assert!(size - end <= 16, "{name}: a member at the end is not compared");
    }
}

#[test]
fn every_struct_and_every_number_of_the_header_is_compared() {
    let header = header();
    let structs: Vec<_> = header
        .lines()
        .filter_map(|line| line.strip_prefix("} ")?.strip_suffix(';'))
        .map(str::to_owned)
        .collect();
    let compared: Vec<_> = layouts().iter().map(|layout| layout.0.to_owned()).collect();
    assert_eq!(structs.len(), compared.len(), "{structs:?} against {compared:?}");
    for name in structs {
        assert!(compared.contains(&name), "{name} is not compared");
    }

    let compared: Vec<_> = numbers().iter().map(|number| number.0).collect();
    for name in names_of_numbers(&header) {
        assert!(compared.contains(&name.as_str()), "{name} is not compared");
    }
}

#[test]
fn every_number_of_the_header_is_that_of_the_rust_constant() {
    let numbers = numbers();
    let mut source = String::from(PRELUDE);
    for (name, _) in &numbers {
        writeln!(source, "printf(\"{name} %lld\\n\", (long long)({name}));").unwrap();
    }
    source.push_str("return 0; }\n");
    let printed = compile_and_run(&source, "numbers");
    let in_c: BTreeMap<&str, i128> = printed
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(n, v)| (n, v.parse().unwrap()))
        .collect();
    for (name, value) in numbers {
        assert_eq!(in_c[name], value, "{name}");
    }
}

#[test]
fn extension_ids_are_those_of_the_header() {
    let header = header();
    let ids = [
        extension::GATE,
        extension::STATUS,
        extension::METRICS,
        extension::ACCEPTANCE,
        extension::ACCEPTED,
        extension::FLOW,
        extension::STATE,
        extension::STATE_STORE,
        extension::ANSWER,
        extension::BROWSE,
        extension::DIAG,
        extension::INQUIRY,
        extension::VALUES_IN,
        extension::EVENTS,
    ];
    for id in ids {
        let id = id.to_str().unwrap();
        assert!(header.contains(&format!("\"{id}\"")), "{id}");
    }
    assert_eq!(header.matches("#define TWINHUB_EXT_").count(), ids.len());
}

#[test]
fn the_header_is_clean_as_c11_and_as_cpp() {
    let source = format!("{PRELUDE}(void)printf; return 0; }}\n");
    let dir = scratch("clean");
    for (compiler, standard, file) in [("cc", "-std=c11", "clean.c"), ("c++", "-std=c++11", "clean.cc")] {
        let path = dir.join(file);
        std::fs::write(&path, source.replace("(void)printf;", "")).unwrap();
        let flags = ["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only"];
        let output =
            Command::new(compiler).arg(standard).args(flags).arg(include_flag()).arg(&path).output().unwrap();
        assert!(output.status.success(), "{compiler}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

type Layout = (&'static str, usize, usize, Vec<(&'static str, usize)>);

fn layouts() -> Vec<Layout> {
    layouts! {
        "twinhub_str" = abi::Str { ptr, len }
        "twinhub_payload" = abi::Payload { b, i, u, f, ptr }
        "twinhub_value" = abi::Value { kind, wire, elem, len, p }
        "twinhub_update" = abi::Update { item, status, source_ns, value, flags, seq }
        "twinhub_batch" = abi::Batch { size, stride, count, flags, epoch, items }
        "twinhub_write" = abi::Write { write_id, item, flags, deadline_ns, value }
        "twinhub_write_batch" = abi::WriteBatch { size, stride, count, flags, epoch, items }
        "twinhub_write_result" = abi::WriteResult { write_id, code, status }
        "twinhub_item" = abi::Item { handle, access, address_json, type_hint, group }
        "twinhub_writer" = abi::Writer { ctx, write }
        "twinhub_host" = abi::Host {
            size, abi, ctx, get_extension, publish, write_done, op_done, fault, log,
        }
        "twinhub_plugin" = abi::Plugin {
            size, abi, ctx, get_extension, start, set_role, items, write, stop, destroy,
        }
        "twinhub_entry" = abi::Entry { magic, size, abi, build_flags, reserved, manifest, create }
        "twinhub_gate" = extension::Gate { size, reserved, lease_end }
        "twinhub_status" = extension::Status { size, reserved, state }
        "twinhub_metrics" = extension::Metrics { size, reserved, count }
        "twinhub_acceptance" = extension::Acceptance { size, reserved, taken, accepted }
        "twinhub_accepted" = extension::Accepted { size, reserved, accepted }
        "twinhub_flow" = extension::Flow { size, reserved, room }
        "twinhub_state" = extension::State { size, reserved, snapshot, apply }
        "twinhub_state_store" = extension::StateStore { size, reserved, get, next, put, remove }
        "twinhub_answer" = extension::Answer { size, reserved, append }
        "twinhub_browse" = extension::Browse { size, reserved, browse }
        "twinhub_diag" = extension::Diag { size, reserved, diagnose }
        "twinhub_inquiry" = extension::Inquiry { size, reserved, inquire }
        "twinhub_value_in" = extension::ValueIn { update, place_epoch, place_seq }
        "twinhub_values" = extension::Values { size, stride, count, flags, epoch, items }
        "twinhub_values_in" = extension::ValuesIn { size, reserved, watch, values }
        "twinhub_event" = event::Event {
            size, flags, epoch, number, source, stream, event_id, key, payload, payload_len,
        }
        "twinhub_host_events" = extension::HostEvents { size, reserved, give, acknowledge }
        "twinhub_plugin_events" = extension::PluginEvents { size, reserved, taken, deliver }
    }
}

fn numbers() -> Vec<(&'static str, i128)> {
    use constants::{access, build, code, flag, items, kind, level, quality, role, state, wire};
    numbers![
        "TWINHUB_MAGIC" = constants::MAGIC,
        "TWINHUB_ABI_MAJOR" = constants::ABI_MAJOR,
        "TWINHUB_ABI_MINOR" = constants::ABI_MINOR,
        "TWINHUB_ABI" = constants::ABI,
        "TWINHUB_VALUE_BYTES_MAX" = u32::try_from(constants::VALUE_BYTES_MAX).unwrap(),
        "TWINHUB_BATCH_COUNT_MAX" = constants::BATCH_COUNT_MAX,
        "TWINHUB_STRIDE_MAX" = constants::STRIDE_MAX,
        "TWINHUB_STATE_BYTES_MAX" = u32::try_from(constants::STATE_BYTES_MAX).unwrap(),
        "TWINHUB_STORE_KEY_BYTES_MAX" = u32::try_from(constants::STORE_KEY_BYTES_MAX).unwrap(),
        "TWINHUB_STORE_VALUE_BYTES_MAX" = u32::try_from(constants::STORE_VALUE_BYTES_MAX).unwrap(),
        "TWINHUB_STORE_KEYS_MAX" = u32::try_from(constants::STORE_KEYS_MAX).unwrap(),
        "TWINHUB_STORE_BYTES_MAX" = u32::try_from(constants::STORE_BYTES_MAX).unwrap(),
        "TWINHUB_ANSWER_BYTES_MAX" = u32::try_from(constants::ANSWER_BYTES_MAX).unwrap(),
        "TWINHUB_BROWSE_NODES_MAX" = constants::BROWSE_NODES_MAX,
        "TWINHUB_INQUIRY_TEST" = constants::inquiry::TEST,
        "TWINHUB_INQUIRY_DISCOVER" = constants::inquiry::DISCOVER,
        "TWINHUB_INQUIRY_MONITOR" = constants::inquiry::MONITOR,
        "TWINHUB_EVENT_STREAM_BYTES_MAX" = u32::try_from(constants::EVENT_STREAM_BYTES_MAX).unwrap(),
        "TWINHUB_EVENT_ID_BYTES_MAX" = u32::try_from(constants::EVENT_ID_BYTES_MAX).unwrap(),
        "TWINHUB_EVENT_KEY_BYTES_MAX" = u32::try_from(constants::EVENT_KEY_BYTES_MAX).unwrap(),
        "TWINHUB_EVENT_PAYLOAD_BYTES_MAX" = u32::try_from(constants::EVENT_PAYLOAD_BYTES_MAX).unwrap(),
        "TWINHUB_EVENT_STREAMS_MAX" = u32::try_from(constants::EVENT_STREAMS_MAX).unwrap(),
        "TWINHUB_EVENT_NEED_ACK" = event::event_flag::NEED_ACK,
        "TWINHUB_EVENT_REDELIVERED" = event::event_flag::REDELIVERED,
        "TWINHUB_TIME_NONE" = constants::TIME_NONE,
        "TWINHUB_OK" = code::OK,
        "TWINHUB_PENDING" = code::PENDING,
        "TWINHUB_E_PANIC" = code::PANIC,
        "TWINHUB_E_AGAIN" = code::AGAIN,
        "TWINHUB_E_STALE_EPOCH" = code::STALE_EPOCH,
        "TWINHUB_E_INVALID" = code::INVALID,
        "TWINHUB_E_STOPPED" = code::STOPPED,
        "TWINHUB_E_UNSUPPORTED" = code::UNSUPPORTED,
        "TWINHUB_E_NOT_ACTIVE" = code::NOT_ACTIVE,
        "TWINHUB_E_TIMEOUT" = code::TIMEOUT,
        "TWINHUB_E_CONFIG" = code::CONFIG,
        "TWINHUB_E_DEVICE" = code::DEVICE,
        "TWINHUB_E_BUSY" = code::BUSY,
        "TWINHUB_E_STATE_VERSION" = code::STATE_VERSION,
        "TWINHUB_E_EXPIRED" = code::EXPIRED,
        "TWINHUB_E_NOT_FOUND" = code::NOT_FOUND,
        "TWINHUB_E_FULL" = code::FULL,
        "TWINHUB_KIND_NULL" = kind::NULL,
        "TWINHUB_KIND_BOOL" = kind::BOOL,
        "TWINHUB_KIND_I64" = kind::I64,
        "TWINHUB_KIND_U64" = kind::U64,
        "TWINHUB_KIND_F64" = kind::F64,
        "TWINHUB_KIND_STR" = kind::STR,
        "TWINHUB_KIND_BYTES" = kind::BYTES,
        "TWINHUB_KIND_TIME" = kind::TIME,
        "TWINHUB_KIND_ARRAY" = kind::ARRAY,
        "TWINHUB_KIND_JSON" = kind::JSON,
        "TWINHUB_WIRE_NONE" = wire::NONE,
        "TWINHUB_WIRE_BOOL" = wire::BOOL,
        "TWINHUB_WIRE_I8" = wire::I8,
        "TWINHUB_WIRE_U8" = wire::U8,
        "TWINHUB_WIRE_I16" = wire::I16,
        "TWINHUB_WIRE_U16" = wire::U16,
        "TWINHUB_WIRE_I32" = wire::I32,
        "TWINHUB_WIRE_U32" = wire::U32,
        "TWINHUB_WIRE_I64" = wire::I64,
        "TWINHUB_WIRE_U64" = wire::U64,
        "TWINHUB_WIRE_F32" = wire::F32,
        "TWINHUB_WIRE_F64" = wire::F64,
        "TWINHUB_WIRE_STRING" = wire::STRING,
        "TWINHUB_WIRE_BYTES" = wire::BYTES,
        "TWINHUB_WIRE_TIME" = wire::TIME,
        "TWINHUB_WIRE_JSON" = wire::JSON,
        "TWINHUB_QUALITY_GOOD" = quality::GOOD,
        "TWINHUB_QUALITY_GOOD_LOCAL_OVERRIDE" = quality::GOOD_LOCAL_OVERRIDE,
        "TWINHUB_QUALITY_UNCERTAIN" = quality::UNCERTAIN,
        "TWINHUB_QUALITY_UNCERTAIN_LAST_USABLE" = quality::UNCERTAIN_LAST_USABLE,
        "TWINHUB_QUALITY_UNCERTAIN_SUBSTITUTE" = quality::UNCERTAIN_SUBSTITUTE,
        "TWINHUB_QUALITY_BAD" = quality::BAD,
        "TWINHUB_QUALITY_BAD_COMMUNICATION" = quality::BAD_COMMUNICATION,
        "TWINHUB_QUALITY_BAD_DECODING" = quality::BAD_DECODING,
        "TWINHUB_QUALITY_BAD_NOT_CONNECTED" = quality::BAD_NOT_CONNECTED,
        "TWINHUB_QUALITY_BAD_SENSOR_FAILURE" = quality::BAD_SENSOR_FAILURE,
        "TWINHUB_QUALITY_BAD_TIMEOUT" = quality::BAD_TIMEOUT,
        "TWINHUB_QUALITY_BAD_NO_COMMUNICATION" = quality::BAD_NO_COMMUNICATION,
        "TWINHUB_QUALITY_BAD_WAITING_FOR_INITIAL_DATA" = quality::BAD_WAITING_FOR_INITIAL_DATA,
        "TWINHUB_QUALITY_BAD_ADDRESS_UNKNOWN" = quality::BAD_ADDRESS_UNKNOWN,
        "TWINHUB_QUALITY_BAD_OUT_OF_RANGE" = quality::BAD_OUT_OF_RANGE,
        "TWINHUB_QUALITY_BAD_TYPE_MISMATCH" = quality::BAD_TYPE_MISMATCH,
        "TWINHUB_QUALITY_BAD_CONFIGURATION" = quality::BAD_CONFIGURATION,
        "TWINHUB_QUALITY_BAD_DEVICE_FAILURE" = quality::BAD_DEVICE_FAILURE,
        "TWINHUB_FLAG_SNAPSHOT" = flag::SNAPSHOT,
        "TWINHUB_FLAG_REPLAY" = flag::REPLAY,
        "TWINHUB_FLAG_SUBSTITUTE" = flag::SUBSTITUTE,
        "TWINHUB_FLAG_FORCED" = flag::FORCED,
        "TWINHUB_FLAG_LOCAL_TIME" = flag::LOCAL_TIME,
        "TWINHUB_FLAG_EVENT" = flag::EVENT,
        "TWINHUB_FLAG_STANDBY" = flag::STANDBY,
        "TWINHUB_FLAG_MIRROR" = flag::MIRROR,
        "TWINHUB_FLAG_QUALITY_ONLY" = flag::QUALITY_ONLY,
        "TWINHUB_ACCESS_READ" = access::READ,
        "TWINHUB_ACCESS_WRITE" = access::WRITE,
        "TWINHUB_LEVEL_ERROR" = level::ERROR,
        "TWINHUB_LEVEL_WARN" = level::WARN,
        "TWINHUB_LEVEL_INFO" = level::INFO,
        "TWINHUB_LEVEL_DEBUG" = level::DEBUG,
        "TWINHUB_LEVEL_TRACE" = level::TRACE,
        "TWINHUB_ROLE_COLD" = role::COLD,
        "TWINHUB_ROLE_WARM" = role::WARM,
        "TWINHUB_ROLE_HOT" = role::HOT,
        "TWINHUB_ROLE_ACTIVE" = role::ACTIVE,
        "TWINHUB_ITEMS_ADD" = items::ADD,
        "TWINHUB_ITEMS_REMOVE" = items::REMOVE,
        "TWINHUB_BUILD_UNWIND" = build::UNWIND,
        "TWINHUB_BUILD_DEBUG" = build::DEBUG,
        "TWINHUB_STATE_STOPPED" = state::STOPPED,
        "TWINHUB_STATE_CONNECTING" = state::CONNECTING,
        "TWINHUB_STATE_OK" = state::OK,
        "TWINHUB_STATE_DEGRADED" = state::DEGRADED,
        "TWINHUB_STATE_FAULT" = state::FAULT,
        "TWINHUB_STATE_SUPPRESSED" = state::SUPPRESSED,
    ]
}

/// Names of macros with a value and of enumerators, found in the text of the header.
fn names_of_numbers(header: &str) -> Vec<String> {
    let mut names = Vec::new();
    for line in header.lines() {
        if let Some(rest) = line.strip_prefix("#define TWINHUB_") {
            if rest.starts_with("PLUGIN_H") || rest.starts_with("EXT_") {
                continue;
            }
            names.push(format!("TWINHUB_{}", rest.split(' ').next().unwrap()));
        } else {
            let code = line.split("/*").next().unwrap();
            for part in code.split(['{', ',']) {
                if let Some((name, _)) = part.split_once(" = ")
                    && name.trim().starts_with("TWINHUB_")
                {
                    names.push(name.trim().to_owned());
                }
            }
        }
    }
    assert!(names.len() > 80, "the header has more numbers than {}", names.len());
    names
}

fn header() -> String {
    twinhub_contract::HEADER.to_owned()
}

fn include_flag() -> String {
    format!("-I{}", Path::new(env!("CARGO_MANIFEST_DIR")).join("include").display())
}

fn scratch(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("contract-{name}"));
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

fn compile_and_run(source: &str, name: &str) -> String {
    let dir = scratch(name);
    let (file, program) = (dir.join("main.c"), dir.join("main"));
    std::fs::write(&file, source).unwrap();
    let output = Command::new("cc")
        .args(["-std=c11", "-Wall", "-Wextra", "-Werror"])
        .arg(include_flag())
        .arg("-o")
        .arg(&program)
        .arg(&file)
        .output()
        .expect("the C compiler `cc` is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let output = Command::new(&program).output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

const PRELUDE: &str = "#include <stdio.h>\n#include \"twinhub_plugin.h\"\nint main(void) {\n";
