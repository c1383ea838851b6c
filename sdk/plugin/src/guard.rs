//! Nothing unwinds out of here.

use std::any::Any;
use std::cell::RefCell;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Once;

thread_local! {
    static LOCATION: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs `future` and gives the text of a panic instead of passing it on.
pub(crate) async fn guarded<T>(future: impl Future<Output = T>) -> Result<T, String> {
    let mut future = pin!(future);
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(poll) => poll.map(Ok),
        Err(payload) => std::task::Poll::Ready(Err(panic_text(payload))),
    })
    .await
}

/// Runs `call` and gives the text of a panic instead of passing it on.
pub(crate) fn guarded_call<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(call)).map_err(panic_text)
}

fn panic_text(payload: Box<dyn Any + Send>) -> String {
    let text = payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "panic without a text".to_owned());
    // A payload whose destructor panics must not get out either.
    std::mem::forget(payload);
    match LOCATION.with(RefCell::take) {
        Some(location) => format!("panic at {location}: {text}"),
        None => format!("panic: {text}"),
    }
}

/// Remembers where a panic of an instance's thread came from instead of printing it to the hub's stderr. Panics of
/// other threads are left to the hook that was there before.
pub(crate) fn install_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if crate::logging::is_instance_thread() {
                let location = info.location().map(ToString::to_string);
                LOCATION.with(|cell| {
                    if let Ok(mut cell) = cell.try_borrow_mut() {
                        *cell = location;
                    }
                });
            } else {
                previous(info);
            }
        }));
    });
}
