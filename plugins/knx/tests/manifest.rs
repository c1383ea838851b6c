//! The declaration against the code.

use twinhub_knx::Knx;

#[test]
fn manifest_is_valid_and_its_schema_is_the_one_of_the_settings() {
    twinhub_plugin::sync_manifest::<Knx>(concat!(env!("CARGO_MANIFEST_DIR"), "/plugin.json"));
}
