//! Configuration and items.

use serde_json::Value as Json;
use twinhub_contract::code;
use twinhub_loader::{ItemSpec, PluginError};

use super::{Group, Outcome, Stop, Test, failed, hold};
use crate::bench::{Bench, MAIN, said};
use crate::wrong::wrong_configs;

pub(super) const TESTS: &[Test] = &[
    test("valid", "both schemas are JSON Schemas that need nothing from elsewhere", valid),
    test("right_config", "the configuration given to the kit fits the schema, and is taken", right_config),
    test("right_items", "the items given to the kit fit their schema, and are taken", right_items),
    test("wrong_configs", "configurations that the schema does not allow are refused with a text", wrong),
    test("no_json", "texts that are no JSON are refused with a text", no_json),
    test("odd_items", "items without columns, with odd and with very many are taken or refused", odd_items),
];

const fn test(name: &'static str, about: &'static str, run: fn(&Bench) -> Outcome) -> Test {
    Test::new(Group::Schema, name, about, run)
}

fn valid(bench: &Bench) -> Outcome {
    let manifest = bench.manifest();
    for (name, schema) in
        [("config_schema", &manifest.config_schema), ("item_address_schema", &manifest.item_address_schema)]
    {
        jsonschema::meta::validate(schema)
            .or_else(|error| failed(format!("{name} is no JSON Schema: {error}")))?;
        jsonschema::validator_for(schema).or_else(|error| failed(format!("{name}: {error}")))?;
    }
    let columns = manifest.item_address_schema.get("properties").and_then(Json::as_object);
    let odd: Vec<&String> = columns
        .into_iter()
        .flatten()
        .filter(|(_, column)| column.get("type").is_some_and(|kind| kind != "string"))
        .map(|(name, _)| name)
        .collect();
    hold(odd.is_empty(), || format!("item columns {odd:?} are not of type string; every column is a text"))?;
    Ok(String::new())
}

fn right_config(bench: &Bench) -> Outcome {
    let schema = &bench.manifest().config_schema;
    let validator = jsonschema::validator_for(schema).or_else(|error| failed(error.to_string()))?;
    let wrong: Vec<String> = validator
        .iter_errors(&bench.kit.config)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    hold(wrong.is_empty(), || {
        format!(
            "the kit has no configuration that fits the schema, give one with --settings: {}",
            wrong.join("; ")
        )
    })?;
    bench.create(&bench.config_text(MAIN)).map_or_else(
        |error| failed(format!("the configuration fits the schema and is refused: {}", said(&error))),
        |unit| {
            unit.destroy();
            Ok(String::new())
        },
    )
}

fn right_items(bench: &Bench) -> Outcome {
    let hint = if bench.kit.is_default_items() { ": give the kit some with --items" } else { "" };
    let schema = &bench.manifest().item_address_schema;
    let validator = jsonschema::validator_for(schema).or_else(|error| failed(error.to_string()))?;
    for row in &bench.kit.items {
        // What every item has is the hub's; the schema names the plugin's own columns.
        let own: serde_json::Map<String, Json> = row
            .iter()
            .filter(|(column, text)| !HUB_COLUMNS.contains(&column.as_str()) && !text.is_empty())
            .map(|(column, text)| (column.clone(), Json::String(text.clone())))
            .collect();
        validator.validate(&Json::Object(own)).or_else(|error| {
            failed(format!("item {:?}: {error}{hint}", row.get("path").map_or("", |it| it)))
        })?;
    }
    let unit = match bench.create(&bench.config_text(MAIN)) {
        Ok(unit) => unit,
        Err(error) => return super::skipped(format!("no instance: {}", said(&error))),
    };
    let specs = bench.kit.specs();
    unit.host.expect_items(specs.iter().map(|spec| spec.handle));
    unit.control("items(add)", |instance, op| instance.items(op, &specs, &[]))?
        .or_else(|error| failed(format!("the items are refused{hint}: {}", said(&error))))?;
    unit.done("items(remove)", |instance, op| instance.items(op, &[], &[0]))?;
    Ok(format!("{} items", specs.len()))
}

