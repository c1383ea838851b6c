//! The program `knx-secure-gateway`: options, orders, and what it answers to wrong ones.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use twinhub_peers::SecureXknx;

#[test]
fn the_program_takes_orders_and_serves_xknx() {
    let mut gateway = Program::start(&[
        "--tunnel",
        "1.1.250:2",
        "--authentication",
        "trustme",
        "--user",
        "2:secret",
        "--plain",
        "--udp",
    ]);
    let port = gateway.port.clone();
    let options = [
        "--kind",
        "tcp-secure",
        "--gateway",
        "127.0.0.1",
        "--port",
        &port,
        "--authentication",
        "trustme",
        "--user",
        "2",
        "--password",
        "secret",
    ];
    let mut xknx = SecureXknx::connect(&options).unwrap();
    gateway.order("value 1/2/3 0c33");
    xknx.done("read 1/2/3").unwrap();
    xknx.wait_for(|line| line == "telegram 1.1.1 1/2/3 GroupValueResponse 0c33").unwrap();
    gateway.order("write 1/2/4 1 1.1.77");
    xknx.wait_for(|line| line == "telegram 1.1.77 1/2/4 GroupValueWrite 1").unwrap();
    gateway.order("read 1/2/4");
    xknx.wait_for(|line| line == "telegram 1.1.1 1/2/4 GroupValueRead -").unwrap();
    gateway.order("response 1/2/4 0");
    xknx.wait_for(|line| line == "telegram 1.1.1 1/2/4 GroupValueResponse 0").unwrap();
    gateway.order("log");
    let log = gateway.lines_to("END");
    assert_eq!(log.len(), 5, "{log:?}");
    assert!(log[0].starts_with("1.1.250 1/2/3 GroupValueRead"), "{log:?}");
    // Taken and not confirmed.
    gateway.order("mute");
    gateway.order("log");
    gateway.lines_to("END");
    xknx.order("write 1/2/3 1").unwrap();
    xknx.wait_for(|line| line.starts_with("failed ConfirmationError")).unwrap();
}

#[test]
fn wrong_options_are_told_with_the_usage() {
    for words in [&["--port"][..], &["--user", "2"], &["--tunnel", "1.1.999"], &["--nonsense"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_knx-secure-gateway")).args(words).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.starts_with("knx-secure-gateway: ") && text.contains("usage:"), "{text}");
    }
}

struct Program {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    port: String,
}

impl Program {
    fn start(words: &[&str]) -> Program {
        let mut child = Command::new(env!("CARGO_BIN_EXE_knx-secure-gateway"))
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut program = Program { child, input, output, port: String::new() };
        let line = program.line();
        program.port.push_str(line.strip_prefix("READY ").unwrap());
        program
    }

    fn order(&mut self, line: &str) {
        writeln!(self.input, "{line}").unwrap();
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn lines_to(&mut self, end: &str) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let line = self.line();
            if line == end {
                return lines;
            }
            assert!(!line.is_empty(), "it ended");
            lines.push(line);
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
