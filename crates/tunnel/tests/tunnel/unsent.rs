//! Requests that provably never left the gateway: the only ones that may go another way whatever they do.

use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};

use cmg_tunnel::{BodyLength, Event, Exchange};

use crate::support::{Gate, Site, Wire, frame, kind, response, soon};

/// Opens an exchange in the moment in which it is woken.
struct OpensWhenWoken {
    gate: Gate,
    opened: Mutex<Option<Exchange>>,
}

impl OpensWhenWoken {
    fn open(&self) -> Exchange {
        self.gate.open("/", BodyLength::None, b"", true).unwrap()
    }
}

impl Wake for OpensWhenWoken {
    fn wake(self: Arc<Self>) {
        self.opened.lock().unwrap().get_or_insert_with(|| self.open());
    }
}

#[tokio::test]
async fn a_request_whose_session_ended_before_it_left_is_told_so() {
    let site = Site::new();
    let gate = Gate::start(&site).await;
    let mut wire = Wire::session(gate.address, site.point("point-1"), 1).await;
    gate.has(1).await;
    let opener = Arc::new(OpensWhenWoken { gate, opened: Mutex::default() });
    let mut first = opener.open();
    let number = wire.expect(kind::REQUEST).await.exchange;
    let waker = Waker::from(Arc::clone(&opener));
    assert!(first.poll_event(&mut Context::from_waker(&waker)).is_pending());

    // The session's owner reads both frames at once: it wakes the first exchange, then ends over the frame that there is not.
    let frames = [frame(kind::RESPONSE, number, &response(200, &[])), frame(99, number, b"")].concat();
    wire.send_bytes(&frames).await.unwrap();
    opener.gate.has(0).await;

    let mut second = opener.opened.lock().unwrap().take().expect("it was opened in between");
    assert!(matches!(soon(second.event()).await, Event::NotSent));
    assert!(matches!(soon(first.event()).await, Event::Response(_)));
    assert!(matches!(soon(first.event()).await, Event::Lost), "what was sent may have been acted on");
}
