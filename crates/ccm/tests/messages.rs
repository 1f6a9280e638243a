//! Messages of the laboratory's fake client, written after what open clients send: read, verified, changed, cut off, made too large.

use cmg_ccm::{
    AssignedPolicy, AssignmentsRequest, ClientKey, Envelope, Fault, RegistrationRequest, ReportKind, assignments_reply, client_token,
    no_reply, reply, report,
};
use cmg_lab::FakeCcmClient;
use proptest::prelude::*;

const ID: &str = "GUID:5B1A0C3E-0000-4000-8000-0123456789AB";

fn client() -> FakeCcmClient {
    let mut client = FakeCcmClient::new().expect("a client");
    client.id = ID.to_owned();
    client
}

fn key(client: &FakeCcmClient) -> ClientKey {
    ClientKey::of_certificate(&client.certificate).expect("an RSA key")
}

fn asked(client: &FakeCcmClient, body: &str) -> Envelope {
    let message = client.signed("MP_PolicyManager", "Sync", body).expect("a message");
    Envelope::read(&message.content_type, &message.body).expect("an envelope")
}

const REQUEST: &str = "<RequestAssignments SchemaVersion=\"1.00\" ACK=\"false\" RequestType=\"Always\"><Identification><Machine><ClientID>\
GUID:5B1A0C3E-0000-4000-8000-0123456789AB</ClientID></Machine><User /></Identification><PolicySource>SMS:P01</PolicySource>\
<Resource ResourceType=\"Machine\" /><ServerCookie /></RequestAssignments>";

#[test]
fn a_registration_brings_the_certificate_whose_key_has_signed_it() {
    let client = FakeCcmClient::new().expect("a client");
    let message = client.registration("PC-1").expect("a message");

    let envelope = Envelope::read(&message.content_type, &message.body).expect("an envelope");
    let request = RegistrationRequest::read(&envelope.body).expect("a registration");

    assert_eq!((envelope.header.target_endpoint.as_str(), envelope.header.auth), ("MP_ClientRegistration", None));
    assert_eq!((request.name.as_str(), request.version.as_str()), ("PC-1", "5.00.9128.1007"));
    assert_eq!(request.signing_certificate, client.certificate);
}

#[test]
fn a_registration_with_a_letter_changed_is_refused() {
    let message = client().registration("PC-1").expect("a message");
    let body = Envelope::read(&message.content_type, &message.body).expect("an envelope").body;

    assert_eq!(RegistrationRequest::read(&body.replace("PC-1", "PC-2")), Err(Fault::Signature("SignatureValue")));
}

#[test]
fn a_signed_message_verifies_under_the_senders_key_and_no_other() {
    let (client, other) = (client(), client());
    let envelope = asked(&client, REQUEST);

    assert_eq!(envelope.verify(&key(&client)), Ok(()));
    assert_eq!(envelope.verify(&key(&other)), Err(Fault::Signature("PublicKey")));
    assert_eq!(AssignmentsRequest::read(&envelope.body).map(|request| request.client_id), Ok(ID.to_owned()));
}

#[test]
fn a_message_in_anothers_name_is_refused() {
    let mut client = client();
    let key = key(&client);
    let mut envelope = asked(&client, REQUEST);
    envelope.header.source_id = "GUID:00000000-0000-4000-8000-0123456789AB".to_owned();
    assert_eq!(envelope.verify(&key), Err(Fault::Signature("ClientIDSignature")));

    client.id = ID.to_ascii_lowercase();
    assert_eq!(asked(&client, REQUEST).verify(&key), Err(Fault::Signature("ClientIDSignature")), "what is signed has upper case");
}

#[test]
fn a_body_that_was_swapped_is_refused() {
    let client = client();
    let (one, two) = (asked(&client, REQUEST), asked(&client, "<RequestAssignments/>"));
    let mut swapped = one;
    swapped.header = two.header;

    assert_eq!(swapped.verify(&key(&client)), Err(Fault::Signature("PayloadSignature")));
}

