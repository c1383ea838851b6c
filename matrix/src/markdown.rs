//! The matrix as Markdown.

use std::fmt::Write as _;

use twinhub_contract::manifest::{Inactive, Possible};

use crate::cell::{Line, Matrix, Plugin, Row, ScenarioCell, State};
use crate::result::{Fenced, ScenarioName};
use crate::seed::Section;

impl Matrix {
    /// The file `COMPATIBILITY.md`.
    pub fn markdown(&self) -> String {
        let mut out = String::from(INTRO);
        for (state, meaning) in STATES {
            writeln!(out, "| {} | {meaning} |", state.word()).expect(STRING);
        }
        out.push_str(MEASURED);
        for section in Section::ALL {
            let rows: Vec<&Row> = self.rows.iter().filter(|row| row.section == section).collect();
            if rows.is_empty() {
                continue;
            }
            write!(out, "\n## {}\n\n", section.title()).expect(STRING);
            out.push_str(
                "| | State | Kit | M/B relevant | M/B possible | Standby | Reference: relevant, possible | Note |\n\
                 |---|---|---|---|---|---|---|---|\n",
            );
            for row in rows {
                summary(&mut out, row);
            }
        }
        for row in &self.rows {
            if let Some(plugin) = &row.plugin {
                details(&mut out, row, plugin);
            }
        }
        write!(out, "\nReference: {}\n", text(&self.reference)).expect(STRING);
        out
    }
}

fn summary(out: &mut String, row: &Row) {
    let (relevant, possible, standby, why) = row.plugin.as_ref().map_or_else(
        || (String::new(), String::new(), String::new(), String::new()),
        |plugin| {
            let modes: Vec<&str> = plugin.modes.iter().map(|mode| mode.as_str()).collect();
            let default = plugin.default_standby;
            (
                yes(plugin.relevant).to_owned(),
                plugin.possible.to_string(),
                format!("{default} ({})", modes.join(", ")),
                plugin.why.clone(),
            )
        },
    );
    let reference = row.reference.as_ref().map_or_else(
        || "–".to_owned(),
        |known| format!("{}, {}", yes(known.relevant), possible_word(known.possible)),
    );
    let note = match (&row.reference, why.is_empty()) {
        (_, false) => why,
        (Some(known), true) => known.note.clone(),
        (None, true) => String::new(),
    };
    let name = if row.plugin.is_some() {
        format!("[{}](#{})", text(&row.name), anchor(&row.name))
    } else {
        text(&row.name)
    };
    let kit = match (&row.kit, &row.plugin) {
        (Some(kit), _) => kit.words(),
        (None, Some(_)) => State::NotTested.word().to_owned(),
        (None, None) => String::new(),
    };
    let mark = if row.claim.state == State::Contradicted { "**" } else { "" };
    writeln!(
        out,
        "| {name} | {mark}{}{mark} | {kit} | {relevant} | {possible} | {standby} | {reference} | {} |",
        row.claim.state.word(),
        text(&note)
    )
    .expect(STRING);
}

fn details(out: &mut String, row: &Row, plugin: &Plugin) {
    write!(out, "\n### {}\n\n", text(&row.name)).expect(STRING);
    writeln!(
        out,
        "Plugin `{}` {} by {}: **{}**.",
        plugin.id,
        plugin.version,
        text(&plugin.vendor),
        row.claim.state.word()
    )
    .expect(STRING);
    for reason in &row.claim.reasons {
        writeln!(out, "- {}", text(reason)).expect(STRING);
    }
    out.push_str("\n| Declared | |\n|---|---|\n");
    for (name, value) in declared(plugin) {
        writeln!(out, "| {name} | {} |", text(&value)).expect(STRING);
    }
    out.push_str("\n| Capability | Main and backup | While inactive | Limits |\n|---|---|---|---|\n");
    for capability in &plugin.capabilities {
        let cells = [&capability.name, &capability.mb, &capability.inactive, &capability.limits];
        let cells: Vec<String> = cells.iter().map(|cell| text(cell)).collect();
        writeln!(out, "| {} |", cells.join(" | ")).expect(STRING);
    }
    writeln!(
        out,
        "\nKit: {}.",
        row.kit.as_ref().map_or_else(|| "no run".to_owned(), |kit| text(&kit.sentence()))
    )
    .expect(STRING);
    if row.measured.is_empty() {
        out.push_str("\nMeasured: no run.\n");
        return;
    }
    write!(out, "\n| Measured | {} |\n|---|{}\n", COLUMNS.join(" | "), "---|".repeat(COLUMNS.len()))
        .expect(STRING);
    for line in &row.measured {
        for (name, found) in &line.scenarios {
            let cells: Vec<String> = measured(line, found).iter().map(|cell| text(cell)).collect();
            writeln!(out, "| {} | {} |", name.word(), cells.join(" | ")).expect(STRING);
        }
    }
    out.push('\n');
    for line in &row.measured {
        writeln!(
            out,
            "- {} {} {}: {}, product {}; `{}`",
            line.profile,
            line.standby,
            text(&line.peer.name),
            text(&line.machine),
            line.product_version,
            line.command.replace('`', "'")
        )
        .expect(STRING);
    }
}

