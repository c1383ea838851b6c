//! One module for each family of commands.

pub(crate) mod accounts;
pub(crate) mod alarms;
pub(crate) mod backup;
pub(crate) mod check;
pub(crate) mod configuration;
pub(crate) mod deliveries;
pub(crate) mod demo;
pub(crate) mod doctor;
pub(crate) mod events;
pub(crate) mod import;
pub(crate) mod init;
pub(crate) mod interfaces;
pub(crate) mod items;
pub(crate) mod join;
pub(crate) mod matrix;
pub(crate) mod merges;
pub(crate) mod monitor;
mod operation;
pub(crate) mod orders;
pub(crate) mod peer;
pub(crate) mod plugin;
pub(crate) mod records;
pub(crate) mod run;
pub(crate) mod status;
pub(crate) mod trend;
pub(crate) mod witness;
