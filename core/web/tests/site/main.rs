//! A real node of one with generated values, asked over real connections.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod events;
mod slow;

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use twinhub_peers::Port;
use twinhub_runtime::{Handle, HostProgram, NodeOptions, start};
use twinhub_web::{WebOptions, serve};

/// Nothing here takes longer unless it is broken.
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn health_follows_the_role() {
    let site = Site::start();
    for (path, status) in
        [("/health/live", 200), ("/health/ready", 200), ("/health/active", 200), ("/health/standby", 503)]
    {
        assert_eq!(site.get(path).status, status, "{path}");
    }
}

#[test]
fn every_path_of_the_description_answers() {
    let site = Site::start();
    let document = site.get("/openapi.json").json();
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.len() >= 20, "{paths:?}");
    for (path, methods) in paths.iter().filter(|(path, _)| !path.contains("stream")) {
        let path = path
            .replace("{key}", "sim1/count")
            .replace("{id}", if path.contains("interfaces") { "sim1" } else { "1" })
            .replace("{name}", if path.contains("plugins") { "sim" } else { "main" });
        let path = if path == "/api/v1/history" { format!("{path}?item=sim1/count") } else { path };
        // A new node has no operation, revision, ticket, backup or merge yet.
        let is_of_later = ["operations/", "revisions/", "join/plugins/", "backups/", "merges/"]
            .iter()
            .any(|name| path.contains(name));
        if methods.get("get").is_some() && !is_of_later {
            // The simulation keeps no messages.
            let expected = if path.ends_with("/monitor") { 501 } else { 200 };
            assert_eq!(site.get(&path).status, expected, "{path}");
        }
    }
}

#[test]
fn a_value_is_written_and_read_back() {
    let site = Site::start();
    let written = site.send("PUT", "/api/v1/items/sim1/echo/value", "42");
    assert_eq!(written.status, 200, "{written:?}");
    assert_eq!(written.json()["ok"], true);
    site.wait("the echo", || site.get("/api/v1/items/sim1/echo/value").json()["value"] == 42);
    let bulk = json!([{"key": "sim1/echo", "value": 43}, {"key": "sim1/nothing", "value": 1}]).to_string();
    let results = site.send("POST", "/api/v1/items:bulk", &bulk).json();
    assert_eq!((&results[0]["ok"], &results[1]["code"]), (&json!(true), &json!("TH-ITEM-001")));
    site.wait("the second echo", || site.get("/api/v1/items/sim1/echo").json()["value"] == 43);
}

#[test]
fn values_of_the_past_come_in_parts_and_intervals() {
    let site = Site::start();
    let ask = |query: &str| site.get(&format!("/api/v1/history?item=sim1/count{query}")).json();
    site.wait("values", || ask("")["rows"].as_array().is_some_and(|rows| rows.len() > 5));
    let first = ask("&limit=2");
    let next = first["next"].as_str().unwrap();
    let second = ask(&format!("&limit=2&cursor={next}"));
    let numbers = |page: &Value| -> Vec<i64> {
        page["rows"].as_array().unwrap().iter().map(|row| row["value"].as_i64().unwrap()).collect()
    };
    let (one, two) = (numbers(&first), numbers(&second));
    assert_eq!((one.len(), two.len()), (2, 2));
    assert_eq!([one[0] + 1, one[0] + 2, one[0] + 3], [one[1], two[0], two[1]]);
    let until = &second["rows"][1]["source_time"].as_str().unwrap();
    let whole = &ask(&format!("&to={until}&aggregate=all"))["rows"][0];
    assert_eq!(whole["count"], 3, "{whole}");
    for (name, row) in [("min", &first["rows"][0]), ("last", &second["rows"][0])] {
        assert_eq!(whole[name].as_f64(), row["value"].as_f64(), "{name} in {whole}");
    }
    let csv = site.raw(
        b"GET /api/v1/history?item=sim1/count&limit=1 HTTP/1.1\r\nHost: localhost\r\nAccept: text/csv\r\n\
          Connection: close\r\n\r\n",
    );
    assert!(
        csv.body.starts_with("source_time,server_time,value,quality,cause,origin,replayed\r\n"),
        "{csv:?}"
    );
    assert_eq!(csv.body.lines().count(), 2);
    assert!(csv.head.contains("&cursor=") && csv.head.contains("rel=\"next\""), "{csv:?}");
    assert_eq!(site.get("/api/v1/cluster").json()["history"]["items"], 1);
}