/// What a plugin declares, as names and words.
pub(crate) fn declared(plugin: &Plugin) -> Vec<(&'static str, String)> {
    let targets: Vec<String> =
        plugin.takeover_target_ms.iter().map(|(mode, ms)| format!("{mode} {ms} ms")).collect();
    let fence = plugin
        .in_flight_max_ms
        .map_or_else(|| plugin.fence.to_string(), |ms| format!("{} ({ms} ms in flight)", plugin.fence));
    let exclusive =
        if plugin.exclusive.is_empty() { "nothing".to_owned() } else { plugin.exclusive.join(", ") };
    let protocols: Vec<String> = plugin
        .protocols
        .iter()
        .map(|protocol| match protocol.versions.as_slice() {
            [] => protocol.name.clone(),
            versions => format!("{} ({})", protocol.name, versions.join(", ")),
        })
        .collect();
    vec![
        ("Protocols", protocols.join(", ")),
        ("While inactive", inactive(plugin.inactive)),
        ("Takeover, after detection", targets.join(", ")),
        ("Loss window", plugin.loss_window.clone()),
        ("Fence", fence),
        ("Recovery of inputs", plugin.recovery.to_string()),
        ("Parallel input", yes(plugin.parallel_input).to_owned()),
        ("Writes are", plugin.delivery.to_string()),
        ("Acknowledged after", plugin.ack_after.to_string()),
        ("Without a majority", plugin.on_unquorate.to_string()),
        ("Order of opening", plugin.order.to_string()),
        ("Held by one node only", exclusive),
        ("Source of the protocol", plugin.source_confidence.clone()),
    ]
}

fn inactive(inactive: Inactive) -> String {
    format!(
        "reads {}, values {}, writes {}, outputs {}, events {}, listeners {}, items {}",
        inactive.reads,
        inactive.publish,
        inactive.writes,
        inactive.outputs,
        inactive.events_in,
        inactive.listeners,
        inactive.items
    )
}

/// Headings of a table of measurements, after the scenario.
pub(crate) const COLUMNS: [&str; 15] = [
    "Profile",
    "Standby",
    "Peer",
    "Date",
    "Runs",
    "Takeover ms p50",
    "p99",
    "max",
    "±",
    "Values lost",
    "doubled",
    "Commands doubled",
    "Writes by two nodes",
    "Stray packets",
    "Verdict",
];

