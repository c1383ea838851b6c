//! `plugin new`: a project that builds, passes the kit and runs in a pair. The source of the examples is its template, so
//! that it is compiled and tried with them.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::cli::{PluginLanguage, PluginNewArgs};
use crate::exit::{Code, Failure, Outcome};
use crate::output::print;

pub(super) fn run(args: &PluginNewArgs) -> Outcome {
    let name = Name::of(&args.name)?;
    let dir = args.dir.clone().unwrap_or_else(|| PathBuf::from(&name.dashed));
    let is_empty = std::fs::read_dir(&dir).map_or(true, |mut entries| entries.next().is_none());
    if !is_empty {
        let text = format!("{} has files already: name another folder with --dir", dir.display());
        return Err(Failure::new(Code::Configuration, text));
    }
    let files = match args.lang {
        PluginLanguage::Rust => rust(&name, &sdk(args)?)?,
        PluginLanguage::C => c(&name),
    };
    for (path, text) in files.iter().chain(&common(&name, args.lang)) {
        let path = dir.join(path);
        let write = || {
            path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
            std::fs::write(&path, text)
        };
        write().map_err(|error| {
            Failure::new(Code::Error, format!("cannot write {}: {error}", path.display()))
        })?;
    }
    print(&format!(
        "{} is a plugin in {}; its README.md says how to go on, and the guide, sdk/guide/README.md beside Twinhub, all the rest",
        dir.display(),
        args.lang.word()
    ))
}

/// A name in the forms that files need.
struct Name {
    /// `my-plugin`
    dashed: String,
    /// `my_plugin`
    plain: String,
    /// `MyPlugin`
    camel: String,
    /// `My plugin`
    people: String,
}

impl Name {
    fn of(text: &str) -> Result<Name, Failure> {
        let is_good = text.starts_with(|first: char| first.is_ascii_lowercase())
            && text.len() <= NAME_MAX
            && text.chars().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '-')
            && !text.ends_with('-')
            && !text.contains("--");
        if !is_good {
            let why = format!(
                "`{text}` is no name for a plugin: lower-case letters, digits and single dashes, a letter first, {NAME_MAX} \
                 at most, such as my-plugin"
            );
            return Err(Failure::new(Code::Usage, why));
        }
        let upper = |part: &str| {
            let (first, rest) = part.split_at(1);
            first.to_ascii_uppercase() + rest
        };
        Ok(Name {
            dashed: text.to_owned(),
            plain: text.replace('-', "_"),
            camel: text.split('-').map(upper).collect(),
            people: upper(&text.replace('-', " ")),
        })
    }
}

/// The folder with the author API in Rust.
fn sdk(args: &PluginNewArgs) -> Result<PathBuf, Failure> {
    let is_sdk = |dir: &Path| dir.join("plugin/Cargo.toml").is_file();
    let found = if let Some(dir) = &args.sdk {
        is_sdk(dir).then(|| dir.clone())
    } else {
        let here = std::env::current_dir().ok();
        let executable = std::env::current_exe().ok();
        let mut above = here.iter().chain(&executable).flat_map(|path| path.ancestors());
        above.find_map(|dir| Some(dir.join("sdk")).filter(|dir| is_sdk(dir)))
    };
    let Some(found) = found else {
        let text = "the author API in Rust is not here: --sdk DIR names the folder `sdk` of Twinhub's sources. A plugin in \
                    C needs nothing but this program: --lang c";
        return Err(Failure::new(Code::Configuration, text));
    };
    std::path::absolute(&found)
        .map_err(|error| Failure::new(Code::Error, format!("cannot find {}: {error}", found.display())))
}

type Files = Vec<(String, String)>;

fn rust(name: &Name, sdk: &Path) -> Result<Files, Failure> {
    let source = RUST_SOURCE
        .replace("//! The smallest useful plugin in Rust: one counter, one writable greeting.", RUST_DOC)
        .replace("Hello", &name.camel)
        .replace("hello started", &format!("{} started", name.dashed));
    let mut manifest: Value =
        serde_json::from_str(RUST_MANIFEST).map_err(|error| Failure::of(Code::Internal, &error))?;
    for (field, text) in own_words(name) {
        manifest[field] = Value::String(text);
    }
    let manifest =
        serde_json::to_string_pretty(&manifest).map_err(|error| Failure::of(Code::Internal, &error))?;
    let cargo = RUST_CARGO
        .replace("@NAME@", &name.dashed)
        .replace("@PLAIN@", &name.plain)
        .replace("@SDK@", &sdk.join("plugin").display().to_string());
    Ok(vec![
        ("Cargo.toml".to_owned(), cargo),
        (".gitignore".to_owned(), "/target\n/site/pki\n/site/run\n".to_owned()),
        ("plugin.json".to_owned(), manifest + "\n"),
        ("src/lib.rs".to_owned(), source),
        ("kit/items.csv".to_owned(), RUST_ITEMS.to_owned()),
    ])
}

