//! Policy: which a client gets, and their bodies.

use std::fmt::Write;

use crate::xml::{attribute, escaped, find, parse, text_of};
use crate::{Fault, utf16};

/// What a message to `MP_PolicyManager` asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssignmentsRequest {
    /// Who asks, as the body says; the envelope's signature says whether it is true.
    pub client_id: String,
    /// `Full`, `OnUpdate` or `Always`.
    pub kind: String,
    /// What the answer before had as its cookie.
    pub cookie: String,
}

impl AssignmentsRequest {
    /// Reads the body of the message.
    pub fn read(body: &str) -> Result<Self, Fault> {
        let document = parse(body)?;
        let request = find(document.root(), "RequestAssignments").ok_or(Fault::Missing("RequestAssignments"))?;
        let text = |name: &str| text_of(request, name).unwrap_or_default().to_owned();
        Ok(Self {
            client_id: text("ClientID"),
            kind: attribute(request, "RequestType").unwrap_or("Full").to_owned(),
            cookie: text("ServerCookie"),
        })
    }
}

/// A policy that is assigned to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssignedPolicy {
    /// Its id, such as `{5b1a...}`.
    pub id: String,
    /// Its version, such as `1.00`.
    pub version: String,
    /// Its category, such as `ClientSettings`.
    pub category: String,
}

impl AssignedPolicy {
    /// What stands behind `.sms_pol?` where its body is fetched.
    pub fn query(&self) -> String {
        format!("{}.{}", self.id, self.version)
    }
}

/// The answer to [`AssignmentsRequest`]. Clients put their own management point in the place of `<mp>`.
pub fn assignments_reply(site: &str, client_id: &str, cookie: &str, policies: &[AssignedPolicy]) -> String {
    let mut out = format!(
        "<ReplyAssignments SchemaVersion=\"1.00\" ReplyType=\"Full\"><Identification><Machine><ClientID>{client}</ClientID></Machine></Identification>\
         <PolicySource>SMS:{site}</PolicySource><Resource ResourceType=\"Machine\"/><ServerCookie>{cookie}</ServerCookie>",
        client = escaped(client_id),
        site = escaped(site),
        cookie = escaped(cookie),
    );
    for policy in policies {
        let (id, version, category) = (escaped(&policy.id), escaped(&policy.version), escaped(&policy.category));
        // The location comes first: clients look for it there. Writing into a String cannot fail.
        let _ = write!(
            out,
            "<PolicyAssignment PolicyAssignmentID=\"{id}\"><Policy PolicyID=\"{id}\" PolicyVersion=\"{version}\" PolicyType=\"Machine\" \
             PolicyCategory=\"{category}\" PolicyFlags=\"2\"><PolicyLocation><![CDATA[http://<mp>/SMS_MP/.sms_pol?{query}]]></PolicyLocation></Policy>\
             </PolicyAssignment>",
            query = policy.query().replace("]]>", ""),
        );
    }
    out.push_str("</ReplyAssignments>");
    out
}

/// The body of a policy: UTF-16 with a mark. `properties` are those of one instance of `class`.
pub fn policy_body(policy: &AssignedPolicy, class: &str, properties: &[(&str, &str)]) -> Vec<u8> {
    let mut out = format!(
        "<Policy PolicyID=\"{}\" PolicyVersion=\"{}\"><PolicyRule PolicyRuleID=\"{0}\"><PolicyAction PolicyActionType=\"WMI-XML\"><instance class=\"{}\">",
        escaped(&policy.id),
        escaped(&policy.version),
        escaped(class),
    );
    for (name, value) in properties {
        let _ = write!(out, "<property name=\"{}\" type=\"8\"><value>{}</value></property>", escaped(name), escaped(value));
    }
    out.push_str("</instance></PolicyAction></PolicyRule></Policy>");
    utf16::with_mark(&out)
}
