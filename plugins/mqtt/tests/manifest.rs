//! The declaration against the code.

use twinhub_mqtt::Mqtt;

#[test]
fn manifest_is_valid_and_its_schema_is_the_one_of_the_settings() {
    twinhub_plugin::sync_manifest::<Mqtt>(concat!(env!("CARGO_MANIFEST_DIR"), "/plugin.json"));
}