fn c(name: &Name) -> Files {
    let mut source = C_SOURCE.to_owned();
    let example = ["org.twinhub.hello-c", "Hello C", "Twinhub", "0.1.0", "MIT OR Apache-2.0"];
    for (old, (field, new)) in example.iter().zip(own_words(name)) {
        let pair = |text: &str| format!("\\\"{field}\\\":\\\"{text}\\\"");
        source = source.replace(&pair(old), &pair(&new));
    }
    let source = source.replace(
        "../../sdk/contract/include -o libhello_c.so hello.c",
        &format!("include -o libtwinhub_{}.so {}.c", name.plain, name.plain),
    );
    let make = C_MAKE.replace("@PLAIN@", &name.plain);
    vec![
        (format!("{}.c", name.plain), source),
        ("include/twinhub_plugin.h".to_owned(), C_HEADER.to_owned()),
        ("Makefile".to_owned(), make),
        (".gitignore".to_owned(), "*.so\n/site/pki\n/site/run\n".to_owned()),
        ("kit/items.csv".to_owned(), C_ITEMS.to_owned()),
    ]
}

/// What the author of the example says of it, and the author of the new plugin does not.
fn own_words(name: &Name) -> [(&'static str, String); 5] {
    [
        ("id", format!("org.example.{}", name.dashed)),
        ("name", name.people.clone()),
        ("vendor", "Example".to_owned()),
        ("version", "0.1.0".to_owned()),
        ("license", "MIT OR Apache-2.0".to_owned()),
    ]
}

/// What does not depend on the language, or hardly.
fn common(name: &Name, lang: PluginLanguage) -> Files {
    let (readme, dir, build) = match lang {
        PluginLanguage::Rust => (RUST_README, "target/release", "cargo build --release"),
        PluginLanguage::C => (C_README, ".", "make"),
    };
    let fill = |text: &str| {
        text.replace("@NAME@", &name.dashed)
            .replace("@PLAIN@", &name.plain)
            .replace("@PEOPLE@", &name.people)
            .replace("@DIR@", dir)
            .replace("@BUILD@", build)
    };
    vec![
        ("README.md".to_owned(), fill(&format!("{readme}\n{README}"))),
        ("site/twinhub.toml".to_owned(), fill(SITE)),
        ("site/pair.sh".to_owned(), fill(PAIR)),
    ]
}

const NAME_MAX: usize = 40;
const RUST_SOURCE: &str = include_str!("../../../../../examples/hello-plugin/src/lib.rs");
const RUST_MANIFEST: &str = include_str!("../../../../../examples/hello-plugin/plugin.json");
const RUST_ITEMS: &str = include_str!("../../../../../examples/hello-plugin/kit/items.csv");
const C_SOURCE: &str = include_str!("../../../../../examples/c-plugin/hello.c");
const C_HEADER: &str = include_str!("../../../../../sdk/contract/include/twinhub_plugin.h");
const RUST_CARGO: &str = include_str!("new/rust-cargo.toml");
const RUST_README: &str = include_str!("new/rust-readme.md");
const C_MAKE: &str = include_str!("new/c-makefile");
const C_README: &str = include_str!("new/c-readme.md");
const C_ITEMS: &str = include_str!("../../../../../examples/c-plugin/kit/items.csv");
const README: &str = include_str!("new/readme.md");
const SITE: &str = include_str!("new/site.toml");
const PAIR: &str = include_str!("new/pair.sh");
const RUST_DOC: &str = "//! One counter, one writable greeting: put your device in their place.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_that_files_can_have() {
        let name = Name::of("my-plugin2").unwrap();
        assert_eq!(
            (name.plain.as_str(), name.camel.as_str(), name.people.as_str()),
            ("my_plugin2", "MyPlugin2", "My plugin2")
        );
        for wrong in ["", "My", "2my", "my_plugin", "my-", "a--b", "../x", "é", &"a".repeat(41)] {
            assert!(Name::of(wrong).is_err(), "{wrong}");
        }
    }

    /// `site/pair.sh` makes certificates, and the key of their authority.
    #[test]
    fn keys_stay_out_of_version_control() {
        let name = Name::of("mine").unwrap();
        for files in [c(&name), rust(&name, Path::new("/sdk")).unwrap()] {
            let ignored = files.iter().find(|(path, _)| path == ".gitignore").map(|(_, text)| text.as_str());
            assert!(ignored.is_some_and(|text| text.contains("/site/pki\n")), "{ignored:?}");
        }
    }

    #[test]
    fn nothing_of_the_example_is_left() {
        let name = Name::of("boiler-room").unwrap();
        let files =
            [c(&name), rust(&name, Path::new("/sdk")).unwrap(), common(&name, PluginLanguage::C)].concat();
        for (path, text) in files.iter().filter(|(path, _)| !path.starts_with("include/")) {
            let placeholders = ["@NAME@", "@PLAIN@", "@PEOPLE@", "@DIR@", "@BUILD@", "@SDK@"];
            for word in ["org.twinhub", "Hello", "hello-c", "libhello"].iter().chain(&placeholders) {
                assert!(!text.contains(word), "{path} has {word}");
            }
        }
    }
}
