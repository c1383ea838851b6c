//! The manifest is valid, and its schema is that of the configuration type.

#[test]
fn manifest_is_valid_and_its_schema_is_that_of_the_configuration() {
    twinhub_plugin::sync_manifest::<twinhub_bacnet::Bacnet>(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/plugin.json"
    ));
}
