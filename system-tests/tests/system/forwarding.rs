//! What goes through arrives as it was sent, both ways.

mod bodies;
mod connections;
mod expectations;
mod heads;
mod parked;
mod upgrades;

use std::sync::LazyLock;

use crate::support::Site;

/// One system for all of these tests, in the state in which the laboratory makes it.
static SITE: LazyLock<Site> = LazyLock::new(|| {
    let site = Site::start(|setup| {
        setup.endpoint("small", "body_limit = 1000");
        setup.endpoint("quiet", "upgrade = false");
        setup.endpoint("patient", "idle = \"1h\"\ntotal = \"0s\"");
    });
    site.shared()
});
