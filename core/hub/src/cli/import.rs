//! What engineering tools export.

use std::path::PathBuf;

use clap::Args;
use clap::builder::PossibleValuesParser;

/// What is imported, and where to.
#[derive(Debug, Args)]
#[command(after_help = after_help())]
pub(crate) struct ImportArgs {
    /// What the files are
    #[arg(value_name = "FORMAT", value_parser = formats())]
    pub(crate) format: String,
    /// The files; several only where the format has several
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Into the items file of this interface; without it the rows are printed as an items file
    #[arg(long, value_name = "NAME")]
    pub(crate) interface: Option<String>,
    /// Take out rows of earlier imports that these files do not have, unless they were edited; without it they stay, as lists
    /// of several devices may come one after the other
    #[arg(long)]
    pub(crate) remove: bool,
    /// Say what would change, and write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Show all findings and changes, not the first of each kind
    #[arg(long)]
    pub(crate) all: bool,
    /// File with the password of a protected project [default: the environment variable `TWINHUB_IMPORT_PASSWORD`]
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
}

fn formats() -> PossibleValuesParser {
    PossibleValuesParser::new(twinhub_commissioning::formats().iter().map(|format| format.id))
}

fn after_help() -> String {
    let formats = twinhub_commissioning::formats()
        .iter()
        .map(|format| format!("  {:<12} {} (.{})", format.id, format.what, format.extensions.join(", .")));
    let formats: Vec<String> = formats.collect();
    format!("Formats:\n{}\n\n{MERGE}", formats.join("\n"))
}

const MERGE: &str = "An import into a list that was edited since the last one keeps what was edited. What it wrote itself is \
                     kept beside the items file, as NAME.import.csv.";
