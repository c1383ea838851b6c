//! What an import says.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Serialize;
use twinhub_commissioning::merge::{Change, Merged};
use twinhub_commissioning::{Finding, Imported, Severity};

use crate::cli::ImportArgs;
use crate::exit::Outcome;
use crate::output::{Answer, plain};

/// What was read and what became of it.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    project: Project,
    rows: usize,
    findings: Vec<Found>,
    #[serde(skip_serializing_if = "is_zero")]
    findings_left_out: usize,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    columns_left_out: BTreeSet<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    list: Option<List>,
}

#[derive(Debug, Serialize)]
struct Project {
    name: String,
    tool: String,
    schema_version: String,
    devices: usize,
}

#[derive(Debug, Serialize)]
struct Found {
    severity: &'static str,
    place: String,
    what: String,
    remedy: String,
}

#[derive(Debug, Serialize)]
struct List {
    file: String,
    is_dry_run: bool,
    rows: usize,
    changes: Vec<Changed>,
}

#[derive(Debug, Serialize)]
struct Changed {
    kind: &'static str,
    path: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    address: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    column: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
const fn is_zero(number: &usize) -> bool {
    *number == 0
}

impl Report {
    /// Of what was only read.
    pub(super) fn of_rows(imported: &Imported) -> Report {
        let project = &imported.project;
        Report {
            project: Project {
                name: project.name.clone(),
                tool: project.tool.clone(),
                schema_version: project.schema_version.clone(),
                devices: project.devices.len(),
            },
            rows: imported.rows.len(),
            findings: imported.findings.iter().map(Found::of).collect(),
            findings_left_out: imported.findings_left_out,
            columns_left_out: BTreeSet::new(),
            list: None,
        }
    }

    /// Of what was merged into a list.
    pub(super) fn of_merge(
        imported: &Imported,
        merged: &Merged,
        items: &Path,
        columns_left_out: BTreeSet<String>,
        is_dry_run: bool,
    ) -> Report {
        let changes = merged.changes.iter().map(Changed::of).collect();
        let file = items.display().to_string();
        let list = Some(List { file, is_dry_run, rows: merged.rows.len(), changes });
        Report { columns_left_out, list, ..Report::of_rows(imported) }
    }

    /// The findings go to stderr, since stdout has the rows.
    pub(super) fn warn(&self) {
        for found in &self.findings {
            let (place, what, remedy) = (&found.place, &found.what, &found.remedy);
            if found.severity == Severity::Note.word() {
                tracing::info!(place, remedy, "{what}");
            } else {
                tracing::warn!(place, remedy, "{what}");
            }
        }
    }

    pub(super) fn give(&self, args: &ImportArgs, answer: Answer) -> Outcome {
        answer.give(self, |report| report.text(if args.all { usize::MAX } else { SHOWN_MAX }))
    }

    fn text(&self, shown_max: usize) -> String {
        let mut lines = vec![self.head()];
        for severity in [Severity::Error, Severity::Warning, Severity::Note] {
            let of_it = self.findings.iter().filter(|found| found.severity == severity.word());
            let texts = of_it.map(|found| {
                plain(&format!("{}: {}: {}; {}", found.severity, found.place, found.what, found.remedy))
            });
            cut(&mut lines, texts.collect(), shown_max, severity.word());
        }
        if !self.columns_left_out.is_empty() {
            let names: Vec<&str> = self.columns_left_out.iter().map(String::as_str).collect();
            lines.push(format!("warning: left out what the plugin has no column for: {}", names.join(", ")));
        }
        if let Some(list) = &self.list {
            list.text(&mut lines, shown_max);
        }
        lines.join("\n")
    }

