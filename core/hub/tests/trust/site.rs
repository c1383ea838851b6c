//! A site with one plugin in C, which leaves a mark when it is mapped.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use twinhub_peers::Port;

use crate::signer::Signer;

/// Nothing here takes longer unless it is broken.
const PATIENCE: Duration = Duration::from_secs(40);
/// The environment variable with the name of the file that the library makes when it is mapped.
const NODE: &[&str] = &["run", "--node", "main"];
const CHECK: &[&str] = &["--output", "json", "config", "check"];
const MARK: &str = "TWINHUB_TEST_MARK";

/// A folder with configuration, plugin and perhaps `plugins.lock`.
pub(crate) struct Site {
    pub(crate) dir: TempDir,
    webs: Vec<u16>,
}

/// A node that runs.
pub(crate) struct Node<'s> {
    site: &'s Site,
    name: &'static str,
    web: u16,
    child: Child,
}

impl Site {
    /// A node alone, with version `version` of the plugin.
    pub(crate) fn new(version: &str) -> Site {
        let [link, web] = Port::hold();
        Site::with_nodes(version, &[("main", link, web)])
    }

    /// Nodes with their ports for others and for web.
    pub(crate) fn with_nodes(version: &str, nodes: &[(&str, u16, u16)]) -> Site {
        let names: Vec<&str> = nodes.iter().map(|(name, ..)| *name).collect();
        let mut sections = String::new();
        for (name, link, web) in nodes {
            writeln!(sections, "[nodes.{name}]\nlinks = [\"127.0.0.1:{link}\"]\nweb = \"127.0.0.1:{web}\"")
                .unwrap();
        }
        let config = format!(
            "version = 1\nsite = \"trust\"\n[cluster]\nnodes = {names:?}\nwithout_witness = \"availability\"\n{sections}\
             [[interface]]\nid = \"c1\"\nplugin = \"hello_c\"\nhosting = \"inproc\"\n"
        );
        let site =
            Site { dir: tempfile::tempdir().unwrap(), webs: nodes.iter().map(|(.., web)| *web).collect() };
        std::fs::write(site.path("twinhub.toml"), config).unwrap();
        std::fs::create_dir(site.path("plugins")).unwrap();
        site.install(&compiled(version, "hello from C"));
        site
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn library_path(&self) -> PathBuf {
        self.path("plugins/libtwinhub_hello_c.so")
    }

    pub(crate) fn library(&self) -> Vec<u8> {
        std::fs::read(self.library_path()).unwrap()
    }

    /// As `sha256sum` says.
    pub(crate) fn sha256(&self) -> String {
        let sum = Command::new("sha256sum").arg(self.library_path()).output().unwrap().stdout;
        String::from_utf8(sum).unwrap()[..64].to_owned()
    }

    pub(crate) fn install(&self, library: &[u8]) {
        std::fs::write(self.library_path(), library).unwrap();
    }

    pub(crate) fn sign(&self, signature: &str) {
        std::fs::write(self.path("plugins/libtwinhub_hello_c.so.minisig"), signature).unwrap();
    }

    pub(crate) fn lock(&self, text: &str) {
        let path = self.path("plugins.lock");
        std::fs::remove_file(&path).ok();
        std::fs::write(path, text).unwrap();
    }

    pub(crate) fn lock_is_link_to_nowhere(&self) {
        let path = self.path("plugins.lock");
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("nowhere", path).unwrap();
    }

    /// A publisher, and the library that is installed.
    pub(crate) fn entry(&self, signer: &Signer, grant: &str) -> String {
        format!(
            "[[publisher]]\nname = \"acme\"\nkey = \"{}\"\n\n[[plugin]]\nid = \"org.twinhub.hello-c\"\n\
             version = \"0.1.0\"\nsha256 = \"{}\"\n{grant}\n",
            signer.key(),
            self.sha256()
        )
    }

    /// Whether the library has been mapped by a process of this site.
    /// Where the configuration has the plugin run: `inproc` unless a test says otherwise.
    pub(crate) fn host(&self, hosting: &str) {
        let path = self.path("twinhub.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        let lines = text.lines().map(|line| match line.strip_prefix("hosting = ") {
            Some(_) => format!("hosting = {hosting:?}"),
            None => line.to_owned(),
        });
        std::fs::write(&path, lines.collect::<Vec<_>>().join("\n")).unwrap();
    }

    /// Into the process of the hub; one of its own knows nothing of the mark.
    pub(crate) fn was_mapped(&self) -> bool {
        self.path("mark").exists()
    }

    fn command(&self) -> Command {
        self.command_at(self.dir.path())
    }

    /// For a machine whose files are below this folder.
    fn command_at(&self, root: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_twinhub"));
        command.arg("--root").arg(root).arg("--plugins").arg(root.join("plugins"));
        for variable in ["TWINHUB_NODE", "TWINHUB_CONFIG", "TWINHUB_TOKEN", "TWINHUB_URL", "TWINHUB_LOG"] {
            command.env_remove(variable);
        }
        command.env(MARK, self.path("mark"));
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command().args(arguments).output().unwrap()
    }

    /// The exit code and all that was said.
    pub(crate) fn said(&self, arguments: &[&str]) -> (Option<i32>, String) {
        self.said_at(self.dir.path(), arguments)
    }

