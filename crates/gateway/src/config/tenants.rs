//! `[[entra_tenant]]`: what devices of a tenant are told before they sign in.
use cmg_api::EntraTenantFile;
use cmg_core::entra::{Tenant, Tenants, is_guid};
use cmg_standalone::Reading;

/// The longest value, in bytes.
const LONGEST: usize = 256;

pub(super) fn read(files: &[EntraTenantFile], reading: &mut Reading) -> Tenants {
    let mut tenants = Tenants::default();
    for (place, file) in files.iter().enumerate() {
        let key = |name: &str| format!("entra_tenant[{place}].{name}");
        if !is_guid(&file.id) {
            let what = format!("\"{}\" is no id of a tenant", file.id);
            reading.problem(key("id"), what, "write the GUID of the tenant, such as 00000000-0000-0000-0000-000000000000");
        }
        for (name, value) in [("client_app_id", &file.client_app_id), ("resource_uri", &file.resource_uri)] {
            if !(1..=LONGEST).contains(&value.len()) || !value.bytes().all(|byte| byte.is_ascii_graphic()) {
                let what = "it is empty, too long, or has characters that do not belong there";
                reading.problem(key(name), what, format!("write 1 to {LONGEST} printable ASCII characters, as Entra ID shows it"));
            }
        }
        let tenant = Tenant { client_app_id: file.client_app_id.clone(), resource_uri: file.resource_uri.clone() };
        if !tenants.insert(&file.id, tenant) {
            reading.problem(key("id"), "the tenant stands twice", "write each tenant once");
        }
    }
    tenants
}
