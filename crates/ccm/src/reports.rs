//! What clients report: discovery, inventory, states, status.

use crate::Fault;
use crate::xml::{find, parse, text_of};

/// What a report is about, by the GUID of its action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportKind {
    /// Hardware inventory.
    Hardware,
    /// Software inventory.
    Software,
    /// Heartbeat discovery.
    Discovery,
    /// Collected files.
    Files,
    /// Anything else: states, status, IDMIF.
    Other,
}

/// What of a report is read here. The rest is kept as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What it is about.
    pub kind: ReportKind,
    /// Who reports, as the body says; the envelope's signature says whether it is true.
    pub client_id: String,
    /// The version of the client.
    pub client_version: String,
    /// The name of the device.
    pub name: String,
}

/// Reads the body of a message to `MP_DdrEndpoint`, `MP_HinvEndpoint`, `MP_SinvEndpoint` and the like.
pub fn report(body: &str) -> Result<Report, Fault> {
    let document = parse(body)?;
    let root = document.root();
    let text = |name: &str| text_of(root, name).unwrap_or_default().to_owned();
    let action = find(root, "InventoryActionID").and_then(|node| node.text()).unwrap_or_default().to_ascii_lowercase();
    let kind = match action.trim_matches(['{', '}', ' ', '\r', '\n']) {
        "00000000-0000-0000-0000-000000000001" => ReportKind::Hardware,
        "00000000-0000-0000-0000-000000000002" => ReportKind::Software,
        "00000000-0000-0000-0000-000000000003" => ReportKind::Discovery,
        "00000000-0000-0000-0000-000000000010" => ReportKind::Files,
        _ => ReportKind::Other,
    };
    let name = text("NetBIOSName");
    Ok(Report { kind, client_id: text("ClientID"), client_version: text("ClientVersion"), name })
}
