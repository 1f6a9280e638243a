//! Where connection points reach the site servers. It stands in the file of each site server and, so that all of them publish the same,
//! in the database: the file of the one that started last counts.

use cmg_authority::VaultKey;

use super::change::{Actor, ChangeRefused};
use crate::site::Site;

/// Under which name the addresses are kept.
const PLACE: &str = "site/control-urls";

/// Keeps the addresses of a site that is founded.
pub(crate) async fn found(urls: &[String], vault: &VaultKey, change: &mut cmg_store::Change) -> Result<(), ChangeRefused> {
    let sealed = vault.seal(PLACE, urls.join("\n").as_bytes()).map_err(|error| ChangeRefused::Failed(Box::new(error)))?;
    Ok(change.put_secret(PLACE, &sealed).await?)
}

/// The addresses; none: no site server has told them yet.
pub(crate) async fn read(view: &mut cmg_store::View, vault: &VaultKey) -> Result<Vec<String>, cmg_store::Error> {
    let sealed = view.secret(PLACE).await?;
    let opened = sealed.and_then(|sealed| vault.open(PLACE, &sealed).ok());
    let text = opened.map(|text| String::from_utf8_lossy(text.expose()).into_owned()).unwrap_or_default();
    Ok(text.lines().map(str::to_owned).collect())
}

/// Publishes the addresses of this site server's file, if they are others than those that are published.
pub(crate) async fn publish(site: &Site) -> Result<(), ChangeRefused> {
    if site.in_force().ground.site_servers == site.control_urls {
        return Ok(());
    }
    let mut draft = site.draft(&Actor { account: format!("site-server/{}", site.name), ..Actor::default() }).await?;
    found(&site.control_urls, &site.keys().vault, &mut draft.change).await?;
    let before = std::mem::replace(&mut draft.ground.site_servers, site.control_urls.clone());
    let audited = |urls: &[String]| Some(serde_json::json!({ "control_urls": urls }).to_string());
    draft.record("set", "site-servers", &site.code, audited(&before), audited(&site.control_urls)).await?;
    draft.publish();
    draft.commit().await?;
    Ok(())
}
