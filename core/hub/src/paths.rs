//! Where things are: defaults, `--root`, and what the command line says.

use std::path::{Path, PathBuf};

use crate::cli::Global;
use crate::exit::{Code, Failure};

/// Every path that a command needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Paths {
    /// `twinhub.toml`.
    pub(crate) config: PathBuf,
    /// Has a directory for each node.
    pub(crate) state: PathBuf,
    /// Directories with plugin libraries; the first match wins.
    pub(crate) plugins: Vec<PathBuf>,
    /// Certificates.
    pub(crate) pki: PathBuf,
}

impl Paths {
    /// Paths as this process was told.
    pub(crate) fn of(global: &Global) -> Paths {
        let executable = std::env::current_exe().ok();
        Paths::resolve(global, executable.as_deref(), Path::is_file)
    }

    fn resolve(global: &Global, executable: Option<&Path>, is_file: impl Fn(&Path) -> bool) -> Paths {
        let root = global.root.as_deref();
        let below = |default: &str| match root {
            Some(root) => root.join(default.trim_start_matches('/')),
            None => PathBuf::from(default),
        };
        let config = global.config.clone().unwrap_or_else(|| {
            let default = below("/etc/twinhub/twinhub.toml");
            let short = root.map(|root| root.join("twinhub.toml")).into_iter();
            std::iter::once(default.clone()).chain(short).find(|path| is_file(path)).unwrap_or(default)
        });
        let mut plugins = global.plugins.clone();
        plugins.push(below("/usr/lib/twinhub/plugins"));
        if let Some(dir) = executable.and_then(Path::parent) {
            plugins.push(dir.to_owned());
            plugins.push(dir.join("plugins"));
            // As the release archive has it: `bin` and `plugins` side by side.
            plugins.extend(dir.parent().map(|above| above.join("plugins")));
        }
        let state = global.state.clone().unwrap_or_else(|| below("/var/lib/twinhub"));
        let pki = config_dir(&config).join("pki");
        Paths { config, state, plugins, pki }
    }

    /// The directory that relative names in the configuration refer to.
    pub(crate) fn config_dir(&self) -> PathBuf {
        config_dir(&self.config)
    }

    /// Where the matrix of this product may be, first match wins: beside the configuration, beside the executable
    /// as the release archive has it, where a package puts it, in the source tree.
    pub(crate) fn matrix_dirs(&self) -> Vec<PathBuf> {
        let executable = std::env::current_exe().ok();
        let beside = executable.as_deref().and_then(Path::parent).into_iter().flat_map(|dir| {
            ["../matrix", "../share/twinhub/matrix", "../../matrix"].map(|place| dir.join(place))
        });
        std::iter::once(self.config_dir().join("matrix")).chain(beside).collect()
    }

    /// Where one node keeps its state.
    pub(crate) fn node_state(&self, node: &str) -> PathBuf {
        self.state.join(node)
    }

    /// Reads and checks the configuration.
    pub(crate) fn load(&self) -> Result<twinhub_config::Loaded, Failure> {
        if !self.config.exists() {
            let text = format!(
                "there is no configuration {}: `twinhub init` makes one to start from, --config or --root name another",
                self.config.display()
            );
            return Err(Failure::new(Code::Configuration, text));
        }
        twinhub_config::load(&self.config)
            .map_err(|failure| Failure::new(Code::Configuration, failure.render()))
    }
}

fn config_dir(config: &Path) -> PathBuf {
    match config.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir.to_owned(),
        Some(_) | None => PathBuf::from("."),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::Cli;

    fn resolve(args: &[&str], files: &[&str]) -> Paths {
        let args = ["twinhub"].iter().chain(args).chain(&["status"]);
        let mut global = Cli::try_parse_from(args).unwrap().global;
        if !args_name_config(&global) {
            global.config = None;
        }
        Paths::resolve(&global, Some(Path::new("/opt/bin/twinhub")), |path| {
            files.iter().any(|file| path == Path::new(file))
        })
    }

    fn args_name_config(global: &Global) -> bool {
        global.config.as_deref() == Some(Path::new("/c/my.toml"))
    }

    #[test]
    fn without_options_everything_is_where_the_system_keeps_it() {
        let paths = resolve(&[], &[]);
        assert_eq!(paths.config, Path::new("/etc/twinhub/twinhub.toml"));
        assert_eq!(paths.pki, Path::new("/etc/twinhub/pki"));
        assert_eq!(paths.node_state("main"), Path::new("/var/lib/twinhub/main"));
        let plugins = ["/usr/lib/twinhub/plugins", "/opt/bin", "/opt/bin/plugins", "/opt/plugins"];
        let plugins = plugins.map(PathBuf::from);
        assert_eq!(paths.plugins, plugins);
    }

    #[test]
    fn a_root_moves_everything() {
        let paths = resolve(&["--root", "/tmp/site"], &[]);
        assert_eq!(paths.config, Path::new("/tmp/site/etc/twinhub/twinhub.toml"));
        assert_eq!(paths.state, Path::new("/tmp/site/var/lib/twinhub"));
        assert_eq!(paths.plugins[0], Path::new("/tmp/site/usr/lib/twinhub/plugins"));
    }

    #[test]
    fn a_root_with_the_file_in_it_is_enough() {
        let short = "/tmp/site/twinhub.toml";
        let full = "/tmp/site/etc/twinhub/twinhub.toml";
        assert_eq!(resolve(&["--root", "/tmp/site"], &[short]).config, Path::new(short));
        assert_eq!(resolve(&["--root", "/tmp/site"], &[short]).pki, Path::new("/tmp/site/pki"));
        assert_eq!(resolve(&["--root", "/tmp/site"], &[short, full]).config, Path::new(full));
    }

    #[test]
    fn named_paths_win() {
        let args =
            ["--root", "/r", "--config", "/c/my.toml", "--state", "/s", "--plugins", "/p", "--plugins", "/q"];
        let paths = resolve(&args, &[]);
        assert_eq!(paths.config, Path::new("/c/my.toml"));
        assert_eq!(paths.pki, Path::new("/c/pki"));
        assert_eq!(paths.state, Path::new("/s"));
        assert_eq!(paths.plugins[..2], ["/p", "/q"].map(PathBuf::from));
    }
}
