//! The matrix as one HTML page without anything from elsewhere.
//!
//! Everything is in the page as text, so that it can be read, searched and printed without its script. The script hides
//! rows that nobody asked for, and closes details until somebody opens them.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::cell::{Line, Matrix, Plugin, Row, State};
use crate::markdown::{COLUMNS, SCENARIOS, STATES, declared, measured, possible_word, yes};
use crate::result::ScenarioName;
use crate::seed::Section;

impl Matrix {
    /// The file `compatibility.html`.
    pub fn html(&self) -> String {
        let mut out = format!("{HEAD}<style>\n{STYLE}</style>\n{LEAD}");
        let counts = STATES.iter().filter_map(|(state, _)| {
            let count = self.rows.iter().filter(|row| row.claim.state == *state).count();
            (count > 0).then(|| format!("{count} {}", badge(*state)))
        });
        let counts: Vec<String> = counts.collect();
        writeln!(out, "<p>{} rows: {}.</p>", self.rows.len(), counts.join(", ")).expect(STRING);
        meanings(&mut out);
        self.form(&mut out);
        out.push_str("<main id=\"rows\">\n<p id=\"none\" hidden>No row is like that. Choose less.</p>\n");
        for section in Section::ALL {
            let rows: Vec<&Row> = self.rows.iter().filter(|row| row.section == section).collect();
            if !rows.is_empty() {
                part(&mut out, section, &rows);
            }
        }
        write!(
            out,
            "</main>\n<footer>Contract {}. Reference: {}.</footer>\n<script>\n{SCRIPT}</script>\n",
            escape(&self.contract),
            escape(&self.reference)
        )
        .expect(STRING);
        out
    }

    /// What rows can be chosen by. It is of use with the script only, which shows it.
    fn form(&self, out: &mut String) {
        out.push_str(
            "<form id=\"filter\" role=\"search\" aria-label=\"Choose rows\" aria-controls=\"rows\" hidden>\n\
             <label>Search <input name=\"q\" type=\"search\" autocomplete=\"off\" spellcheck=\"false\"></label>\n",
        );
        let sections =
            Section::ALL.into_iter().filter(|section| self.rows.iter().any(|row| row.section == *section));
        select(out, "section", "Section", sections.map(|section| section.title().to_owned()));
        let states = STATES.iter().filter(|(state, _)| self.rows.iter().any(|row| row.claim.state == *state));
        select(out, "state", "State", states.map(|(state, _)| state.word().to_owned()));
        let possible: BTreeSet<&str> = self.rows.iter().filter_map(possible).collect();
        select(out, "possible", "M/B possible", possible.into_iter().map(str::to_owned));
        let protocols: BTreeSet<&str> = self.rows.iter().flat_map(protocols).collect();
        select(out, "protocol", "Protocol or system", protocols.into_iter().map(str::to_owned));
        out.push_str(
            "<button type=\"reset\">Show all</button>\n\
             <p class=\"found\"><output id=\"found\" aria-live=\"polite\"></output></p>\n</form>\n",
        );
    }
}

/// What the words say.
fn meanings(out: &mut String) {
    out.push_str("<details class=\"words\" open>\n<summary><b>What the words mean</b></summary>\n<dl>\n");
    for (state, meaning) in STATES {
        writeln!(out, "<dt>{}</dt><dd>{}</dd>", badge(state), escape(meaning)).expect(STRING);
    }
    for (name, meaning) in SCENARIOS {
        writeln!(out, "<dt>{}</dt><dd>{}</dd>", name.word(), escape(meaning)).expect(STRING);
    }
    out.push_str(KIT);
    out.push_str("</dl>\n</details>\n");
}

fn select(out: &mut String, name: &str, label: &str, words: impl Iterator<Item = String>) {
    write!(out, "<label>{label} <select name=\"{name}\"><option value=\"\">all</option>").expect(STRING);
    for word in words {
        write!(out, "<option>{}</option>", escape(&word)).expect(STRING);
    }
    out.push_str("</select></label>\n");
}

/// Whether main and backup are possible: as the plugin declares it, or as the reference claims it where there is none.
fn possible(row: &Row) -> Option<&'static str> {
    let declared = row.plugin.as_ref().map(|plugin| plugin.possible);
    declared.or_else(|| row.reference.as_ref().map(|known| known.possible)).map(possible_word)
}

/// What an interface speaks, or, where none is built, what it would speak to.
fn protocols(row: &Row) -> Vec<&str> {
    match &row.plugin {
        Some(plugin) => {
            let names = plugin.protocols.iter().map(|protocol| protocol.name.as_str());
            names.filter(|name| !name.starts_with("none")).collect()
        }
        None if row.section == Section::Field => vec![&row.name],
        None => Vec::new(),
    }
}