fn wrong(bench: &Bench) -> Outcome {
    let configs =
        wrong_configs(&bench.manifest().config_schema, &bench.kit.config, CONFIGS_MAX).or_else(failed)?;
    if configs.is_empty() {
        return super::skipped("the schema allows everything");
    }
    for (what, config) in &configs {
        bench.step(&format!("create with a configuration in which {what}"));
        let answer = begin(bench, &config.to_string())?;
        is_refused(answer, &format!("the schema forbids a configuration in which {what}"))?;
    }
    Ok(format!("{} wrong configurations", configs.len()))
}

fn no_json(bench: &Bench) -> Outcome {
    let (deep, long) = ("[".repeat(100_000), format!("\"{}", "k".repeat(1 << 20)));
    for text in ["{", "}", "nul", "{\"a\":}", "\u{FEFF}{}", "{}{}", "\u{0}", deep.as_str(), long.as_str()] {
        let shown: String = text.chars().take(8).collect();
        bench.step(&format!("create with the text {shown:?}"));
        let answer = begin(bench, text)?;
        // Who reads no configuration need not notice.
        if answer.is_err() {
            is_refused(answer, &format!("{shown:?} is no JSON"))?;
        } else if bench.manifest().config_schema.get("properties").is_some() {
            return failed(format!("{shown:?} is taken for a configuration"));
        }
    }
    Ok(String::new())
}

/// Makes an instance and starts it: the one or the other says what is wrong with a configuration.
fn begin(bench: &Bench, config: &str) -> Result<Result<(), PluginError>, Stop> {
    match bench.create(config) {
        Ok(unit) => unit.control("start with a wrong configuration", twinhub_loader::Instance::start),
        Err(error) => Ok(Err(error)),
    }
}

fn is_refused(answer: Result<(), PluginError>, why: &str) -> Result<(), Stop> {
    match answer {
        Ok(()) => failed(format!("{why}, and it is taken")),
        Err(error) if error.code != code::CONFIG => {
            failed(format!("{why}, and the answer is {}, not E_CONFIG", said(&error)))
        }
        Err(error) if error.detail.trim().is_empty() => {
            failed(format!("{why}, and it says E_CONFIG without a text: call fault() with it"))
        }
        Err(_) => Ok(()),
    }
}

fn odd_items(bench: &Bench) -> Outcome {
    let (mut taken, mut refused) = (0_u32, 0_u32);
    let rows = [
        "{}".to_owned(),
        "{\"path\":\"\",\"address\":\"\"}".to_owned(),
        "{\"path\":\"kit\",\"address\":\"\u{1F4A5}\\u0000\",\"type\":\"kit\",\"access\":\"kit\"}".to_owned(),
        format!("{{\"path\":\"kit\",\"address\":\"{}\"}}", "k".repeat(100_000)),
        "[]".to_owned(),
        "{".to_owned(),
        String::new(),
    ];
    for row in rows {
        let unit = bench.cold()?;
        let spec = ItemSpec { handle: 1_000, access: 3, address_json: row, type_hint: 77, group: u32::MAX };
        unit.host.expect_items([1_000]);
        match unit.control("items(add) with an odd row", |instance, op| instance.items(op, &[spec], &[]))? {
            Ok(()) => taken += 1,
            Err(error) if [code::CONFIG, code::INVALID, code::UNSUPPORTED].contains(&error.code) => {
                refused += 1;
            }
            Err(error) => {
                return failed(format!("an odd item is answered with {}, not E_CONFIG", said(&error)));
            }
        }
        unit.done("start", twinhub_loader::Instance::start)?;
        unit.done("items(remove)", |instance, op| instance.items(op, &[], &[1_000, 0, 77]))?;
    }
    let unit = bench.cold()?;
    let first = bench.kit.specs().into_iter().next();
    let many: Vec<ItemSpec> = first
        .into_iter()
        .flat_map(|spec| (100..MANY).map(move |handle| ItemSpec { handle, ..spec.clone() }))
        .collect();
    unit.host.expect_items(100..MANY);
    let answer = unit.control("items(add) with many", |instance, op| instance.items(op, &many, &[]))?;
    Ok(format!(
        "{taken} taken, {refused} refused; {} items at once {}",
        many.len(),
        if answer.is_ok() { "taken" } else { "refused" }
    ))
}

/// Columns of every list of items.
const HUB_COLUMNS: [&str; 9] =
    ["path", "address", "type", "access", "unit", "description", "edge", "non_idempotent", "historize"];
const CONFIGS_MAX: usize = 150;
const MANY: u32 = 10_100;