#[test]
fn a_token_says_who_and_when() {
    let client = client();
    let (value, signature) = client.token("2026-01-02T03:04:05Z").expect("a token");

    assert_eq!(client_token(&key(&client), &value, &signature), Ok(()));
    assert_eq!(client_token(&key(&client), &value.replace("2026", "2027"), &signature), Err(Fault::Signature("ClientToken")));
}

#[test]
fn an_answer_has_two_parts_and_ends_with_one_nul() {
    let client = client();
    let header = asked(&client, REQUEST).header;
    let policies = [AssignedPolicy { id: "{p}".into(), version: "1.00".into(), category: "ClientSettings".into() }];

    let (kind, body) = reply(&header, "mp1", &assignments_reply("P01", ID, "1", &policies));

    assert!(kind.starts_with("multipart/mixed; boundary="));
    assert_eq!(body.windows(13).filter(|window| window.eq_ignore_ascii_case(b"content-type:")).count(), 2);
    let (_, nothing) = no_reply(&header, "mp1");
    assert_eq!(nothing.windows(13).filter(|window| window.eq_ignore_ascii_case(b"content-type:")).count(), 1);
    assert!(!nothing.is_empty());
}

#[test]
fn the_location_is_the_first_child_of_a_policy() {
    let policy = AssignedPolicy { id: "{p}".into(), version: "1.00".into(), category: "ClientSettings".into() };

    let text = assignments_reply("P01", ID, "", &[policy]);

    assert!(text.contains("PolicyFlags=\"2\"><PolicyLocation><![CDATA[http://<mp>/SMS_MP/.sms_pol?{p}.1.00]]>"), "{text}");
}

#[test]
fn a_bomb_is_refused() {
    let client = client();
    let message = client.signed("MP_HinvEndpoint", "ASync", &" ".repeat(8 << 20)).expect("a message");

    assert!(message.body.len() < 200_000);
    assert_eq!(Envelope::read(&message.content_type, &message.body), Err(Fault::TooLarge));
}

#[test]
fn a_report_says_what_it_is_about() {
    let body = "<Report><ReportHeader><Identification><Machine><ClientInstalled>1</ClientInstalled><ClientType>1</ClientType><ClientID>GUID:A</ClientID>\
                <ClientVersion>5.0</ClientVersion><NetBIOSName>PC-1</NetBIOSName></Machine></Identification><ReportDetails><ReportContent>Inventory Data\
                </ReportContent></ReportDetails><InventoryAction ActionType=\"Predefined\"><InventoryActionID>{00000000-0000-0000-0000-000000000003}\
                </InventoryActionID></InventoryAction></ReportHeader><ReportBody/></Report>";

    let report = report(body).expect("a report");

    assert_eq!((report.kind, report.client_id.as_str(), report.name.as_str()), (ReportKind::Discovery, "GUID:A", "PC-1"));
}

proptest! {
    #[test]
    fn whatever_comes_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..2_000)) {
        let _ = Envelope::read("multipart/mixed; boundary=b", &[b"--b\r\n\r\n", bytes.as_slice(), b"\r\n--b\r\n\r\n", &bytes, b"\r\n--b--"].concat());
    }

    #[test]
    fn a_message_with_a_byte_changed_never_verifies_as_another(place in 0_usize..3_000, flip in 1_u8..) {
        let client = client_once();
        let mut message = client.signed("MP_PolicyManager", "Sync", REQUEST).expect("a message");
        let place = place % message.body.len();
        message.body[place] ^= flip;

        if let Ok(envelope) = Envelope::read(&message.content_type, &message.body)
            && envelope.verify(&key(client)).is_ok()
        {
            prop_assert_eq!(envelope.body, REQUEST);
        }
    }
}

/// One key for many cases: making one takes long.
fn client_once() -> &'static FakeCcmClient {
    static CLIENT: std::sync::OnceLock<FakeCcmClient> = std::sync::OnceLock::new();
    CLIENT.get_or_init(client)
}
