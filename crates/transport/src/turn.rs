//! Turns: a task that moves bulk lets others go first after a while.
use std::future::Future;
use std::pin::pin;
use std::task::Context;

/// Ends the task's turn: it is polled again once the runtime has looked at the sockets and run what is ready.
///
/// A waker of its own would queue it behind the other tasks only, and with a few bodies under way nobody looked at the sockets for
/// dozens of turns: a small request beside them waited 10 ms at each step.
pub fn end_turn(cx: &mut Context<'_>) {
    let _ = pin!(tokio::task::yield_now()).poll(cx);
}