    fn head(&self) -> String {
        let Project { name, tool, schema_version, devices } = &self.project;
        let rows = format!("{} rows", self.rows);
        let devices = (*devices > 0).then(|| format!("{devices} devices"));
        let tool = (!tool.is_empty()).then(|| format!("written by {}", plain(tool)));
        let schema = (!schema_version.is_empty()).then(|| format!("schema {}", plain(schema_version)));
        let parts: Vec<String> = [Some(rows), devices, tool, schema].into_iter().flatten().collect();
        let name = if name.is_empty() { String::new() } else { format!("{}: ", plain(name)) };
        format!("{name}{}", parts.join(", "))
    }
}

impl List {
    fn text(&self, lines: &mut Vec<String>, shown_max: usize) {
        let mut by_kind: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for change in &self.changes {
            by_kind.entry(change.kind).or_default().push(plain(&change.text()));
        }
        let counts: Vec<String> = KINDS
            .iter()
            .filter_map(|kind| by_kind.get(kind).map(|of_it| format!("{} {kind}", of_it.len())))
            .collect();
        let counts = if counts.is_empty() { "no change".to_owned() } else { counts.join(", ") };
        lines.push(format!("{}: {} rows, {counts}", self.file, self.rows));
        for kind in KINDS {
            cut(lines, by_kind.remove(kind).unwrap_or_default(), shown_max, kind);
        }
        lines.push(if self.is_dry_run {
            "dry run: nothing was written".to_owned()
        } else if self.changes.is_empty() {
            "nothing was to do".to_owned()
        } else {
            "written; `twinhub config check` and `config apply` bring it into force".to_owned()
        });
    }
}

impl Found {
    fn of(finding: &Finding) -> Found {
        Found {
            severity: finding.severity.word(),
            place: finding.place.to_string(),
            what: finding.what.clone(),
            remedy: finding.remedy.clone(),
        }
    }
}

impl Changed {
    fn of(change: &Change) -> Changed {
        let whole = |kind, path: &String, address: &String| Changed {
            kind,
            path: path.clone(),
            address: address.clone(),
            column: String::new(),
            from: None,
            to: None,
        };
        let cell = |kind, path: &String, column: &String, from: &String, to: &String| Changed {
            kind,
            path: path.clone(),
            address: String::new(),
            column: column.clone(),
            from: Some(from.clone()),
            to: Some(to.clone()),
        };
        match change {
            Change::Added { path, address } => whole("added", path, address),
            Change::Removed { path, address } => whole("removed", path, address),
            Change::Changed { path, column, from, to } => cell("changed", path, column, from, to),
            Change::Conflict { path, column, kept, offered } => cell("conflict", path, column, kept, offered),
            Change::Absent { path, address } => whole("absent", path, address),
            Change::KeptEdited { path, address } => whole("kept", path, address),
            Change::StaysDeleted { path, address } => whole("stays deleted", path, address),
        }
    }

    fn text(&self) -> String {
        let Changed { kind, path, address, column, from, to } = self;
        let (from, to) = (from.as_deref().unwrap_or_default(), to.as_deref().unwrap_or_default());
        match *kind {
            "added" => format!("+ {path} ({address})"),
            "removed" => format!("- {path} ({address})"),
            "changed" => format!("~ {path}: {column} `{from}` -> `{to}`"),
            "conflict" => format!("! {path}: {column} stays `{from}`, the source has `{to}`"),
            "absent" => {
                format!("  {path} ({address}) stays; these files do not have it (--remove takes it out)")
            }
            "kept" => format!("! {path} ({address}) stays, since it was edited; the source has it no more"),
            _ => format!("  {path} ({address}) stays deleted"),
        }
    }
}

/// The first of many lines.
fn cut(lines: &mut Vec<String>, of_it: Vec<String>, shown_max: usize, kind: &str) {
    let more = of_it.len().saturating_sub(shown_max);
    lines.extend(of_it.into_iter().take(shown_max));
    if more > 0 {
        lines.push(format!("  … {more} more of this kind ({kind}); --all shows them"));
    }
}

/// Kinds of changes, in the order in which they are shown.
const KINDS: [&str; 7] = ["added", "removed", "changed", "conflict", "kept", "absent", "stays deleted"];
/// Findings and changes of each kind that are shown.
const SHOWN_MAX: usize = 10;
