//! Devices: registered clients as administrators see them, with what they said last and whether they are online.

use crate::row::Row;
use crate::statement::{Select, containing, statement, text};
use crate::view::reads;
use crate::{Change, Client, ClientState, Error, View};

/// A client with what is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// The client.
    pub client: Client,
    /// What it said last of itself: JSON.
    pub heartbeat: Option<String>,
    /// When.
    pub heartbeat_at: Option<i64>,
    /// When its latest inventory came.
    pub inventory_at: Option<i64>,
    /// How large that is, in bytes.
    pub inventory_size: Option<u64>,
    /// Where it is online.
    pub online: Option<Online>,
}

/// Where a device is online.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Online {
    /// At which management point.
    pub management_point: String,
    /// Through what: `intranet`, `cmg/NAME` or `ibcm/NAME`.
    pub through: String,
    /// Since when.
    pub since: i64,
}

/// Which devices. Absent is any.
#[derive(Clone, Copy, Debug, Default)]
pub struct DeviceFilter<'a> {
    /// In this state.
    pub state: Option<ClientState>,
    /// Whose name, identity or id contains this, in either case.
    pub search: Option<&'a str>,
    /// Whose identity is of this kind, the word before the first `/`.
    pub identity_kind: Option<&'a str>,
    /// Whether online.
    pub online: Option<bool>,
    /// Online through this: `intranet`, `cmg`, `ibcm`, `cmg/NAME` or `ibcm/NAME`.
    pub through: Option<&'a str>,
}

const DEVICES: &str = "SELECT clients.*, heartbeat, heartbeat_at, inventory_at, inventory_size, management_point, through, since \
                       FROM clients LEFT JOIN devices ON devices.client = clients.id LEFT JOIN presence ON presence.client = clients.id ";

impl Device {
    fn read(row: &Row) -> Result<Self, Error> {
        let online = match row.maybe_text("management_point")? {
            Some(management_point) => Some(Online { management_point, through: row.text("through")?, since: row.time("since")? }),
            None => None,
        };
        Ok(Self {
            client: Client::read(row)?,
            heartbeat: row.maybe_text("heartbeat")?,
            heartbeat_at: row.maybe_time("heartbeat_at")?,
            inventory_at: row.maybe_time("inventory_at")?,
            inventory_size: row.maybe_count("inventory_size")?,
            online,
        })
    }
}

impl View {
    /// One device.
    ///
    /// # Errors
    ///
    /// As every read.
    pub async fn device(&mut self, id: &str) -> Result<Option<Device>, Error> {
        let select = Select::new(DEVICES).plus("WHERE true").and("clients.id = $", Some(text(id)));
        self.optional(select.statement(), Device::read).await
    }

    /// A page by id, after one. The page is found in indexes; only its rows are read whole.
    ///
    /// # Errors
    ///
    /// As every read.
    pub async fn device_page(&mut self, filter: DeviceFilter<'_>, after: Option<&str>, limit: u32) -> Result<Vec<Device>, Error> {
        let ids = Select::new(DEVICES)
            .plus("WHERE clients.id IN (SELECT id FROM clients WHERE true")
            .and("state = $", filter.state.map(|state| text(state.word())))
            .and("search LIKE $ ESCAPE '!'", filter.search.map(|part| containing(&part.to_lowercase())))
            .and("identity >= $", filter.identity_kind.map(|kind| text(&format!("{kind}/"))))
            .and("identity < $", filter.identity_kind.map(|kind| text(&format!("{kind}0")))) // `0` follows `/`
            .plus(match filter.online {
                Some(true) => " AND id IN (SELECT client FROM presence)",
                Some(false) => " AND id NOT IN (SELECT client FROM presence)",
                None => "",
            });
        let ids = match filter.through {
            Some(through) if through == "intranet" || through.contains('/') => {
                ids.and("id IN (SELECT client FROM presence WHERE through = $)", Some(text(through)))
            }
            Some(kind) => ids
                .and("id IN (SELECT client FROM presence WHERE through >= $", Some(text(&format!("{kind}/"))))
                .and("through < $)", Some(text(&format!("{kind}0")))),
            None => ids,
        };
        let page = ids.and("id > $", after.map(text)).order("id", limit).plus(") ORDER BY clients.id");
        self.all(page.statement(), Device::read).await
    }

    /// How many devices are online.
    ///
    /// # Errors
    ///
    /// As every read.
    pub async fn count_online(&mut self) -> Result<u64, Error> {
        self.number(statement("SELECT COUNT(*) AS count FROM presence")).await
    }

    /// Ids of other clients of this name, at most ten.
    ///
    /// # Errors
    ///
    /// As every read.
    pub async fn namesakes(&mut self, name: &str, id: &str) -> Result<Vec<String>, Error> {
        let select = statement("SELECT id FROM clients WHERE name = $1 AND id <> $2 ORDER BY id LIMIT 10").bind(name).bind(id);
        self.all(select, |row| row.text("id")).await
    }

    /// The latest inventory of a device: JSON.
    ///
    /// # Errors
    ///
    /// As every read.
    pub async fn inventory(&mut self, id: &str) -> Result<Option<String>, Error> {
        self.optional(statement("SELECT body FROM inventories WHERE client = $1").bind(id), |row| row.text("body")).await
    }
}

reads! {
    device(id: &str) -> Option<Device>;
    device_page(filter: DeviceFilter<'_>, after: Option<&str>, limit: u32) -> Vec<Device>;
    count_online() -> u64;
    namesakes(name: &str, id: &str) -> Vec<String>;
    inventory(id: &str) -> Option<String>;
}

impl Change {
    /// Keeps what a device says of itself, unless what is there came later.
    ///
    /// # Errors
    ///
    /// As every write.
    pub async fn put_heartbeat(&mut self, client: &str, received_at: i64, heartbeat: &str) -> Result<(), Error> {
        let sql = "INSERT INTO devices (client, heartbeat, heartbeat_at) VALUES ($1, $2, $3) ON CONFLICT (client) DO UPDATE \
                   SET heartbeat = excluded.heartbeat, heartbeat_at = excluded.heartbeat_at \
                   WHERE devices.heartbeat_at IS NULL OR devices.heartbeat_at <= excluded.heartbeat_at";
        self.run(statement(sql).bind(client).bind(heartbeat).bind(received_at)).await.map(drop)
    }

    /// Keeps the inventory of a device, unless what is there came later.
    ///
    /// # Errors
    ///
    /// As every write.
    pub async fn put_inventory(&mut self, client: &str, received_at: i64, body: &str) -> Result<(), Error> {
        let sql = "INSERT INTO devices (client, inventory_at, inventory_size) VALUES ($1, $2, $3) ON CONFLICT (client) DO UPDATE \
                   SET inventory_at = excluded.inventory_at, inventory_size = excluded.inventory_size \
                   WHERE devices.inventory_at IS NULL OR devices.inventory_at <= excluded.inventory_at";
        let size = i64::try_from(body.len()).unwrap_or(i64::MAX);
        if self.run(statement(sql).bind(client).bind(received_at).bind(size)).await? == 0 {
            return Ok(());
        }
        let sql = "INSERT INTO inventories (client, body) VALUES ($1, $2) ON CONFLICT (client) DO UPDATE SET body = excluded.body";
        self.run(statement(sql).bind(client).bind(body)).await.map(drop)
    }
}
