//! What a plugin gets as its settings.

use std::sync::Arc;

use twinhub_config::Interface;
use twinhub_loader::Manifest;

use super::NodeOptions;
use crate::error::StartError;

/// The settings of an interface as its plugin gets them: with its secrets, and with where it runs if it asks for that.
pub(super) fn settings_of(
    config: &Interface,
    manifest: &Manifest,
    options: &NodeOptions,
) -> Result<Arc<str>, StartError> {
    let mut settings = config.settings.clone();
    twinhub_config::resolve_secrets(&mut settings, &options.config_dir)
        .map_err(|error| StartError::Config(format!("interface `{}`: {error}", config.id)))?;
    let wants_context = manifest.config_schema.pointer("/properties/twinhub").is_some();
    if let Some(settings) = settings.as_object_mut().filter(|_| wants_context) {
        let site = &options.site.site;
        let context = serde_json::json!({
            "node": options.node,
            "site": site,
            "interface": config.id,
            "cluster": site,
        });
        settings.insert("twinhub".to_owned(), context);
    }
    Ok(settings.to_string().into())
}
