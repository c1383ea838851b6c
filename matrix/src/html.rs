//! The matrix as one HTML page without anything from elsewhere.

use std::fmt::Write as _;

use crate::cell::{Matrix, Plugin, Row, State};
use crate::markdown::{COLUMNS, SCENARIOS, declared, measured, possible_word, yes};
use crate::seed::Section;

impl Matrix {
    /// The file `compatibility.html`.
    pub fn html(&self) -> String {
        let mut out = String::from(HEAD);
        out.push_str("<p class=\"keys\">");
        for state in [
            State::Verified,
            State::Declared,
            State::NotTested,
            State::Stale,
            State::Contradicted,
            State::NotBuilt,
        ] {
            write!(out, "{} ", badge(state)).expect(STRING);
        }
        out.push_str("</p>\n<dl class=\"scenarios\">");
        for (name, meaning) in SCENARIOS {
            write!(out, "<dt>{}</dt><dd>{}</dd>", name.word(), escape(meaning)).expect(STRING);
        }
        out.push_str("</dl>\n");
        for section in Section::ALL {
            let rows: Vec<&Row> = self.rows.iter().filter(|row| row.section == section).collect();
            if rows.is_empty() {
                continue;
            }
            write!(out, "<section>\n<h2>{}</h2>\n", section.title()).expect(STRING);
            for row in rows {
                card(&mut out, row);
            }
            out.push_str("</section>\n");
        }
        write!(out, "<footer>Reference: {}</footer>\n{SCRIPT}", escape(&self.reference)).expect(STRING);
        out
    }
}

fn card(out: &mut String, row: &Row) {
    let open = if row.claim.state == State::Contradicted { " open" } else { "" };
    write!(
        out,
        "<details id=\"{}\" data-state=\"{}\"{open}>\n<summary><b>{}</b> {}",
        escape(&row.id),
        row.claim.state.word(),
        escape(&row.name),
        badge(row.claim.state)
    )
    .expect(STRING);
    if let Some(plugin) = &row.plugin {
        write!(
            out,
            " <span>M/B relevant {}, possible {}, standby {}</span>",
            yes(plugin.relevant),
            plugin.possible,
            plugin.default_standby
        )
        .expect(STRING);
    }
    out.push_str("</summary>\n");
    if let Some(known) = &row.reference {
        let note = if known.note.is_empty() { String::new() } else { format!(". {}", escape(&known.note)) };
        writeln!(
            out,
            "<p>Reference: relevant {}, possible {}{note}</p>",
            yes(known.relevant),
            possible_word(known.possible)
        )
        .expect(STRING);
    }
    if let Some(plugin) = &row.plugin {
        about(out, row, plugin);
    }
    out.push_str("</details>\n");
}

fn about(out: &mut String, row: &Row, plugin: &Plugin) {
    writeln!(
        out,
        "<p><code>{}</code> {} by {}. {}</p>",
        escape(&plugin.id),
        escape(&plugin.version),
        escape(&plugin.vendor),
        escape(&plugin.why)
    )
    .expect(STRING);
    if !row.claim.reasons.is_empty() {
        out.push_str("<ul>");
        for reason in &row.claim.reasons {
            write!(out, "<li>{}</li>", escape(reason)).expect(STRING);
        }
        out.push_str("</ul>\n");
    }
    out.push_str("<table><caption>Declared</caption>\n");
    for (name, value) in declared(plugin) {
        writeln!(out, "<tr><th scope=\"row\">{name}</th><td>{}</td></tr>", escape(&value)).expect(STRING);
    }
    out.push_str("</table>\n<table><caption>Capabilities</caption>\n<tr><th>Capability</th><th>Main and backup</th><th>While inactive</th><th>Limits</th></tr>\n");
    for capability in &plugin.capabilities {
        out.push_str("<tr>");
        for cell in [&capability.name, &capability.mb, &capability.inactive, &capability.limits] {
            write!(out, "<td>{}</td>", escape(cell)).expect(STRING);
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</table>\n");
    let kit = row.kit.as_ref().map_or_else(|| "no run".to_owned(), |kit| escape(&kit.sentence()));
    writeln!(out, "<p>Kit: {kit}.</p>").expect(STRING);
    if row.measured.is_empty() {
        out.push_str("<p>Measured: no run.</p>\n");
        return;
    }
    out.push_str("<div class=\"wide\"><table><caption>Measured</caption>\n<tr><th>Scenario</th>");
    for column in COLUMNS {
        write!(out, "<th>{column}</th>").expect(STRING);
    }
    out.push_str("</tr>\n");
    for line in &row.measured {
        for (name, found) in &line.scenarios {
            write!(out, "<tr title=\"{}\"><td>{}</td>", escape(&line.command), name.word()).expect(STRING);
            for cell in measured(line, found) {
                write!(out, "<td>{}</td>", escape(&cell)).expect(STRING);
            }
            out.push_str("</tr>\n");
        }
    }
    out.push_str("</table></div>\n");
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

const HEAD: &str = "<!doctype html>
<html lang=\"en\">
<meta charset=\"utf-8\">
<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">
<title>Twinhub compatibility</title>
<style>
:root { color-scheme: light dark; --line: #8884; --dim: #888; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem; }
details { border: 1px solid var(--line); border-radius: 6px; margin: .4rem 0; padding: .4rem .8rem; }
summary { cursor: pointer; } summary span:last-child:not(.badge) { color: var(--dim); margin-left: .5rem; }
table { border-collapse: collapse; margin: .8rem 0; width: 100%; } caption { text-align: left; font-weight: 600; }
th, td { border: 1px solid var(--line); padding: .25rem .5rem; text-align: left; vertical-align: top; }
.wide { overflow-x: auto; } .badge { border-radius: 4px; padding: 0 .4rem; color: #fff; background: #666; }
.verified { background: #1a7f37; } .declared { background: #0a58a6; } .stale { background: #8a5a00; }
.contradicted { background: #b3261e; } .not-tested, .not-built-yet { background: #666; }
form { display: flex; flex-wrap: wrap; gap: .8rem; margin: 1rem 0; } input, select { font: inherit; padding: .3rem .5rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0 1rem; } dt { font-weight: 600; } dd { margin: 0; }
footer { color: var(--dim); margin: 2rem 0; }
</style>
<h1>Twinhub compatibility</h1>
<p>What plugins declare for main and backup, and what conformance runs have measured against real peers. A cell claims
nothing that no run backs.</p>
<form onsubmit=\"return false\">
<label>Search <input id=\"search\" type=\"search\" autocomplete=\"off\"></label>
<label>State <select id=\"state\"><option value=\"\">all</option><option>verified</option><option>declared</option><option>stale</option><option>contradicted</option><option>not built yet</option></select></label>
<output id=\"count\"></output>
</form>
";

const SCRIPT: &str = "<script>
const rows = [...document.querySelectorAll('details')];
const search = document.getElementById('search'), state = document.getElementById('state'), count = document.getElementById('count');
function filter() {
  const text = search.value.trim().toLowerCase();
  let shown = 0;
  for (const row of rows) {
    row.hidden = !((!state.value || row.dataset.state === state.value) && (!text || row.textContent.toLowerCase().includes(text)));
    if (!row.hidden) shown += 1;
  }
  count.textContent = shown + ' of ' + rows.length;
}
search.addEventListener('input', filter); state.addEventListener('change', filter); filter();
</script>
";

/// Why writing into a string is no error case.
const STRING: &str = "a string takes any text";
