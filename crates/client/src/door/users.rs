//! Local users: whom the administrator allows, and whose socket a connection is.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use cmg_core::problem::Problem;
use nix::unistd::User;
use tracing::warn;

use super::owner::socket_owner;

/// Users who may come in, by number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Users(BTreeSet<u32>);

impl Users {
    /// Reads names and numbers of users. Nobody is allowed unless somebody is named.
    pub(crate) fn read(key: &str, names: &[String], problems: &mut Vec<Problem>) -> Self {
        let mut users = BTreeSet::new();
        if names.is_empty() {
            problems.push(Problem::new(key, "names no user, so nobody comes in", "name those who may, such as [\"root\", \"_apt\"]"));
        }
        for name in names {
            match number(name) {
                Some(number) => _ = users.insert(number),
                None => problems.push(Problem::new(key, format!("there is no user {name} on this machine"), "name one that exists")),
            }
        }
        Self(users)
    }

    /// Whether this user may. Unknown is refused.
    pub(crate) fn allow(&self, user: Option<u32>) -> bool {
        user.is_some_and(|user| self.0.contains(&user))
    }
}

fn number(name: &str) -> Option<u32> {
    name.parse().ok().or_else(|| User::from_name(name).ok().flatten().map(|user| user.uid.as_raw()))
}

/// Whose socket the other end of a loopback connection is; none: the kernel does not say.
pub(crate) fn of_tcp(peer: SocketAddr, own: SocketAddr) -> Option<u32> {
    socket_owner(peer, own).inspect_err(|error| warn!(%error, %peer, "The kernel does not say whose connection this is")).ok().flatten()
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn users_are_known_by_name_and_by_number() {
        let mut problems = Vec::new();

        let users = Users::read("door.users", &["root".to_owned(), "4711".to_owned()], &mut problems);

        assert!(problems.is_empty());
        assert!(users.allow(Some(0)) && users.allow(Some(4711)));
        assert!(!users.allow(Some(1)) && !users.allow(None));
    }

    #[test]
    fn a_user_that_does_not_exist_and_a_list_of_nobody_are_problems() {
        let mut problems = Vec::new();

        Users::read("door.users", &["no-such-user-here".to_owned()], &mut problems);
        Users::read("door.users", &[], &mut problems);

        assert_eq!(problems.len(), 2);
    }

    #[test]
    fn the_kernel_says_whose_connection_it_is() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address).expect("a port");
            let client = TcpStream::connect(listener.local_addr().expect("its address")).expect("a connection");
            let (accepted, peer) = listener.accept().expect("a connection");

            let user = of_tcp(peer, accepted.local_addr().expect("its address"));

            assert_eq!(user, Some(nix::unistd::geteuid().as_raw()), "{address}");
            let other = SocketAddr::new(peer.ip(), peer.port() ^ 1);
            assert_eq!(of_tcp(other, client.peer_addr().expect("its address")), None, "nobody has this one");
        }
    }
}
