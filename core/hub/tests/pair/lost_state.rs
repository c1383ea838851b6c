//! Nodes whose state directory is gone: another disk, or a machine in the place of one that broke.

use super::site::Pair;

/// The main knows the processes of the life before, and what it took from the last of them.
#[test]
fn a_backup_whose_state_is_gone_is_in_sync_again_at_once() {
    let mut pair = Pair::start();
    let is_protected = |pair: &Pair| pair.json("main", &["status"])["groups"][0]["protected"] == true;
    pair.wait("protected", is_protected);
    for _ in 0..2 {
        pair.stop("backup");
        pair.wait("not protected", |pair| !is_protected(pair));
        pair.restart("backup");
        pair.wait("protected after a restart", is_protected);
    }
    pair.stop("backup");
    pair.wait("not protected", |pair| !is_protected(pair));
    std::fs::remove_dir_all(pair.dir.path().join("var/lib/twinhub/backup")).unwrap();
    pair.restart("backup");
    pair.wait("protected by a backup without its state", is_protected);
    // The witness has promised to processes of the life before, too.
    pair.kill("main");
    pair.wait("backup active", |pair| pair.state("backup") == "active");
}
