//! Passwords: what is demanded of them, and hashing them without taking the whole machine.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use cmg_authority::passwords::{LONGEST_PASSWORD, hash_password, verify_password};
use cmg_core::problem::Problem;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Passwords that are hashed at once: each takes a processor for tens of milliseconds, and 19 MiB.
const AT_ONCE: usize = 2;

/// The longest that a password waits for its turn.
const PATIENCE: Duration = Duration::from_secs(5);

/// The least characters of a password.
const SHORTEST: usize = 12;

/// Hashes passwords, a few at once.
pub struct Hasher {
    turns: Arc<Semaphore>,
}

/// Why a password was not hashed.
#[derive(Debug, thiserror::Error)]
pub enum HashRefused {
    /// Too many others wait.
    #[error("too many passwords are checked at the moment: try again")]
    Busy,
    /// The library refused.
    #[error("the password could not be hashed")]
    Failed(#[source] cmg_authority::passwords::PasswordRefused),
}

/// What stands in the place of the hash of an account that there is not, so that checking takes as long.
static NOBODY: LazyLock<Option<String>> = LazyLock::new(|| {
    let secret = cmg_authority::passwords::new_session().ok()?;
    hash_password(&secret.text).ok()
});

impl Default for Hasher {
    fn default() -> Self {
        Self { turns: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

impl Hasher {
    /// Hashes a password.
    pub async fn hash(&self, password: String) -> Result<String, HashRefused> {
        self.blocking(move || hash_password(&password)).await?.map_err(HashRefused::Failed)
    }

    /// Whether the password is the one of this hash. Takes as long where there is no hash.
    pub async fn verify(&self, password: String, hash: Option<String>) -> Result<bool, HashRefused> {
        self.blocking(move || match (&hash, &*NOBODY) {
            (Some(hash), _) => verify_password(&password, hash),
            (None, Some(nobody)) => {
                verify_password(&password, nobody);
                false
            }
            (None, None) => false,
        })
        .await
    }

    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, HashRefused> {
        let turn = timeout(PATIENCE, Arc::clone(&self.turns).acquire_owned()).await;
        let Ok(Ok(turn)) = turn else { return Err(HashRefused::Busy) };
        // Whoever asked may be gone before the work is done; its turn lasts as long as the work.
        let work = move || {
            let _turn = turn;
            work()
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| HashRefused::Busy)
    }
}

/// What is wrong with a password for the account `name`.
pub fn problem(key: &str, password: &str, name: &str) -> Option<Problem> {
    if password.chars().count() < SHORTEST {
        return Some(Problem::new(key, "is too short", format!("write {SHORTEST} characters or more")));
    }
    if password.len() > LONGEST_PASSWORD {
        return Some(Problem::new(key, "is too long", format!("write at most {LONGEST_PASSWORD} bytes")));
    }
    if password.eq_ignore_ascii_case(name) {
        return Some(Problem::new(key, "is the name of the account", "write something that nobody can guess"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_long_and_not_the_name() {
        for (password, is_good) in [
            ("eleven char", false),
            ("twelve chars", true),
            ("äöüäöüäöüäö", false),
            ("The.Administrator", false),
            (&"x".repeat(1024), true),
            (&"x".repeat(1025), false),
        ] {
            assert_eq!(problem("password", password, "the.administrator").is_none(), is_good, "{password}");
        }
    }
}
