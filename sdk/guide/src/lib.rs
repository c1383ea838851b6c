//! The guide for plugin authors, a module for each chapter.
//!
//! Its code is compiled: what is Rust with the documentation tests of this crate, what is C by `tests/blocks.rs`. The
//! commands of [`start`] are those that the tests of `twinhub plugin new` run.
//!
//! 1. [`start`]: from an empty folder to a loaded plugin and a green kit
//! 2. [`lifecycle`]: what the hub calls, and when
//! 3. [`redundancy`]: roles, epochs, permits, acceptance, state
//! 4. [`inactive`]: what a plugin does while another node acts
//! 5. [`items`]: settings, items, values, quality, time
//! 6. [`modules`]: values of other interfaces, each dealt with once
//! 7. [`events`]: messages to other interfaces
//! 8. [`testing`]: the kit, simulators, takeovers
//! 9. [`versions`]: what stays as it is
//! 10. [`device`]: a whole plugin in Rust for a device on the network
//! 11. [`c`]: a whole plugin in C
#![warn(missing_docs)]

/// Where the links between chapters lead here; in the files they lead from file to file.
macro_rules! links {
    () => {
        "[start]: crate::start\n\
         [lifecycle]: crate::lifecycle\n\
         [redundancy]: crate::redundancy\n\
         [inactive]: crate::inactive\n\
         [items]: crate::items\n\
         [modules]: crate::modules\n\
         [testing]: crate::testing\n\
         [events]: crate::events\n\
         [versions]: crate::versions\n\
         [device]: crate::device\n\
         [c]: crate::c\n"
    };
}

#[doc = links!()]
#[doc = include_str!("../chapters/start.md")]
#[expect(
    clippy::test_attr_in_doctest,
    reason = "it is a whole project's source, which runs in the tests of `plugin new`"
)]
pub mod start {}

#[doc = links!()]
#[doc = include_str!("../chapters/lifecycle.md")]
pub mod lifecycle {}

#[doc = links!()]
#[doc = include_str!("../chapters/redundancy.md")]
pub mod redundancy {}

#[doc = links!()]
#[doc = include_str!("../chapters/inactive.md")]
pub mod inactive {}

#[doc = links!()]
#[doc = include_str!("../chapters/items.md")]
pub mod items {}

#[doc = links!()]
#[doc = include_str!("../chapters/modules.md")]
pub mod modules {}

#[doc = links!()]
#[doc = include_str!("../chapters/testing.md")]
pub mod testing {}

#[doc = links!()]
#[doc = include_str!("../chapters/events.md")]
pub mod events {}

#[doc = links!()]
#[doc = include_str!("../chapters/versions.md")]
pub mod versions {}

#[doc = links!()]
#[doc = include_str!("../chapters/device.md")]
#[expect(
    clippy::test_attr_in_doctest,
    reason = "it is a whole project's source, which runs in the tests of `plugin new`"
)]
pub mod device {}

#[doc = links!()]
#[doc = include_str!("../chapters/c.md")]
pub mod c {}
