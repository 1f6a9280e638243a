//! Certificates that the site's authorities issued.

use crate::row::Row;
use crate::statement::{Select, containing, statement, text};
use crate::view::reads;
use crate::{Change, Error, View};

/// A certificate. The certificate itself is not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuedCertificate {
    /// Its serial number, unique among all authorities of the site since it is random.
    pub serial: String,
    /// Which authority issued it.
    pub authority: String,
    /// Whom it names.
    pub subject: String,
    /// What it is for.
    pub purpose: String,
    /// When it begins.
    pub not_before: i64,
    /// When it ends.
    pub not_after: i64,
    /// Its fingerprint, unique.
    pub fingerprint: String,
    /// When it was revoked.
    pub revoked_at: Option<i64>,
}

/// Which certificates. Absent is any.
#[derive(Clone, Copy, Debug, Default)]
pub struct CertificateFilter<'a> {
    /// Of this authority.
    pub authority: Option<&'a str>,
    /// Whose subject contains this, in either case.
    pub search: Option<&'a str>,
}

impl IssuedCertificate {
    fn read(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            serial: row.text("serial")?,
            authority: row.text("authority")?,
            subject: row.text("subject")?,
            purpose: row.text("purpose")?,
            not_before: row.time("not_before")?,
            not_after: row.time("not_after")?,
            fingerprint: row.text("fingerprint")?,
            revoked_at: row.maybe_time("revoked_at")?,
        })
    }
}

impl View {
    /// A page by serial number, after one.
    ///
    /// # Errors
    ///
    /// As every read.
    pub async fn certificate_page(
        &mut self,
        filter: CertificateFilter<'_>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<IssuedCertificate>, Error> {
        let select = Select::new("SELECT * FROM issued_certificates WHERE true")
            .and("authority = $", filter.authority.map(text))
            .and("LOWER(subject) LIKE LOWER($) ESCAPE '!'", filter.search.map(containing))
            .and("serial > $", after.map(text))
            .order("serial", limit);
        self.all(select.statement(), IssuedCertificate::read).await
    }

    /// How many certificates of an authority and subject begin at `since` or later.
    ///
    /// # Errors
    ///
    /// As every read.
    pub async fn certificates_since(&mut self, authority: &str, subject: &str, since: i64) -> Result<usize, Error> {
        let sql = "SELECT serial FROM issued_certificates WHERE authority = $1 AND subject = $2 AND not_before >= $3";
        Ok(self.all(statement(sql).bind(authority).bind(subject).bind(since), |row| row.text("serial")).await?.len())
    }

    /// The certificate of a serial number.
    ///
    /// # Errors
    ///
    /// As every read.
    pub async fn certificate(&mut self, serial: &str) -> Result<Option<IssuedCertificate>, Error> {
        self.optional(statement("SELECT * FROM issued_certificates WHERE serial = $1").bind(serial), IssuedCertificate::read).await
    }

    /// The certificate of a fingerprint.
    ///
    /// # Errors
    ///
    /// As every read.
    pub async fn certificate_by_fingerprint(&mut self, fingerprint: &str) -> Result<Option<IssuedCertificate>, Error> {
        let sql = "SELECT * FROM issued_certificates WHERE fingerprint = $1";
        self.optional(statement(sql).bind(fingerprint), IssuedCertificate::read).await
    }

    /// Certificates that end before a time and are not revoked, the first to end first.
    ///
    /// # Errors
    ///
    /// As every read.
    pub async fn certificates_expiring_before(&mut self, time: i64) -> Result<Vec<IssuedCertificate>, Error> {
        let sql = "SELECT * FROM issued_certificates WHERE not_after < $1 AND revoked_at IS NULL ORDER BY not_after, serial";
        self.all(statement(sql).bind(time), IssuedCertificate::read).await
    }

    /// Fingerprints of the revoked certificates of an authority that had not ended when it last revoked one. What stands here changes
    /// by revocations only, not by the clock, so that every site server publishes the same.
    ///
    /// # Errors
    ///
    /// As every read.
    pub async fn revoked_fingerprints(&mut self, authority: &str) -> Result<Vec<String>, Error> {
        let sql = "SELECT fingerprint FROM issued_certificates WHERE authority = $1 AND revoked_at IS NOT NULL AND not_after > \
                   (SELECT MAX(revoked_at) FROM issued_certificates WHERE authority = $2 AND revoked_at IS NOT NULL) ORDER BY fingerprint";
        self.all(statement(sql).bind(authority).bind(authority), |row| row.text("fingerprint")).await
    }

