//! `matrix`: show, build, verify.

use std::path::Path;

use serde_json::{Value, json};
use twinhub_matrix::{Inputs, Matrix, build_from, collect_from, verify_from};

use crate::cli::{Global, MatrixArgs, MatrixCommand};
use crate::exit::{Code, Failure, Outcome};
use crate::output::{Answer, print};
use crate::paths::Paths;

/// What the references claim; the folder of a matrix has it.
const SEED: &str = "seed.json";

pub(crate) fn run(global: &Global, command: &MatrixCommand, answer: Answer) -> Outcome {
    match command {
        MatrixCommand::Show(args) => show(global, args, answer),
        MatrixCommand::Build(args) => {
            let inputs = inputs(global, args)?;
            let written = build_from(&inputs, &args.dir).map_err(|error| Failure::of(Code::Error, &error))?;
            let names: Vec<String> = written.iter().map(|path| path.display().to_string()).collect();
            answer.give(&names, |names| {
                names.iter().map(|name| format!("wrote {name}")).collect::<Vec<_>>().join("\n")
            })
        }
        MatrixCommand::Verify(args) => {
            let inputs = inputs(global, args)?;
            let matrix = verify_from(&inputs, &args.dir).map_err(|error| Failure::of(Code::Error, &error))?;
            let rows = matrix.rows.len();
            answer.give(&json!({ "ok": true, "rows": rows }), |_| {
                format!("{} is up to date and no run contradicts it: {rows} rows", args.dir.display())
            })
        }
    }
}

fn show(global: &Global, args: &MatrixArgs, answer: Answer) -> Outcome {
    let is_here = |dir: &Path| dir.join(SEED).is_file();
    let installed = || Paths::of(global).matrix_dirs().into_iter().find(|dir| is_here(dir));
    let dir = Some(args.dir.clone()).filter(|dir| is_here(dir)).or_else(installed);
    let inputs = inputs(global, &MatrixArgs { dir: dir.unwrap_or_else(|| args.dir.clone()) })?;
    let matrix: Matrix = collect_from(&inputs).map_err(|error| Failure::of(Code::Error, &error))?;
    if answer.is_json() { print(&matrix.json()) } else { print(&matrix.markdown()) }
}

/// Declared by the plugins' sources beside the folder if they are there, else by the installed libraries.
fn inputs(global: &Global, args: &MatrixArgs) -> Result<Inputs, Failure> {
    let seed = args.dir.join(SEED);
    if !seed.is_file() {
        let text = format!("{} is missing: name the folder of the matrix with --dir", seed.display());
        return Err(Failure::new(Code::Configuration, text));
    }
    // A folder with libraries is not one with sources; the release archive has the former at the same place.
    let is_source = |root: &Path| root.join("Cargo.toml").is_file() && root.join("plugins").is_dir();
    let roots = args.dir.parent().into_iter().chain([Path::new("")]);
    let root = roots.into_iter().find(|root| is_source(root));
    let sources = root.map(|root| root.join("plugins"));
    let examples = root.map(|root| root.join("examples")).filter(|dir| dir.is_dir());
    let installed = global
        .plugins
        .first()
        .cloned()
        .or_else(|| Paths::of(global).plugins.into_iter().find(|dir| has_libraries(dir)));
    let plugins = match (global.plugins.first(), &sources, installed) {
        (Some(named), _, _) => named.clone(),
        (None, Some(sources), _) => sources.clone(),
        (None, None, Some(installed)) => installed,
        (None, None, None) => {
            let text = "there are no plugins to describe: name a folder of libraries with --plugins";
            return Err(Failure::new(Code::Configuration, text));
        }
    };
    Ok(Inputs { plugins, sources, examples, results: args.dir.join("results"), seed })
}

fn has_libraries(dir: &Path) -> bool {
    let mut entries = std::fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok);
    entries.any(|entry| {
        entry.path().extension().is_some_and(|extension| extension == std::env::consts::DLL_EXTENSION)
    })
}

/// The matrix that was generated for this product, as it is installed; an empty list if it is not.
pub(crate) fn installed(paths: &Paths) -> Value {
    for dir in paths.matrix_dirs() {
        let found = std::fs::read(dir.join("compatibility.json"))
            .ok()
            .and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
        if let Some(found) = found {
            return found;
        }
    }
    Value::Array(Vec::new())
}