/// A section: a table of its rows, and what is known of each of them.
fn part(out: &mut String, section: Section, rows: &[&Row]) {
    let title = section.title();
    write!(
        out,
        "<section data-section=\"{title}\" aria-labelledby=\"in-{title}\">\n<h2 id=\"in-{title}\">{title}</h2>\n\
         <div class=\"wide\" role=\"region\" aria-labelledby=\"in-{title}\" tabindex=\"0\"><table>\n<thead><tr>"
    )
    .expect(STRING);
    for heading in HEADINGS {
        write!(out, "<th scope=\"col\">{heading}</th>").expect(STRING);
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for row in rows {
        line(out, row);
    }
    out.push_str("</tbody></table></div>\n");
    for row in rows {
        if let Some(plugin) = &row.plugin {
            about(out, row, plugin);
        }
    }
    out.push_str("</section>\n");
}

fn line(out: &mut String, row: &Row) {
    let (id, name) = (escape(&row.id), escape(&row.name));
    write!(
        out,
        "<tr data-row=\"{id}\" data-section=\"{}\" data-state=\"{}\" data-possible=\"{}\" data-protocols=\"{}\">",
        row.section.title(),
        row.claim.state.word(),
        possible(row).unwrap_or_default(),
        escape(&protocols(row).join("\n"))
    )
    .expect(STRING);
    if row.plugin.is_some() {
        write!(out, "<th scope=\"row\"><a href=\"#{id}\">{name}</a></th>").expect(STRING);
    } else {
        write!(out, "<th scope=\"row\">{name}</th>").expect(STRING);
    }
    write!(out, "<td>{}</td>", badge(row.claim.state)).expect(STRING);
    let plugin = row.plugin.as_ref();
    let kit = row.kit.as_ref().map(crate::kit::Kit::words);
    let standby = plugin.map(|plugin| {
        let modes: Vec<&str> = plugin.modes.iter().map(|mode| mode.as_str()).collect();
        format!("{} ({})", plugin.default_standby, modes.join(", "))
    });
    let reference = row
        .reference
        .as_ref()
        .map(|known| format!("relevant {}, possible {}", yes(known.relevant), possible_word(known.possible)));
    let note = plugin.map(|plugin| plugin.why.clone()).filter(|why| !why.is_empty());
    let note = note.or_else(|| row.reference.as_ref().map(|known| known.note.clone()));
    for (class, text) in [
        ("", kit.or_else(|| plugin.map(|_| State::NotTested.word().to_owned()))),
        ("", plugin.map(|plugin| yes(plugin.relevant).to_owned())),
        ("", plugin.map(|plugin| plugin.possible.to_string())),
        ("", standby),
        ("number", plugin.map(|_| takeover(&row.measured))),
        ("", reference),
        ("note", note),
    ] {
        let class = if class.is_empty() { String::new() } else { format!(" class=\"{class}\"") };
        write!(out, "<td{class}>{}</td>", escape(&text.unwrap_or_default())).expect(STRING);
    }
    out.push_str("</tr>\n");
}

/// How long a takeover after a crash took, of each result.
fn takeover(lines: &[Line]) -> String {
    let times: Vec<String> = lines
        .iter()
        .filter_map(|line| {
            let crash = line.scenarios.get(&ScenarioName::Crash)?.measured.as_ref()?;
            let times = crash.takeover_ms.as_ref()?;
            Some(format!("{:.0} / {:.0} ms ({} {})", times.p50, times.p99, line.profile, line.standby))
        })
        .collect();
    if times.is_empty() { "no run".to_owned() } else { times.join(", ") }
}

fn about(out: &mut String, row: &Row, plugin: &Plugin) {
    let name = escape(&row.name);
    writeln!(
        out,
        "<details id=\"{}\" data-state=\"{}\" open>\n<summary><b>{name}</b> {} <span class=\"dim\">in detail</span></summary>\n\
         <p><code>{}</code> {} by {}.</p>",
        escape(&row.id),
        row.claim.state.word(),
        badge(row.claim.state),
        escape(&plugin.id),
        escape(&plugin.version),
        escape(&plugin.vendor)
    )
    .expect(STRING);
    if !row.claim.reasons.is_empty() {
        out.push_str("<ul>");
        for reason in &row.claim.reasons {
            write!(out, "<li>{}</li>", escape(reason)).expect(STRING);
        }
        out.push_str("</ul>\n");
    }
    writeln!(out, "<table class=\"facts\"><caption>{name}: declared</caption>").expect(STRING);
    out.push_str("<tbody>\n");
    for (fact, value) in declared(plugin) {
        writeln!(out, "<tr><th scope=\"row\">{fact}</th><td>{}</td></tr>", escape(&value)).expect(STRING);
    }
    out.push_str("</tbody></table>\n");
    capabilities(out, &name, plugin);
    let kit = row.kit.as_ref().map_or_else(|| "no run".to_owned(), |kit| escape(&kit.sentence()));
    writeln!(out, "<h3>Kit</h3>\n<p>{kit}.</p>").expect(STRING);
    if row.measured.is_empty() {
        out.push_str("<h3>Measured</h3>\n<p>No run.</p>\n");
    } else {
        figures(out, &name, &row.measured);
    }
    out.push_str("</details>\n");
}

fn capabilities(out: &mut String, name: &str, plugin: &Plugin) {
    open_table(
        out,
        &format!("{name}: capabilities"),
        &["Capability", "Main and backup", "While inactive", "Limits"],
    );
    for capability in &plugin.capabilities {
        write!(out, "<tr><th scope=\"row\" class=\"note\">{}</th>", escape(&capability.name)).expect(STRING);
        for cell in [&capability.mb, &capability.inactive, &capability.limits] {
            write!(out, "<td>{}</td>", escape(cell)).expect(STRING);
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table></div>\n");
}

fn figures(out: &mut String, name: &str, lines: &[Line]) {
    open_table(out, &format!("{name}: measured"), &[&["Scenario"][..], &COLUMNS].concat());
    for line in lines {
        for (scenario, found) in &line.scenarios {
            write!(out, "<tr><th scope=\"row\">{}</th>", scenario.word()).expect(STRING);
            for cell in measured(line, found) {
                let class = if cell.parse::<f64>().is_ok() { " class=\"number\"" } else { "" };
                write!(out, "<td{class}>{}</td>", escape(&cell)).expect(STRING);
            }
            out.push_str("</tr>\n");
        }
    }
    out.push_str("</tbody></table></div>\n<ul>");
    for line in lines {
        write!(
            out,
            "<li>{} {} {}: {}, product {}; <code>{}</code></li>",
            escape(&line.profile),
            line.standby,
            escape(&line.peer.name),
            escape(&line.machine),
            escape(&line.product_version),
            escape(&line.command)
        )
        .expect(STRING);
    }
    out.push_str("</ul>\n");
}

/// A table that may be wider than the page, which is then moved with the keyboard, too. The caption is escaped already.
fn open_table(out: &mut String, caption: &str, headings: &[&str]) {
    write!(
        out,
        "<div class=\"wide\" role=\"region\" aria-label=\"{caption}\" tabindex=\"0\"><table><caption>{caption}</caption>\n<thead><tr>"
    )
    .expect(STRING);
    for heading in headings {
        write!(out, "<th scope=\"col\">{}</th>", escape(heading)).expect(STRING);
    }
    out.push_str("</tr></thead>\n<tbody>\n");
}

fn badge(state: State) -> String {
    let word = state.word();
    format!("<span class=\"badge {}\">{word}</span>", word.replace(' ', "-"))
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// Headings of the table of a section.
const HEADINGS: [&str; 9] = [
    "Name",
    "State",
    "Kit",
    "M/B relevant",
    "M/B possible",
    "Standby",
    "Takeover, p50 / p99",
    "Reference",
    "Note",
];

const HEAD: &str = "<!doctype html>
<html lang=\"en\">
<head>
<meta charset=\"utf-8\">
<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">
<title>Twinhub compatibility</title>
";

const LEAD: &str = "</head>
<body>
<a class=\"skip\" href=\"#rows\">To the rows</a>
<h1>Twinhub compatibility</h1>
<p class=\"lead\">What plugins declare for main and backup (M/B), beside what conformance runs have measured against real
peers. A cell claims nothing that no run backs.</p>
";

const KIT: &str = "<dt>kit</dt><dd>what <code>twinhub plugin test</code> found when it tried the library alone: in roles, with hostile
hubs, with odd input</dd>
<dt>takeover</dt><dd>from the last action of the old node to the first of the new one, after a crash, as seen from outside</dd>
<dt>reference</dt><dd>what an established product claims for itself, restated</dd>
";

const STYLE: &str = include_str!("html/style.css");
const SCRIPT: &str = include_str!("html/script.js");

/// Why writing into a string is no error case.
const STRING: &str = "a string takes any text";
