//! Accounts of administrators.

use crate::row::{Row, signed};
use crate::statement::statement;
use crate::view::reads;
use crate::{Change, Error, Hidden, View};

/// What an administrator sets of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountFields {
    /// The role.
    pub role: String,
    /// The hash of the password, if it signs in by one.
    pub password_hash: Option<Hidden<String>>,
    /// Provider, issuer and subject, if it signs in by OIDC. No two accounts have the same.
    pub oidc_subject: Option<String>,
    /// Whether it may not sign in.
    pub disabled: bool,
}

/// An account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// What was set.
    pub fields: AccountFields,
    /// 1 at first, one more with every change.
    pub version: u64,
    /// When it was made.
    pub created_at: i64,
    /// When it was changed last.
    pub changed_at: i64,
    /// When it signed in last.
    pub last_sign_in: Option<i64>,
}

impl Account {
    fn read(row: &Row) -> Result<Self, Error> {
        let fields = AccountFields {
            role: row.text("role")?,
            password_hash: row.maybe_text("password_hash")?.map(Hidden),
            oidc_subject: row.maybe_text("oidc_subject")?,
            disabled: row.flag("disabled")?,
        };
        Ok(Self {
            name: row.text("name")?,
            fields,
            version: row.count("version")?,
            created_at: row.time("created_at")?,
            changed_at: row.time("changed_at")?,
            last_sign_in: row.maybe_time("last_sign_in")?,
        })
    }
}

impl View {
    /// One account.
    ///
    /// # Errors
    ///
    /// As every read.
    pub async fn account(&mut self, name: &str) -> Result<Option<Account>, Error> {
        self.optional(statement("SELECT * FROM accounts WHERE name = $1").bind(name), Account::read).await
    }

    /// The account of an OIDC subject.
    ///
    /// # Errors
    ///
    /// As every read.
    pub async fn account_by_subject(&mut self, oidc_subject: &str) -> Result<Option<Account>, Error> {
        self.optional(statement("SELECT * FROM accounts WHERE oidc_subject = $1").bind(oidc_subject), Account::read).await
    }

    /// All accounts, by name.
    ///
    /// # Errors
    ///
    /// As every read.
    pub async fn accounts(&mut self) -> Result<Vec<Account>, Error> {
        self.all(statement("SELECT * FROM accounts ORDER BY name"), Account::read).await
    }

    /// How many accounts there are.
    ///
    /// # Errors
    ///
    /// As every read.
    pub async fn count_accounts(&mut self) -> Result<u64, Error> {
        self.number(statement("SELECT COUNT(*) AS count FROM accounts")).await
    }
}

reads! {
    account(name: &str) -> Option<Account>;
    account_by_subject(oidc_subject: &str) -> Option<Account>;
    accounts() -> Vec<Account>;
    count_accounts() -> u64;
}

impl Change {
    /// Adds an account of version 1.
    ///
    /// # Errors
    ///
    /// [`Error::Conflict`] if the name or the OIDC subject is taken.
    pub async fn add_account(&mut self, name: &str, fields: &AccountFields) -> Result<(), Error> {
        let now = self.now;
        let sql = "INSERT INTO accounts (name, role, password_hash, oidc_subject, disabled, version, created_at, changed_at) \
                   VALUES ($1, $2, $3, $4, $5, 1, $6, $6)";
        let insert = statement(sql)
            .bind(name)
            .bind(&*fields.role)
            .bind(fields.password_hash.as_ref().map(|hash| &*hash.0))
            .bind(fields.oidc_subject.as_deref())
            .bind(i64::from(fields.disabled))
            .bind(now);
        self.must(insert).await
    }

    /// Replaces what was set of an account and returns its new version.
    ///
    /// # Errors
    ///
    /// [`Error::Stale`] if it does not have version `expected`, [`Error::NotFound`], [`Error::Conflict`] if the OIDC subject is taken.
    pub async fn replace_account(&mut self, name: &str, fields: &AccountFields, expected: u64) -> Result<u64, Error> {
        self.expect_account(name, Some(expected)).await?;
        let (now, version) = (self.now, expected + 1);
        let sql = "UPDATE accounts SET role = $2, password_hash = $3, oidc_subject = $4, disabled = $5, version = $6, changed_at = $7 \
                   WHERE name = $1";
        let update = statement(sql)
            .bind(name)
            .bind(&*fields.role)
            .bind(fields.password_hash.as_ref().map(|hash| &*hash.0))
            .bind(fields.oidc_subject.as_deref())
            .bind(i64::from(fields.disabled))
            .bind(signed(version))
            .bind(now);
        self.must(update).await?;
        Ok(version)
    }

    /// Removes an account with its sessions and API tokens; any version where none is expected.
    ///
    /// # Errors
    ///
    /// [`Error::Stale`] if it does not have version `expected`, [`Error::NotFound`].
    pub async fn remove_account(&mut self, name: &str, expected: Option<u64>) -> Result<(), Error> {
        self.expect_account(name, expected).await?;
        self.must(statement("DELETE FROM accounts WHERE name = $1").bind(name)).await
    }

    /// Notes that it signed in. That is no new version.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`].
    pub async fn note_sign_in(&mut self, name: &str) -> Result<(), Error> {
        let now = self.now;
        self.must(statement("UPDATE accounts SET last_sign_in = $2 WHERE name = $1").bind(name).bind(now)).await
    }

    async fn expect_account(&mut self, name: &str, expected: Option<u64>) -> Result<(), Error> {
        let present = self.number(statement("SELECT version AS count FROM accounts WHERE name = $1").bind(name)).await?;
        match expected {
            Some(expected) if expected != present => Err(Error::Stale { present }),
            _ => Ok(()),
        }
    }
}