#[test]
fn every_error_is_a_problem_with_a_code() {
    let site = Site::start();
    for (method, path, body, status, code) in [
        ("GET", "/api/v1/items/sim1/nothing", "", 404, "TH-ITEM-001"),
        ("PUT", "/api/v1/items/sim1/count/value", "1", 403, "TH-ITEM-002"),
        ("PUT", "/api/v1/items/sim1/echo/value", "null", 422, "TH-ITEM-003"),
        ("PUT", "/api/v1/items/sim1/echo/value", "{", 400, "TH-WEB-400"),
        ("PUT", "/api/v1/items/sim1/echo", "1", 405, "TH-WEB-405"),
        ("POST", "/api/v1/cluster/switchover", "{\"to\": \"nobody\"}", 404, "TH-NODE-002"),
        ("POST", "/api/v1/cluster/pause", "{\"group\": \"none\"}", 404, "TH-NODE-003"),
        ("POST", "/api/v1/cluster/pause", "{\"grup\": \"site\"}", 400, "TH-WEB-400"),
        ("GET", "/api/v1/history", "", 400, "TH-WEB-400"),
        ("GET", "/api/v1/history?item=sim1/nothing", "", 404, "TH-ITEM-001"),
        ("GET", "/api/v1/history?item=sim1/echo", "", 404, "TH-HISTORY-007"),
        ("GET", "/api/v1/history?item=sim1/count&aggregate=median", "", 400, "TH-WEB-400"),
        ("GET", "/api/v1/merges/9", "", 404, "TH-MERGE-003"),
        ("GET", "/api/v1/deliveries?state=lost", "", 400, "TH-WEB-400"),
        ("POST", "/api/v1/deliveries/site-9/retry", "", 404, "TH-DELIVERY-009"),
        ("POST", "/api/v1/deliveries/site-9/drop", "", 404, "TH-DELIVERY-009"),
        ("POST", "/api/v1/deliveries/nowhere-9/drop", "", 404, "TH-DELIVERY-009"),
        ("POST", "/api/v1/deliveries/%2F/drop", "", 404, "TH-DELIVERY-009"),
        ("GET", "/api/v1/operations/999", "", 404, "TH-NODE-006"),
        ("GET", "/api/v1/operations/x", "", 400, "TH-WEB-400"),
        ("GET", "/api/v1/items?limit=x", "", 400, "TH-WEB-400"),
        ("GET", "/api/v1/items?limt=5", "", 400, "TH-WEB-400"),
        ("GET", "/api/v1/events?limit=1&severty=error", "", 400, "TH-WEB-400"),
        ("GET", "/api/v1/interfaces/x", "", 404, "TH-INTERFACE-001"),
        ("POST", "/api/v1/interfaces/x/test", "", 404, "TH-INTERFACE-001"),
        ("POST", "/api/v1/interfaces/sim1/test", "", 501, "TH-INTERFACE-002"),
        ("POST", "/api/v1/interfaces/sim1/discover?wait=3", "", 400, "TH-WEB-400"),
        ("GET", "/api/v1/interfaces/sim1/monitor?after=-1", "", 400, "TH-WEB-400"),
        ("GET", "/api/v1/plugins/x", "", 404, "TH-PLUGIN-001"),
        ("GET", "/api/v1/nodes/x", "", 404, "TH-NODE-002"),
        ("GET", "/nothing", "", 404, "TH-WEB-404"),
        ("DELETE", "/api/v1/items", "", 405, "TH-WEB-405"),
        ("GET", "/api/v1/stream", "", 400, "TH-WEB-400"),
        ("POST", "/api/v1/nodes/x/test", "", 404, "TH-NODE-002"),
    ] {
        let answer = site.send(method, path, body);
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
        assert_eq!(answer.json()["code"], code, "{method} {path}: {answer:?}");
        assert!(answer.head.contains("application/problem+json"), "{method} {path}: {answer:?}");
    }
    let head = "PUT /api/v1/items/sim1/echo/value HTTP/1.1\r\nHost: localhost\r\n";
    let announced = format!("{head}Content-Length: {}\r\n\r\n", 1_u64 << 40);
    assert_eq!(site.raw(announced.as_bytes()).json()["code"], "TH-WEB-413");
}

#[test]
fn a_page_from_elsewhere_is_refused_and_the_token_lets_in() {
    let site = Site::start();
    let ask = |extra: &str| {
        site.raw(format!("GET /api/v1/items HTTP/1.1\r\n{extra}\r\nConnection: close\r\n\r\n").as_bytes())
            .status
    };
    assert_eq!(ask("Host: localhost"), 200);
    assert_eq!(ask("Host: evil.example"), 401);
    assert_eq!(ask("Host: localhost\r\nOrigin: http://evil.example"), 401);
    let token = std::fs::read_to_string(site.dir.path().join("state/token")).unwrap();
    assert_eq!(ask(&format!("Host: evil.example\r\nAuthorization: Bearer {}", token.trim())), 200);
    assert_eq!(ask("Host: localhost\r\nAuthorization: Bearer 0000000000000000"), 401);
}

