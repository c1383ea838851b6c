//! The words a manifest chooses from.

use serde::{Deserialize, Serialize};

macro_rules! words {
    ($($(#[$meta:meta])* $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $word:literal),+ $(,)? })+) => {
        $(
            $(#[$meta])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
            pub enum $name {
                $($(#[$variant_meta])* #[serde(rename = $word)] $variant,)+
            }

            impl $name {
                /// All of them.
                pub const ALL: &'static [Self] = &[$(Self::$variant),+];

                /// As written in the manifest.
                pub const fn as_str(self) -> &'static str {
                    match self { $(Self::$variant => $word,)+ }
                }
            }

            impl std::fmt::Display for $name {
                fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.pad(self.as_str())
                }
            }
        )+
    };
}

macro_rules! default_word {
    ($($name:ident :: $variant:ident),+ $(,)?) => {
        $(impl Default for $name {
            fn default() -> Self {
                Self::$variant
            }
        })+
    };
}

words! {
    /// What a plugin is.
    Kind {
        /// Connects to the outside.
        Interface = "interface",
        /// Works on values inside the hub.
        Module = "module",
    }
    /// Whether a plugin can run on a main and a backup.
    Possible {
        /// Yes.
        Yes = "yes",
        /// With limits that `why` names.
        Limited = "limited",
        /// No.
        No = "no",
        /// Nobody has tried.
        Untested = "untested",
        /// The vendor of the other side limits it.
        VendorLimited = "vendor-limited",
    }
    /// What an instance is while standby.
    Mode {
        /// Nothing is open.
        Cold = "cold",
        /// The session is open, without traffic.
        Warm = "warm",
        /// Inputs run, outputs are silent.
        Hot = "hot",
    }
    /// What two nodes cannot hold at once.
    Exclusive {
        /// The device accepts one session.
        DeviceSession = "device-session",
        /// A serial port.
        SerialPort = "serial-port",
        /// An address others connect to.
        ListenAddress = "listen-address",
        /// A seat of a licence.
        LicenseSeat = "license-seat",
        /// An identity on the network.
        DeviceId = "device-id",
    }
    /// Reading while not active.
    Reads {
        /// Nothing is read.
        None = "none",
        /// The device is polled.
        Poll = "poll",
        /// Subscriptions run.
        Subscribe = "subscribe",
    }
    /// Values while not active.
    Publish {
        /// There are none.
        Drop = "drop",
        /// They go into the ring that covers a takeover.
        Shadow = "shadow",
        /// They are published, tagged as standby.
        Tagged = "tagged",
    }
    /// Writes from the hub while not active.
    Writes {
        /// Refused.
        Reject = "reject",
        /// Kept until active.
        Queue = "queue",
        /// Sent to the active node.
        ForwardToActive = "forward-to-active",
    }
    /// What a plugin would send by itself while not active.
    Outputs {
        /// Not sent, counted.
        Suppress = "suppress",
        /// Kept until active.
        Queue = "queue",
    }
    /// Events that arrive while not active.
    EventsIn {
        /// Dropped.
        Drop = "drop",
        /// Kept until active.
        Hold = "hold",
        /// Sent to the active node.
        Forward = "forward",
    }
    /// Ports others connect to, while not active.
    Listeners {
        /// Closed.
        Closed = "closed",
        /// Open, and every request is refused.
        Refuse = "refuse",
        /// Open.
        Accept = "accept",
    }
    /// Items while not active.
    Items {
        /// They stay.
        Keep = "keep",
        /// They are dropped.
        Drop = "drop",
    }
    /// State that moves to the other node.
    State {
        /// None.
        None = "none",
        /// A snapshot.
        Snapshot = "snapshot",
        /// A snapshot and changes.
        SnapshotDelta = "snapshot+delta",
    }
    /// What the writes to a plugin are.
    Delivery {
        /// Each write is an intent with a result of its own.
        Command = "command",
        /// Writes are a stream with a delivery cursor: after a takeover it goes on where the answers ended.
        Stream = "stream",
    }
    /// What keeps a node that lost its lease from acting on the device.
    Fence {
        /// The other side compares the epoch.
        Token = "token",
        /// The other side ends the old link when the new one comes.
        Exclusive = "exclusive",
        /// Time: nothing is in flight longer than `in_flight_max_ms`.
        Bounded = "bounded",
        /// Nothing.
        None = "none",
    }
    /// How inputs that arrived during a takeover are recovered.
    Recovery {
        /// The session moves to the new node.
        Transfer = "transfer",
        /// The current picture is read again.
        Resync = "resync",
        /// Not at all.
        None = "none",
    }
    /// When an input is acknowledged to its sender.
    AckAfter {
        /// The protocol has no acknowledgement.
        None = "none",
        /// When it is stored on this node.
        Local = "local",
        /// When it is stored on the peer.
        Peer = "peer",
    }
    /// What a plugin does on a node that became active without a majority.
    OnUnquorate {
        /// Everything.
        Run = "run",
        /// It reads and does not act.
        ReadOnly = "read_only",
        /// Nothing.
        Off = "off",
    }
    /// When the gate of a plugin opens, relative to others.
    Order {
        /// First: devices.
        Field = "field",
        /// Logic.
        Logic = "logic",
        /// Schedules.
        Schedule = "schedules",
        /// Metering.
        Metering = "metering",
        /// Last: what reaches people.
        Messenger = "messenger",
    }
    /// Where a plugin runs.
    Hosting {
        /// In the hub's process.
        Inproc = "inproc",
        /// In a process of its own.
        Isolated = "isolated",
    }
    /// What a sandbox has to leave open.
    Need {
        /// TCP or UDP to hosts named in the configuration.
        Network = "network",
        /// A serial port.
        Serial = "serial",
        /// Multicast.
        Multicast = "multicast",
        /// Raw sockets.
        RawSocket = "raw-socket",
        /// Name resolution.
        Dns = "dns",
        /// Files named in the configuration.
        Files = "files",
    }
}

default_word! {
    EventsIn::Drop, Listeners::Closed, Items::Keep, Delivery::Command, AckAfter::None, OnUnquorate::Run, Order::Field,
}