    /// When the last certificate of an authority ends; none: there is none.
    ///
    /// # Errors
    ///
    /// As every read.
    pub async fn last_certificate_end(&mut self, authority: &str) -> Result<Option<i64>, Error> {
        let sql = "SELECT not_after FROM issued_certificates WHERE authority = $1 ORDER BY not_after DESC LIMIT 1";
        self.optional(statement(sql).bind(authority), |row| row.time("not_after")).await
    }

    /// When the certificate begins that was issued last, whichever authority issued it.
    ///
    /// # Errors
    ///
    /// As every read.
    pub async fn newest_certificate_begin(&mut self) -> Result<Option<i64>, Error> {
        let sql = "SELECT not_before FROM issued_certificates ORDER BY not_before DESC LIMIT 1";
        self.optional(statement(sql), |row| row.time("not_before")).await
    }

    /// The revoked certificates of an authority, by serial number.
    ///
    /// # Errors
    ///
    /// As every read.
    pub async fn revoked_certificates(&mut self, authority: &str) -> Result<Vec<IssuedCertificate>, Error> {
        let sql = "SELECT * FROM issued_certificates WHERE authority = $1 AND revoked_at IS NOT NULL ORDER BY serial";
        self.all(statement(sql).bind(authority), IssuedCertificate::read).await
    }
}

reads! {
    certificate_page(filter: CertificateFilter<'_>, after: Option<&str>, limit: u32) -> Vec<IssuedCertificate>;
    certificate(serial: &str) -> Option<IssuedCertificate>;
    certificate_by_fingerprint(fingerprint: &str) -> Option<IssuedCertificate>;
    certificates_expiring_before(time: i64) -> Vec<IssuedCertificate>;
    last_certificate_end(authority: &str) -> Option<i64>;
    newest_certificate_begin() -> Option<i64>;
    revoked_certificates(authority: &str) -> Vec<IssuedCertificate>;
    revoked_fingerprints(authority: &str) -> Vec<String>;
}

impl Change {
    /// Revokes every certificate that an authority has issued to a subject, but the one with serial number `kept`. How many.
    ///
    /// # Errors
    ///
    /// As every write.
    pub async fn revoke_certificates_of(&mut self, authority: &str, subject: &str, kept: Option<&str>) -> Result<u64, Error> {
        let sql = "UPDATE issued_certificates SET revoked_at = $1 \
                   WHERE authority = $2 AND subject = $3 AND serial <> $4 AND revoked_at IS NULL";
        // No serial number is empty.
        let statement = statement(sql).bind(self.now).bind(authority).bind(subject).bind(kept.unwrap_or_default());
        self.run(statement).await
    }

    /// Records a certificate.
    ///
    /// # Errors
    ///
    /// [`Error::Conflict`] if the serial number or fingerprint is there.
    pub async fn add_certificate(&mut self, certificate: &IssuedCertificate) -> Result<(), Error> {
        let sql = "INSERT INTO issued_certificates \
                   (serial, authority, subject, purpose, not_before, not_after, fingerprint, revoked_at) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
        let insert = statement(sql)
            .bind(&*certificate.serial)
            .bind(&*certificate.authority)
            .bind(&*certificate.subject)
            .bind(&*certificate.purpose)
            .bind(certificate.not_before)
            .bind(certificate.not_after)
            .bind(&*certificate.fingerprint)
            .bind(certificate.revoked_at);
        self.must(insert).await
    }

    /// Removes certificates that ended before a time, and says how many.
    ///
    /// # Errors
    ///
    /// As every write.
    pub async fn remove_certificates_before(&mut self, time: i64) -> Result<u64, Error> {
        self.run(statement("DELETE FROM issued_certificates WHERE not_after < $1").bind(time)).await
    }

    /// Revokes a certificate. One that is revoked stays so, since when it was.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`].
    pub async fn revoke_certificate(&mut self, serial: &str) -> Result<(), Error> {
        let now = self.now;
        let sql = "UPDATE issued_certificates SET revoked_at = COALESCE(revoked_at, $2) WHERE serial = $1";
        self.must(statement(sql).bind(serial).bind(now)).await
    }
}