#[test]
fn the_stream_goes_on_from_its_cursor_without_a_gap() {
    let site = Site::start();
    let mut first = site.stream("prefix=sim1/count");
    let mut counts = Vec::new();
    let mut cursor = String::new();
    while counts.len() < 5 {
        cursor = first.frame(&mut counts);
    }
    drop(first);
    let reached = counts.last().copied().unwrap();
    site.wait("the counter", || {
        site.get("/api/v1/items/sim1/count").json()["value"].as_u64() > Some(reached + 3)
    });
    let mut second = site.stream(&format!("prefix=sim1/count&from={cursor}"));
    while counts.len() < 12 {
        second.frame(&mut counts);
    }
    assert!(counts.windows(2).all(|pair| pair[1] == pair[0] + 1), "{counts:?}");
}

#[test]
fn events_are_streamed_and_paged() {
    let site = Site::start();
    site.send("PUT", "/api/v1/items/sim1/panic/value", "1");
    site.wait("an event", || !site.get("/api/v1/events").json()["rows"].as_array().unwrap().is_empty());
    let first = site.get("/api/v1/events?limit=1").json();
    assert_eq!(first["rows"][0]["id"], first["next"]);
    let csv = site.raw(
        b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\nAccept: text/csv\r\nConnection: close\r\n\r\n",
    );
    assert!(csv.body.starts_with("id,at,severity,source,code,text,node,group,alarm,key\r\n1,"), "{csv:?}");
    let mut stream = TcpStream::connect(site.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"GET /api/v1/events/stream HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut text = String::new();
    let mut bytes = [0; 4096];
    while !text.contains("\ndata: {\"id\":1") {
        let count = stream.read(&mut bytes).unwrap();
        assert!(count > 0, "{text}");
        text.push_str(&String::from_utf8_lossy(&bytes[..count]));
    }
    assert!(text.contains("text/event-stream") && text.contains("id: "), "{text}");
}

#[test]
fn hostile_bytes_end_with_an_answer_or_a_closed_connection() {
    let site = Site::start();
    let long_header = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", "a".repeat(1 << 20));
    let many_headers = (0..10_000).fold("GET / HTTP/1.1\r\n".to_owned(), |mut text, number| {
        write!(text, "x{number}: 1\r\n").unwrap();
        text
    });
    let cases: [&[u8]; 9] = [
        b"\0\0\0\0\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /api/v1/items/%ff%fe%00 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"GET /api/v1/items?prefix=%ff HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"PUT /api/v1/items/sim1/echo/value HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
        b"PUT /api/v1/items/sim1/echo/value HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        long_header.as_bytes(),
        many_headers.as_bytes(),
    ];
    for case in cases {
        let mut stream = TcpStream::connect(site.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // The server may close before it has read all of it.
        stream.write_all(case).ok();
        stream.shutdown(std::net::Shutdown::Write).ok();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok();
        let answer = String::from_utf8_lossy(&answer);
        let is_refused = answer.is_empty() || answer.starts_with("HTTP/1.1 4");
        // Text that is no UTF-8 is no prefix of any key.
        let is_nothing = answer.starts_with("HTTP/1.1 200") && answer.contains("\"items\":[]");
        assert!(is_refused || is_nothing, "{answer}");
    }
    let deep = "[".repeat(100_000);
    assert_eq!(site.send("PUT", "/api/v1/items/sim1/echo/value", &deep).status, 400);
    assert_eq!(site.get("/health/live").status, 200);
}

#[test]
fn a_websocket_message_over_the_limit_ends_only_that_stream() {
    let site = Site::start();
    let mut stream = site.stream("prefix=sim1/count");
    let message = tungstenite::Message::Text("x".repeat(1 << 20).into());
    // The server may close before all is sent.
    stream.0.send(message).ok();
    let begun = Instant::now();
    while stream.0.read().is_ok_and(|message| !message.is_close()) {
        assert!(begun.elapsed() < PATIENCE);
    }
    assert_eq!(site.get("/health/live").status, 200);
}

/// A node with one simulated interface and its web server on a free port.
struct Site {
    dir: TempDir,
    address: SocketAddr,
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    server: Option<std::thread::JoinHandle<()>>,
}

#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

struct Socket(tungstenite::WebSocket<TcpStream>);

impl Socket {
    /// Adds the counts of the next frame and answers with its cursor.
    fn frame(&mut self, counts: &mut Vec<u64>) -> String {
        loop {
            if let tungstenite::Message::Text(text) = self.0.read().unwrap() {
                let frame: Value = serde_json::from_str(&text).unwrap();
                if frame.get("topic").is_some() {
                    continue;
                }
                assert!(frame["epoch"].is_string(), "{frame}");
                let items = frame["items"].as_array().unwrap();
                counts.extend(items.iter().filter_map(|item| item["value"].as_u64()));
                return frame["cursor"].as_str().unwrap().to_owned();
            }
        }
    }
}

impl Site {
    fn start() -> Site {
        Site::start_at(std::net::TcpListener::bind("127.0.0.1:0").unwrap())
    }

    fn start_at(listener: std::net::TcpListener) -> Site {
        Site::start_with(listener, "")
    }

    /// With more in its configuration.
    fn start_with(listener: std::net::TcpListener, more: &str) -> Site {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("twinhub.toml");
        // The peer port is never dialed: there is no other node.
        let [peer] = Port::hold();
        let text = format!(
            "version = 1\nsite = \"test\"\n[cluster]\nnodes = [\"main\"]\nprofile = \"lan\"\n[nodes.main]\n\
             links = [\"127.0.0.1:{peer}\"]\nweb = \"127.0.0.1:8620\"\n[[interface]]\nid = \"sim1\"\nplugin = \"sim\"\n\
             items = \"sim1.csv\"\nsettings = {{ interval_ms = 20 }}\n{more}"
        );
        std::fs::write(&config, text).unwrap();
        let items = "path,address,type,access,unit,description,historize\ncount,counter,uint64,r,,,yes\necho,echo,int64,rw,,,\npanic,panic,int64,rw,,,no\n";
        std::fs::write(dir.path().join("sim1.csv"), items).unwrap();
        let loaded = twinhub_config::load(&config).unwrap_or_else(|failure| panic!("{}", failure.render()));
        let state = dir.path().join("state");
        let options = NodeOptions {
            site: loaded.site,
            node: "main".to_owned(),
            state_dir: state.clone(),
            plugin_dirs: vec![plugins()],
            plugin_host: HostProgram::default(),
            pki_dir: dir.path().join("pki"),
            config_dir: dir.path().to_owned(),
            config_file: dir.path().join("twinhub.toml"),
        };
        let handle = start(options).unwrap();
        let web = WebOptions::new(&handle, dir.path(), &state).unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let (bound, address) = std::sync::mpsc::channel();
        let served = handle.clone();
        let server = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                listener.set_nonblocking(true).unwrap();
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                bound.send(listener.local_addr().unwrap()).unwrap();
                let stopping = served.clone();
                serve(served, listener, web, async {
                    stopped.await.ok();
                })
                .await
                .unwrap();
                stopping.shutdown().await;
            });
        });
        let site =
            Site { dir, address: address.recv().unwrap(), handle, stop: Some(stop), server: Some(server) };
        site.wait("the node to be active", || site.handle.is_active());
        site
    }

    fn wait(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !is_so() {
            assert!(begun.elapsed() < PATIENCE, "{what} did not come: {:?}", self.handle.cluster());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn get(&self, path: &str) -> Answer {
        self.send("GET", path, "")
    }

    fn send(&self, method: &str, path: &str, body: &str) -> Answer {
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        self.raw(request.as_bytes())
    }

    fn raw(&self, request: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(request).unwrap();
        let mut bytes = Vec::new();
        let mut part = [0; 8192];
        loop {
            let count = stream.read(&mut part).unwrap();
            bytes.extend_from_slice(&part[..count]);
            let text = String::from_utf8_lossy(&bytes);
            let whole = text.split_once("\r\n\r\n").filter(|(head, body)| {
                let length =
                    head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
                length.is_some_and(|length: usize| body.len() >= length)
            });
            if let Some((head, body)) = whole.or_else(|| text.split_once("\r\n\r\n").filter(|_| count == 0)) {
                let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap();
                return Answer { status, head: head.to_owned(), body: body.to_owned() };
            }
            assert!(count > 0, "closed after {text}");
        }
    }

    fn stream(&self, query: &str) -> Socket {
        let tcp = TcpStream::connect(self.address).unwrap();
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        let url = format!("ws://127.0.0.1:{}/api/v1/stream?{query}", self.address.port());
        Socket(tungstenite::client(url, tcp).unwrap().0)
    }

    /// As whoever this secret proves.
    fn stream_as(&self, query: &str, secret: &str) -> Socket {
        let tcp = TcpStream::connect(self.address).unwrap();
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        let url = format!("ws://127.0.0.1:{}/api/v1/stream?{query}", self.address.port());
        let mut request = url.into_client_request().unwrap();
        request.headers_mut().insert("Authorization", format!("Bearer {secret}").parse().unwrap());
        Socket(tungstenite::client(request, tcp).unwrap().0)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            stop.send(()).ok();
        }
        if let Some(server) = self.server.take() {
            let result = server.join();
            assert!(result.is_ok() || std::thread::panicking());
        }
    }
}

/// The directory of the built plugin.
fn plugins() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT
        .get_or_init(|| {
            let built = Command::new(env!("CARGO"))
                .args(["build", "--quiet", "--package", "twinhub-sim"])
                .status()
                .unwrap();
            assert!(built.success());
            let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
            target.join("debug")
        })
        .clone()
}
