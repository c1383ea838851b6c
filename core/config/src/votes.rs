//! Warns of voters that cannot break a tie.

use crate::assembly::Assembly;
use crate::diagnostic::Severity;
use crate::file;

impl Assembly<'_> {
    pub(crate) fn votes(&mut self, cluster: &file::Cluster) {
        let has_witness = cluster.witness.is_some();
        let witness_vote = usize::from(has_witness);
        let nodes = cluster.nodes.len();
        let voting = nodes.min(VOTERS_MAX - witness_vote);
        if !has_witness && nodes == 2 {
            return self.pair_without_witness(cluster);
        }
        let voters = voting + witness_vote;
        // A list that is wrong in itself is mended first.
        let is_wrong = self.found.iter().any(|found| found.severity == Severity::Error);
        if voters % 2 == 1 || is_wrong {
            return;
        }
        let majority = voters / 2 + 1;
        let (message, label, help) = if !has_witness {
            (
                format!(
                    "{voters} voters and no witness: a majority is {majority} of {voters}, so a cut into two halves \
                     stops both, and no more nodes may be lost than with {}",
                    voters - 1
                ),
                "an even number of votes",
                "run `twinhub witness` on any further machine and write `witness = \"host:7621\"`, \
                 or take one node out of `nodes`"
                    .to_owned(),
            )
        } else if nodes == 1 {
            (
                "one node and a witness: the node acts only while the witness answers".to_owned(),
                "one more machine that must not fail",
                "leave `witness` out until there is a second node".to_owned(),
            )
        } else {
            (
                format!(
                    "{voting} nodes and a witness: a majority is {majority} of {voters} votes, so no more machines \
                     may be lost than without the witness"
                ),
                "an even number of votes",
                "leave `witness` out, or add one more node".to_owned(),
            )
        };
        self.warn(&["cluster".into(), "nodes".into()], message, label, help);
    }

    fn pair_without_witness(&mut self, cluster: &file::Cluster) {
        let policy = match cluster.without_witness {
            file::Policy::Manual => "a silent main is not replaced until an operator says so (`manual`)",
            file::Policy::Evidence => {
                "the backup takes over only if it can see that the network works (`evidence`)"
            }
            file::Policy::Availability => {
                "both nodes may act at once if they lose each other (`availability`)"
            }
        };
        self.warn(
            &["cluster".into(), "nodes".into()],
            format!("two nodes and no witness: {policy}"),
            "no majority without a third vote",
            "run `twinhub witness` on any third machine and write `witness = \"host:7621\"`",
        );
        let is_blind =
            cluster.without_witness == file::Policy::Evidence && cluster.evidence.reference_hosts.is_empty();
        if is_blind {
            self.warn(
                &["cluster".into()],
                "`without_witness` is `evidence`, and there are no reference hosts".to_owned(),
                "no evidence possible",
                "write `evidence = { reference_hosts = [\"10.0.0.1\"] }` with hosts that answer, such as the gateway",
            );
        }
    }
}

/// As many as a group has at most; nodes beyond observe.
const VOTERS_MAX: usize = 7;
