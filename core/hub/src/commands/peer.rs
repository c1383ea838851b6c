//! `peer test`: every path to the other nodes and to the witness, tried on connections of their own.

use serde::{Deserialize, Serialize};
use serde_json::json;
use twinhub_runtime::view::{ClusterView, PathTestView};

use super::status::CLUSTER;
use crate::cli::{Global, PeerTestArgs};
use crate::client::Client;
use crate::exit::{Code, Outcome};
use crate::output::{Answer, plain, table};

#[derive(Debug, Serialize, Deserialize)]
struct NodeTest {
    name: String,
    from: String,
    config_hash: String,
    paths: Vec<PathTestView>,
}

pub(crate) fn test(global: &Global, args: &PeerTestArgs, answer: Answer) -> Outcome {
    let client = Client::new(global)?;
    let names = match &args.node {
        Some(name) => vec![name.clone()],
        None => everyone_else(&client.get(CLUSTER)?),
    };
    let mut tests: Vec<NodeTest> = Vec::new();
    for name in names {
        tests.push(client.send("POST", &format!("/api/v1/nodes/{name}/test"), &json!({}))?);
    }
    answer.give(&tests, |tests| text(tests))?;
    // etcd may be asked without TLS; between nodes what is without has an error.
    let works = |path: &PathTestView| path.reachable && path.error.is_none();
    let is_well = tests.iter().all(|test| !test.paths.is_empty() && test.paths.iter().all(works));
    Ok(if is_well { Code::Ok } else { Code::Error })
}

fn everyone_else(cluster: &ClusterView) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for node in cluster.groups.iter().flat_map(|group| &group.nodes) {
        if node.name != cluster.node && !names.contains(&node.name) {
            names.push(node.name.clone());
        }
    }
    names.extend(cluster.witness.is_some().then(|| "witness".to_owned()));
    names
}

fn text(tests: &[NodeTest]) -> String {
    if tests.is_empty() {
        return "this node is alone in its configuration".to_owned();
    }
    let rows = tests.iter().flat_map(|test| {
        test.paths.iter().map(|path| {
            [
                test.name.clone(),
                path.address.clone(),
                if path.reachable { "yes" } else { "no" }.to_owned(),
                if path.tls { "yes" } else { "no" }.to_owned(),
                path.version.clone(),
                path.protocol.map_or("-".to_owned(), |protocol| protocol.to_string()),
                path.handshake_us.map_or("-".to_owned(), millis),
                path.rtt_us.map_or("-".to_owned(), millis),
                path.clock_offset_us.map_or("-".to_owned(), signed_millis),
                configuration(test, path).to_owned(),
                path.error.as_deref().map(plain).unwrap_or_default(),
            ]
        })
    });
    let header = [
        "to",
        "address",
        "reachable",
        "TLS",
        "version",
        "protocol",
        "handshake",
        "round trip",
        "clock ahead",
        "configuration",
        "error",
    ];
    table(header, rows)
}

fn configuration(test: &NodeTest, path: &PathTestView) -> &'static str {
    if !path.tls || test.name == "witness" {
        "-"
    } else if path.config_hash == test.config_hash {
        "same"
    } else {
        "differs"
    }
}

fn millis(micros: u64) -> String {
    format!("{}.{:03} ms", micros / 1000, micros % 1000)
}

fn signed_millis(micros: i64) -> String {
    let sign = if micros < 0 { "-" } else { "" };
    format!("{sign}{}", millis(micros.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_what_is_wrong_with_a_path() {
        let good = PathTestView {
            address: "10.0.0.12:7620".to_owned(),
            reachable: true,
            tls: true,
            config_hash: "b".to_owned(),
            clock_offset_us: Some(-1_250),
            ..PathTestView::default()
        };
        let bad = PathTestView { error: Some("connection refused".to_owned()), ..PathTestView::default() };
        let tests = [NodeTest {
            name: "backup".to_owned(),
            from: "main".to_owned(),
            config_hash: "a".to_owned(),
            paths: vec![good, bad],
        }];
        let text = text(&tests);
        assert!(text.contains("differs") && text.contains("-1.250 ms"), "{text}");
        assert!(text.contains("connection refused"), "{text}");
    }
}
