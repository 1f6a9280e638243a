//! Members: gateway instances and connection points, with their enrolment codes and certificates.

use crate::row::Row;
use crate::statement::{Select, statement, text};
use crate::view::reads;
use crate::{Change, Error, Hidden, View};

/// A gateway instance or connection point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its role, such as `gateway`.
    pub kind: String,
    /// Its name, unique within its kind.
    pub name: String,
    /// `invited` until it has a certificate, then `enrolled`, or what [`Change::set_member_state`] was told.
    pub state: String,
    /// The secret of an enrolment code that is not spent, as the caller stores it.
    pub code_secret: Option<Hidden<Vec<u8>>>,
    /// When that code ends.
    pub code_ends: Option<i64>,
    /// How often a wrong code was tried since that one was offered.
    pub code_tries: u64,
    /// The serial number of its certificate.
    pub serial: Option<String>,
    /// When that certificate ends.
    pub certificate_ends: Option<i64>,
    /// The public key to which what is for it alone is sealed.
    pub sealing_key: Option<Vec<u8>>,
    /// When it got its first certificate.
    pub enrolled_at: Option<i64>,
    /// When it got its latest one, if that is not the first.
    pub renewed_at: Option<i64>,
}

/// What a member was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberCertificate {
    /// The serial number.
    pub serial: String,
    /// When it ends.
    pub ends: i64,
    /// The member's sealing key; `None` keeps the one that is known.
    pub sealing_key: Option<Vec<u8>>,
}

impl Member {
    fn read(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            kind: row.text("kind")?,
            name: row.text("name")?,
            state: row.text("state")?,
            code_secret: row.maybe_bytes("code_secret")?.map(Hidden),
            code_ends: row.maybe_time("code_ends")?,
            code_tries: row.count("code_tries")?,
            serial: row.maybe_text("serial")?,
            certificate_ends: row.maybe_time("certificate_ends")?,
            sealing_key: row.maybe_bytes("sealing_key")?,
            enrolled_at: row.maybe_time("enrolled_at")?,
            renewed_at: row.maybe_time("renewed_at")?,
        })
    }
}

impl View {
    /// One member.
    ///
    /// # Errors
    ///
    /// As every read.
    pub async fn member(&mut self, kind: &str, name: &str) -> Result<Option<Member>, Error> {
        self.optional(statement("SELECT * FROM members WHERE kind = $1 AND name = $2").bind(kind).bind(name), Member::read).await
    }

    /// The members of a kind, or all, by kind and name.
    ///
    /// # Errors
    ///
    /// As every read.
    pub async fn members(&mut self, kind: Option<&str>) -> Result<Vec<Member>, Error> {
        let select = Select::new("SELECT * FROM members WHERE true").and("kind = $", kind.map(text));
        self.all(select.order("kind, name", u32::MAX).statement(), Member::read).await
    }
}

reads! {
    member(kind: &str, name: &str) -> Option<Member>;
    members(kind: Option<&str>) -> Vec<Member>;
}

impl Change {
    /// Offers a member an enrolment code, in place of any earlier one. A member that is not known becomes known.
    ///
    /// # Errors
    ///
    /// As every write.
    pub async fn offer_code(&mut self, kind: &str, name: &str, secret: &[u8], ends: i64) -> Result<(), Error> {
        let sql = "INSERT INTO members (kind, name, state, code_secret, code_ends, code_tries) VALUES ($1, $2, 'invited', $3, $4, 0) \
                   ON CONFLICT (kind, name) DO UPDATE \
                   SET code_secret = excluded.code_secret, code_ends = excluded.code_ends, code_tries = 0";
        self.must(statement(sql).bind(kind).bind(name).bind(secret).bind(ends)).await
    }

    /// Notes a wrong code, and says how many there were since the present one was offered.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`].
    pub async fn note_wrong_code(&mut self, kind: &str, name: &str) -> Result<u64, Error> {
        let sql = "UPDATE members SET code_tries = code_tries + 1 WHERE kind = $1 AND name = $2 RETURNING code_tries AS count";
        self.number(statement(sql).bind(kind).bind(name)).await
    }

    /// Spends the code of this secret, and says whether this call did: not if it was spent, replaced or has ended.
    ///
    /// # Errors
    ///
    /// As every write.
    pub async fn spend_code(&mut self, kind: &str, name: &str, secret: &[u8]) -> Result<bool, Error> {
        let now = self.now;
        let sql = "UPDATE members SET code_secret = NULL, code_ends = NULL, code_tries = 0 \
                   WHERE kind = $1 AND name = $2 AND code_secret = $3 AND code_ends > $4";
        Ok(self.run(statement(sql).bind(kind).bind(name).bind(secret).bind(now)).await? > 0)
    }

    /// Records the certificate that a member was given. It is `enrolled` after that.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`].
    pub async fn set_member_certificate(&mut self, kind: &str, name: &str, certificate: &MemberCertificate) -> Result<(), Error> {
        let now = self.now;
        let sql = "UPDATE members SET state = 'enrolled', serial = $3, certificate_ends = $4, sealing_key = COALESCE($5, sealing_key), \
                   renewed_at = CASE WHEN enrolled_at IS NULL THEN NULL ELSE $6 END, enrolled_at = COALESCE(enrolled_at, $6) \
                   WHERE kind = $1 AND name = $2";
        let update = statement(sql)
            .bind(kind)
            .bind(name)
            .bind(&*certificate.serial)
            .bind(certificate.ends)
            .bind(certificate.sealing_key.as_deref())
            .bind(now);
        self.must(update).await
    }

    /// Sets the state of a member.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`].
    pub async fn set_member_state(&mut self, kind: &str, name: &str, state: &str) -> Result<(), Error> {
        let sql = "UPDATE members SET state = $3 WHERE kind = $1 AND name = $2";
        self.must(statement(sql).bind(kind).bind(name).bind(state)).await
    }

    /// Removes a member.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`].
    pub async fn remove_member(&mut self, kind: &str, name: &str) -> Result<(), Error> {
        self.must(statement("DELETE FROM members WHERE kind = $1 AND name = $2").bind(kind).bind(name)).await
    }
}
