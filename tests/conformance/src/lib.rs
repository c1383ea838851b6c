//! Measured failover of real processes against real peers, per interface.
//!
//! A [`Stage`] is a whole site on one machine: witness and nodes as processes of the real executable with the real
//! plugin libraries, a Modbus device and an MQTT broker, and between every node and every peer a tap that writes down
//! what passes. A [`Scenario`] is done to it; [`Figures`] are what an outsider saw: how long nothing came, what was
//! lost or came twice, whether two nodes wrote, what an inactive node sent. The demo, the conformance tests, the
//! recorded runs behind the matrix and the benchmarks all use the same stage.

mod artifacts;
mod bench;
mod cluster;
mod error;
mod evidence;
mod field;
mod figures;
mod gateway;
mod load;
mod node_red;
mod profile;
mod record;
mod repeats;
mod rest;
mod scenario;
mod site;
mod stage;
mod story;
mod table;
mod tapped;
mod traffic;
mod turn;
mod usage;

pub use artifacts::Artifacts;
pub use bench::{CatchUpOptions, bench_catch_up};
pub use bench::{FlatOutOptions, bench_flat_out};
pub use bench::{ReplicationOptions, bench_replication};
pub use bench::{StandbyOptions, bench_standby};
pub use bench::{StartOptions, bench_start};
pub use bench::{TakeoverOptions, bench_takeover};
pub use bench::{WriteOptions, bench_write};
pub use cluster::{Cluster, Roles};
pub use error::{Error, Result};
pub use evidence::{Act, Effect, Evidence};
pub use field::{DeviceKind, Field};
pub use figures::{Commands, Figures, Side, Window};
pub use gateway::{GatewayOptions, bench_gateway};
pub use profile::Profile;
pub use record::{Recorder, RunOptions, run_conformance};
pub use repeats::{RepeatOptions, run_repeats};
pub use rest::{ClusterStatus, GroupStatus, NodeStatus, Rest};
pub use scenario::{Outcome, Scenario, Scene};
pub use site::SitePlan;
pub use stage::{Stage, StageOptions, Varied};
pub use story::{StoryOptions, run_story};
pub use table::{milliseconds, percentile, table};
pub use tapped::{Part, PartFigures, Subject, TappedFigures, TappedRecorder, TappedStage, run_tapped};
pub use traffic::Traffic;
pub use turn::check;
