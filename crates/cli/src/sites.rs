//! Sites; and what is done with the files of a site server on its own host, which the composition carries out.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use crate::failure::Failure;
use crate::kinds;
use crate::resources::{self, Verb};
use crate::server::Server;
use crate::told::Told;

/// What is done with a site.
#[derive(Debug, Subcommand)]
pub enum SiteVerb {
    /// As with every resource.
    #[command(flatten)]
    Resource(Verb),
    /// What needs the site server's own files.
    #[command(flatten)]
    Files(OnFiles),
}

/// What is done on the site server's own host, without its API.
#[derive(Clone, Debug, Subcommand)]
pub enum OnFiles {
    /// Write the site into one file, encrypted under a passphrase; the site server may run
    Backup(Backup),
    /// Bring back the site of a backup, into an empty data folder and database
    Restore(Restore),
    /// Make new issuing keys with the export of the root keys; the site server may run
    RenewIssuers(RenewIssuers),
    /// Make new roots beside the present ones, and write their keys into a file; the site server may run
    AddRoot(AddRoot),
    /// Remove the earlier roots when nobody depends on them; the site server may run
    RemoveRoot {
        /// The site server's configuration file
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
}

/// Which site, and under which passphrase.
#[derive(Clone, Debug, Args)]
pub struct Place {
    /// The site server's configuration file
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// A file with the passphrase in its first line, mode 0600
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: PathBuf,
}

/// A backup.
#[derive(Clone, Debug, Args)]
pub struct Backup {
    /// Where and how
    #[command(flatten)]
    pub place: Place,
    /// Where it is written: a new file, mode 0600
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// A restore.
#[derive(Clone, Debug, Args)]
pub struct Restore {
    /// Where and how
    #[command(flatten)]
    pub place: Place,
    /// The backup
    #[arg(long = "in", value_name = "FILE")]
    pub archive: PathBuf,
    /// The SQLite database of before: its blocks and revocations that the backup does not have are listed, and accounts that could not
    /// sign in any more
    #[arg(long, value_name = "FILE")]
    pub before: Option<PathBuf>,
    /// Add those blocks again, revoke those certificates, and disable those accounts
    #[arg(long, requires = "before")]
    pub keep_blocks: bool,
    /// Let API tokens of the backup count on; else all of them end, since nobody knows which were revoked since
    #[arg(long)]
    pub keep_api_tokens: bool,
}

/// New issuing keys.
#[derive(Clone, Debug, Args)]
pub struct RenewIssuers {
    /// Where, and under which passphrase the export is
    #[command(flatten)]
    pub place: Place,
    /// The export of the root keys that was written when the site was founded (site-root-keys.txt)
    #[arg(long, value_name = "FILE")]
    pub root_keys: PathBuf,
    /// Only this one
    #[arg(long)]
    pub only: Option<Issuer>,
}

/// New roots.
#[derive(Clone, Debug, Args)]
pub struct AddRoot {
    /// Where, and under which passphrase the export of their keys is to be
    #[command(flatten)]
    pub place: Place,
    /// Where the export is written: a new file, mode 0600
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// What a key issues certificates for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Issuer {
    /// Gateways, connection points, management points, site servers, and the key that signs configurations
    Infrastructure,
    /// Clients
    Clients,
}

pub(crate) async fn site(verb: SiteVerb, server: &Server) -> Result<Told, Failure> {
    match verb {
        SiteVerb::Resource(verb) => resources::verb(kinds::SITE, verb, server).await,
        SiteVerb::Files(_) => {
            Err(Failure::Usage("this is done on the site server's own host, by a program that has the site server in it".to_owned()))
        }
    }
}
