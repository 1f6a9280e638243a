//! Turns: a task that moves bulk lets others go first after a while.
use std::future::Future;
use std::pin::pin;
use std::task::Context;

/// Ends the task's turn: it is polled again once the runtime has looked at the sockets and run what is ready.
///
/// A waker of its own would queue it behind the other tasks only, and with a few bodies under way nobody looked at the sockets for
/// dozens of turns, while a small request beside them waited.
pub fn end_turn(cx: &mut Context<'_>) {
    let _ = pin!(tokio::task::yield_now()).poll(cx);
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    #[tokio::test]
    async fn sockets_are_looked_at_between_two_turns() -> std::io::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let speaker = TcpStream::connect(listener.local_addr()?).await?;
        let (hearer, _) = listener.accept().await?;
        let heard = tokio::spawn(async move { hearer.peek(&mut [0]).await });
        tokio::task::yield_now().await;

        // In a task: the runtime polls what it blocks on more often.
        let turns = tokio::spawn(async move {
            let mut turns = 0;
            std::future::poll_fn(|cx| {
                if heard.is_finished() {
                    return Poll::Ready(turns);
                }
                if turns == 0 {
                    assert_eq!(speaker.try_write(b"x").ok(), Some(1));
                }
                turns += 1;
                end_turn(cx);
                Poll::Pending
            })
            .await
        })
        .await?;

        assert!(turns < 10, "{turns} turns before anybody heard");
        Ok(())
    }
}
