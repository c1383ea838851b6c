//! The place of a thread in the scheduler.

use thread_priority::{
    RealtimeThreadSchedulePolicy, ThreadPriority, ThreadPriorityValue, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id,
};

/// Asks for a better place in the scheduler, so that a busy machine does not look like a dead one: the lowest
/// real-time place, or at least the best ordinary one. Not being given either is normal for an unprivileged
/// process.
pub(crate) fn prefer_this_thread() {
    let policy = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo);
    let place = ThreadPriorityValue::try_from(1).map(ThreadPriority::Crossplatform);
    let real_time = place.and_then(|place| {
        set_thread_priority_and_policy(thread_native_id(), place, policy).map_err(|error| error.to_string())
    });
    let Err(why) = real_time else {
        tracing::debug!("this thread runs with real-time priority");
        return;
    };
    match rustix::process::setpriority_process(None, -20) {
        Ok(()) => tracing::debug!(why, "this thread runs with high priority, not in real time"),
        Err(error) => tracing::debug!(why, %error, "this thread runs at normal priority"),
    }
}