/// The cells of a table of measurements, after the scenario.
pub(crate) fn measured(line: &Line, found: &ScenarioCell) -> Vec<String> {
    let mut cells = vec![
        line.profile.clone(),
        line.standby.to_string(),
        format!("{} {}", line.peer.name, line.peer.version),
    ];
    let Some(scenario) = &found.measured else {
        cells.resize(COLUMNS.len() - 1, "–".to_owned());
        cells.push(found.cell.state.word().to_owned());
        return cells;
    };
    let times = scenario.takeover_ms.as_ref();
    let time = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |ms| format!("{ms:.0}"));
    let lost = if scenario.values_lost_allowed > 0 {
        format!(
            "{} (allowed {}: {})",
            scenario.values_lost, scenario.values_lost_allowed, scenario.values_lost_because
        )
    } else {
        scenario.values_lost.to_string()
    };
    let fenced = match scenario.fenced {
        Some(Fenced::Is(true)) => ", fenced".to_owned(),
        Some(Fenced::Is(false)) => ", not fenced".to_owned(),
        Some(Fenced::Count(count)) => format!(", {count} fenced"),
        None => String::new(),
    };
    let reasons = if found.cell.reasons.is_empty() {
        String::new()
    } else {
        format!(": {}", found.cell.reasons.join("; "))
    };
    cells.extend([
        line.date.clone(),
        scenario.runs.to_string(),
        time(times.map(|times| times.p50)),
        time(times.map(|times| times.p99)),
        time(times.map(|times| times.max)),
        time(times.and(scenario.resolution_ms)),
        lost,
        scenario.values_doubled.to_string(),
        scenario.commands_doubled.to_string(),
        scenario.writes_by_two_nodes.to_string(),
        scenario.stray_packets.to_string(),
        format!("{}{fenced}{reasons}", found.cell.state.word()),
    ]);
    cells
}

/// `yes` or `no`.
pub(crate) const fn yes(is: bool) -> &'static str {
    if is { "yes" } else { "no" }
}

/// The word of a claim.
pub(crate) const fn possible_word(possible: Possible) -> &'static str {
    possible.as_str()
}

/// Text for a cell: one line, without what would end the cell or become markup.
fn text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' => out.push(' '),
            '|' => out.push_str("\\|"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            c => out.push(c),
        }
    }
    out.trim().to_owned()
}

/// The anchor that Markdown viewers make of a heading.
fn anchor(heading: &str) -> String {
    heading
        .to_lowercase()
        .chars()
        .filter_map(|c| match c {
            ' ' | '-' => Some('-'),
            c if c.is_alphanumeric() || c == '_' => Some(c),
            _ => None,
        })
        .collect()
}

/// What is known of a claim, with its meaning.
pub(crate) const STATES: [(State, &str); 6] = [
    (State::Verified, "runs of crash, freeze, cut and planned show what is declared"),
    (State::Declared, "the plugin says so; runs are missing"),
    (State::NotTested, "there is no run of this scenario"),
    (State::Stale, "the run is of another version of the plugin, of the contract, or of other sources"),
    (State::Contradicted, "a run shows something else than declared"),
    (
        State::NotBuilt,
        "there is no plugin; the reference column is what an established product claims for itself",
    ),
];

/// Names of the scenarios with their meaning.
pub(crate) const SCENARIOS: [(ScenarioName, &str); 4] = [
    (ScenarioName::Crash, "the active node is killed (kill -9)"),
    (
        ScenarioName::Freeze,
        "the active node is stopped (SIGSTOP) and woken after the takeover; it must not act",
    ),
    (ScenarioName::Cut, "the link between the nodes is cut; only one may act"),
    (ScenarioName::Planned, "an operator switches over"),
];

const INTRO: &str = "# Compatibility

Generated by `twinhub matrix build`; `twinhub matrix verify` fails if it is out of date or a run contradicts it.
*Declared* is what a plugin says of itself, read from its manifest. *Measured* is what conformance runs showed against a
real peer, or of a plugin that has none, by a tap between it and the hub. A cell claims nothing that no run backs:

| State | Meaning |
|---|---|
";

const MEASURED: &str = "
Kit: `twinhub plugin test` tries each library alone, its device absent, in roles, with hostile hubs and with odd input, and
holds it to what it declares of the time in which another node acts; *red* is a contradiction.

Crash: the active node is killed (kill -9). Freeze: it is stopped (SIGSTOP) and woken after the takeover. Cut: the link
between the nodes is cut. Planned: an operator switches over. Takeover is measured from outside, from the last action of
the old node to the first of the new one. A node is seen to act only when there is something to do: with values that
change every 100 ms the last action may lie 100 ms before the fault, and as much is measured too much. That is the
resolution, ±. A run contradicts what is declared if its p99 less the resolution is above it: the longest detection of the
profile and the plugin's own time. `–` is a run of before the resolution was recorded, which is judged without it.
";

/// Why writing into a string is no error case.
const STRING: &str = "a string takes any text";
