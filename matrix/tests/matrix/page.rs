//! The page for people.

use std::collections::BTreeSet;

use crate::fixture::{Fixture, good, kit, manifest};

#[test]
fn text_of_plugins_cannot_break_out_of_the_page() {
    let site = Fixture::new();
    site.manifest("<script>alert(1)</script>|");
    let matrix = site.matrix();
    assert!(!matrix.html().contains("<script>alert"));
    assert!(matrix.html().contains("&lt;script&gt;alert(1)&lt;/script&gt;|"));
    assert!(matrix.markdown().contains("&lt;script&gt;alert(1)&lt;/script&gt;\\|"));
    assert!(!matrix.html().contains("http"), "the page needs nothing from elsewhere");
}

#[test]
fn no_text_that_a_plugin_declares_becomes_markup_or_ends_an_attribute() {
    let hostile = "\"'><img src=x onerror=alert(1)></script><!-- &amp; \n</td></table></details>";
    let site = Fixture::new();
    let mut declared = manifest(hostile);
    declared["name"] = hostile.into();
    declared["protocols"] = serde_json::json!([{ "name": hostile, "versions": [hostile] }]);
    for field in ["why", "loss_window", "source_confidence"] {
        declared["mb"][field] = hostile.into();
    }
    declared["capabilities"] =
        serde_json::json!([{ "name": hostile, "mb": hostile, "inactive": hostile, "limits": hostile }]);
    std::fs::write(site.root().join("plugins/modbus/plugin.json"), declared.to_string()).unwrap();
    let mut result = good(&site);
    (result.machine, result.command) = (hostile.to_owned(), hostile.to_owned());
    result.peer.name = hostile.to_owned();
    site.result("a.json", &result);
    let mut report = kit(&site);
    report["verdict"] = "failed".into();
    report["tests"][0]["verdict"] = "failed".into();
    report["tests"][0]["note"] = hostile.into();
    site.kit(&report);
    let html = site.matrix().html();
    let page = Page::of(&html);
    assert!(page.elements.iter().all(|element| element.name != "img"));
    for element in &page.elements {
        assert!(
            element.pairs().iter().all(|(name, _)| !name.starts_with("on") && *name != "src"),
            "{element:?}"
        );
    }
    assert_eq!(page.elements.iter().filter(|element| element.name == "script").count(), 1);
    assert!(page.text.matches("onerror=alert(1)").count() > 10, "all of it is there as text");
}

#[test]
fn without_its_script_the_page_shows_everything() {
    let site = Fixture::new();
    site.result("a.json", &good(&site));
    let html = site.matrix().html();
    let page = Page::of(&html);
    for element in &page.elements {
        let is_hidden = element.attribute("hidden").is_some();
        let is_of_the_script = element.name == "form" || element.attribute("id") == Some("none");
        assert!(!is_hidden || is_of_the_script, "{element:?}");
        assert!(element.name != "details" || element.attribute("open").is_some(), "{element:?}");
    }
    for row in site.matrix().rows {
        assert!(page.text.contains(&row.name), "{}", row.name);
    }
    assert!(page.text.contains("1600 / 1700 ms (normal warm)"), "{}", page.text);
}

#[test]
fn rows_can_be_chosen_by_section_state_protocol_and_what_is_possible() {
    let site = Fixture::new();
    let html = site.matrix().html();
    let page = Page::of(&html);
    let of =
        |id: &str| page.elements.iter().find(|element| element.attribute("data-row") == Some(id)).unwrap();
    let chosen = |id: &str| {
        ["section", "state", "possible", "protocols"]
            .map(|name| of(id).attribute(&format!("data-{name}")).unwrap_or_default())
    };
    assert_eq!(chosen("modbus"), ["Interfaces", "declared", "yes", "Modbus"]);
    assert_eq!(chosen("knx"), ["Interfaces", "not built yet", "yes", "KNX"]);
    assert_eq!(chosen("meter"), ["Modules", "not built yet", "yes", ""]);
    for (name, of_row) in
        [("section", "section"), ("state", "state"), ("possible", "possible"), ("protocol", "protocols")]
    {
        let (_, rest) = html.split_once(&format!("<select name=\"{name}\">")).unwrap();
        let (options, _) = rest.split_once("</select>").unwrap();
        for id in ["modbus", "knx", "meter"] {
            let word = of(id).attribute(&format!("data-{of_row}")).unwrap_or_default();
            assert!(
                word.is_empty() || options.contains(&format!("<option>{word}</option>")),
                "{name}: {options}"
            );
        }
        assert!(html.contains(&format!("'{name}'")), "the script reads {name}");
    }
}

