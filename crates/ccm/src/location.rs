//! Where things are: the answers to `.sms_aut`, and to `MP_LocationManager`.

use std::fmt::Write;

use crate::xml::{escaped, hex};

/// A management point, as clients list it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManagementPointRecord {
    /// Its name.
    pub name: String,
    /// Its host name, or an external address such as `cmg.example.com/CCM_Proxy_MutualAuth/72057594037927939`.
    pub host: String,
}

/// The answer to `MPLIST`, `MPLIST1` and `MPLIST2`: all of them are asked over HTTPS.
pub fn management_point_list(points: &[ManagementPointRecord]) -> String {
    let mut out = "<MPList>".to_owned();
    for point in points {
        // Writing into a String cannot fail.
        let _ = write!(
            out,
            "<MP Name=\"{}\" FQDN=\"{}\"><Version>9000</Version><Capabilities SchemaVersion=\"1.0\"><Property Name=\"SSLState\" Value=\"63\"/>\
             </Capabilities></MP>",
            escaped(&point.name),
            escaped(&point.host),
        );
    }
    out.push_str("</MPList>");
    out
}

/// The answer to `MPCERT` and `SITESIGNCERT`.
pub fn certificate_answer(der: &[u8]) -> String {
    format!("<X509Certificate Signature=\"\">{}</X509Certificate>", hex(der))
}

/// The answer to `SiteInformationRequest`.
pub fn site_information(site: &str) -> String {
    format!(
        "<SiteInfoReply SchemaVersion=\"1.00\"><SiteCode>{}</SiteCode><Capabilities SchemaVersion=\"1.0\"><Property Name=\"SSL\" Version=\"1\"/></Capabilities></SiteInfoReply>",
        escaped(site)
    )
}