    /// On a machine whose files are below this folder.
    pub(crate) fn said_at(&self, root: &Path, arguments: &[&str]) -> (Option<i32>, String) {
        let mut command = self.command_at(root);
        let command = command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let begun = Instant::now();
        // A hub that should not have started would run for ever.
        while child.try_wait().unwrap().is_none() && begun.elapsed() < PATIENCE / 2 {
            std::thread::sleep(Duration::from_millis(5));
        }
        child.kill().ok();
        let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
        (status.code(), String::from_utf8([stdout, stderr].concat()).unwrap())
    }

    /// No command and no hub maps the library, and each says all of this.
    pub(crate) fn refuses(&self, parts: &[&str]) {
        self.refuse_with(&[NODE, &["plugin", "verify"], &["plugin", "check", "hello_c"], CHECK], parts);
    }

    /// The configuration does not fit the lock.
    pub(crate) fn refuses_configuration(&self, parts: &[&str]) {
        self.refuse_with(&[NODE, CHECK], parts);
    }

    fn refuse_with(&self, commands: &[&[&str]], parts: &[&str]) {
        for arguments in commands {
            let (code, said) = self.said(arguments);
            assert_eq!(code, Some(64), "{arguments:?}: {said}");
            let is_json = arguments[0] == "--output";
            for part in parts {
                // There the place is a field of its own.
                let is_place = is_json && part.starts_with("plugins.lock:");
                assert!(is_place || said.contains(part), "{arguments:?}: {part} is not in: {said}");
            }
        }
        assert!(!self.was_mapped(), "the library was mapped");
        let cache = self.path("var/lib/twinhub/main/cache");
        let copies = std::fs::read_dir(cache).map_or(0, Iterator::count);
        assert_eq!(copies, 0, "there is a copy of the library");
    }

    /// The node alone, once it is active.
    pub(crate) fn start(&self) -> Node<'_> {
        let node = self.start_node("main", 0);
        node.wait("active", |node| node.status()["groups"][0]["state"] == "active");
        node
    }

    /// The node with this place among the nodes.
    pub(crate) fn start_node(&self, name: &'static str, at: usize) -> Node<'_> {
        let log = std::fs::File::create(self.path(&format!("{name}.log"))).unwrap();
        let child =
            self.command().args(["run", "--node", name]).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        Node { site: self, name, web: self.webs[at], child }
    }
}

impl Node<'_> {
    /// What it answers; null while it answers nothing.
    pub(crate) fn get(&self, path: &str) -> Value {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.web)) else { return Value::Null };
        stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).ok();
        text.split_once("\r\n\r\n").and_then(|(_, body)| serde_json::from_str(body).ok()).unwrap_or_default()
    }

    pub(crate) fn status(&self) -> Value {
        self.get("/api/v1/cluster")
    }

    /// The newest first.
    pub(crate) fn events(&self) -> Vec<Value> {
        self.get("/api/v1/events?order=newest")["rows"].as_array().cloned().unwrap_or_default()
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.site.path(&format!("{}.log", self.name))).unwrap()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.web)
    }

    /// What a person reads.
    pub(crate) fn table(&self, arguments: &[&str]) -> String {
        let url = self.url();
        let output = self.site.command().args(arguments).args(["--url", &url]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn wait(&self, what: &str, is_so: impl Fn(&Node<'_>) -> bool) {
        let begun = Instant::now();
        while !is_so(self) {
            assert!(begun.elapsed() < PATIENCE, "{what} did not come\n{}\n{}", self.status(), self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Node<'_> {
    /// In order, so that the next one finds its ports free.
    fn drop(&mut self) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, Signal::TERM).ok();
        self.child.wait().ok();
        std::fs::remove_file(self.site.path("mark")).ok();
        // What was loaded stays there for the next start.
        std::fs::remove_dir_all(self.site.path("var/lib/twinhub/main/cache")).ok();
    }
}

/// The example in C with this version and greeting, which makes a file when it is mapped.
pub(crate) fn compiled(version: &str, greeting: &str) -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let example = std::fs::read_to_string(root.join("examples/c-plugin/hello.c")).unwrap();
    let example = example
        .replace("\\\"version\\\":\\\"0.1.0\\\"", &format!("\\\"version\\\":\\\"{version}\\\""))
        .replace("hello from C", greeting);
    assert!(example.contains(version) && example.contains(greeting));
    let mark = format!(
        "#include <stdio.h>\n__attribute__((constructor)) static void mapped(void) {{\n  \
         const char *name = getenv(\"{MARK}\");\n  FILE *file = name ? fopen(name, \"w\") : 0;\n  \
         if (file) fclose(file);\n}}\n"
    );
    let (source, library) = (dir.path().join("marked.c"), dir.path().join("marked.so"));
    std::fs::write(&source, format!("{example}\n{mark}")).unwrap();
    let built = Command::new("cc")
        .args(["-std=c11", "-O1", "-shared", "-fPIC", "-fvisibility=hidden", "-I"])
        .arg(root.join("sdk/contract/include"))
        .arg("-o")
        .args([&library, &source])
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    std::fs::read(library).unwrap()
}