#[test]
fn controls_and_tables_say_what_they_are() {
    let site = Fixture::new();
    site.result("a.json", &good(&site));
    site.kit(&kit(&site));
    let html = site.matrix().html();
    let page = Page::of(&html);
    let mut ids = BTreeSet::new();
    for id in page.elements.iter().filter_map(|element| element.attribute("id")) {
        assert!(ids.insert(id), "{id} is there twice");
    }
    for element in &page.elements {
        if let Some(target) = element.attribute("href") {
            assert!(target.strip_prefix('#').is_some_and(|id| ids.contains(id)), "{element:?}");
        }
        for name in ["aria-labelledby", "aria-controls"] {
            assert!(element.attribute(name).is_none_or(|id| ids.contains(id)), "{element:?}");
        }
        if let Some(id) = element.attribute("id").filter(|_| element.name == "details") {
            assert!(html.contains(&format!("<tr data-row=\"{id}\" ")), "nothing in a table leads to {id}");
        }
        if element.name == "th" {
            assert!(element.attribute("scope").is_some(), "{element:?}");
        }
        if ["input", "select"].contains(&element.name) {
            assert!(element.parents.contains(&"label"), "{element:?}");
        }
        // What is moved sideways is moved with the keyboard, too.
        if element.attribute("class") == Some("wide") {
            assert_eq!(element.attribute("tabindex"), Some("0"), "{element:?}");
        }
    }
}

/// A page, as far as the tests look at it: its elements in order, each closed where it has to be, and its text.
struct Page<'a> {
    elements: Vec<Element<'a>>,
    text: String,
}

#[derive(Debug)]
struct Element<'a> {
    name: &'a str,
    attributes: &'a str,
    parents: Vec<&'a str>,
}

impl Element<'_> {
    fn attribute(&self, name: &str) -> Option<&str> {
        self.pairs().into_iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// Names and values. Every value stands in quotation marks; what has none is a word alone.
    fn pairs(&self) -> Vec<(&str, &str)> {
        let (mut found, mut rest) = (Vec::new(), self.attributes.trim_start());
        while !rest.is_empty() {
            let end = rest.find(['=', ' ', '\n']).unwrap_or(rest.len());
            let (name, after) = rest.split_at(end);
            if let Some(after) = after.strip_prefix("=\"") {
                let (value, others) = after.split_once('"').expect("a value ends");
                found.push((name, value));
                rest = others.trim_start();
            } else {
                assert!(!after.starts_with('='), "a value without quotation marks: {}", self.attributes);
                found.push((name, ""));
                rest = after.trim_start();
            }
        }
        found
    }
}

impl<'a> Page<'a> {
    fn of(html: &'a str) -> Page<'a> {
        let (mut elements, mut text, mut open) = (Vec::new(), String::new(), Vec::new());
        let mut rest = html;
        while let Some((before, tag)) = rest.split_once('<') {
            text.push_str(before);
            let (tag, after) = tag.split_once('>').expect("a tag ends");
            rest = after;
            if let Some(name) = tag.strip_prefix('/') {
                assert_eq!(open.pop(), Some(name), "closed where it was not open: {open:?}");
            } else if !tag.starts_with('!') {
                let (name, attributes) = tag.split_once([' ', '\n']).unwrap_or((tag, ""));
                elements.push(Element { name, attributes, parents: open.clone() });
                if ["script", "style"].contains(&name) {
                    (_, rest) = after.split_once(&format!("</{name}>")).expect("it is closed");
                } else if !["meta", "input"].contains(&name) {
                    open.push(name);
                }
            }
        }
        // The two that need no end.
        assert!(open.iter().all(|name| ["html", "body"].contains(name)), "left open: {open:?}");
        let words = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "&")];
        let text = words.iter().fold(text, |text, (from, to)| text.replace(from, to));
        Page { elements, text }
    }
}
