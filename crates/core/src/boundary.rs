//! Boundary groups: which networks use which site systems, in which order.
//!
//! They count on the intranet, where addresses are the site's own. On the internet they are ignored: somebody's home has the same
//! private addresses as a branch office.
use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::net::IpAddr;
use core::str::FromStr;

/// A network: all addresses that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Network {
    family: Family,
    base: u128,
    bits: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Family {
    V4,
    V6,
}

/// Why a text is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotANetwork {
    /// What stands before `/`, or all of it, is no address.
    Address,
    /// What stands behind `/` is no number of bits that such an address has.
    Bits,
}

impl Network {
    /// Whether the address is in it. An IPv4 address written as IPv6 is an IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        let (family, address) = wide(address);
        family == self.family && first_bits(address, self.bits) == self.base
    }

    /// How many bits its addresses have in common.
    pub fn bits(&self) -> u32 {
        self.bits
    }
}

impl FromStr for Network {
    type Err = NotANetwork;

    /// Reads `ADDRESS/BITS` or one address. Bits of the address behind the first so many are ignored.
    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| NotANetwork::Address)?;
        let written = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Some(written), number).filter(|bits| *bits <= written).ok_or(NotANetwork::Bits)?;

        let (family, base) = wide(address);
        let mapped = family == Family::V4 && written == 128;
        let bits = if mapped { bits.checked_sub(96).ok_or(NotANetwork::Bits)? } else { bits };
        Ok(Self { family, base: first_bits(base, bits), bits })
    }
}

fn number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// The address with its first bit in front.
fn wide(address: IpAddr) -> (Family, u128) {
    match address.to_canonical() {
        IpAddr::V4(address) => (Family::V4, u128::from(address.to_bits()) << 96),
        IpAddr::V6(address) => (Family::V6, address.to_bits()),
    }
}

fn first_bits(address: u128, bits: u32) -> u128 {
    address & u128::MAX.checked_shl(128 - bits).unwrap_or(0)
}

/// A boundary group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// The networks that belong to it.
    pub networks: Vec<Network>,
    /// Site systems and management points that its clients use, by name. Empty: all.
    pub site_systems: Vec<String>,
    /// Internet-based services that its clients use, by name. Empty: all.
    pub services: Vec<String>,
    /// Groups whose site systems are used when the own ones fail, in this order.
    pub fallback: Vec<String>,
    /// Whether services on the internet are preferred to the intranet.
    pub prefer_cloud: bool,
}

/// All boundary groups of a site.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Boundaries {
    groups: Vec<Group>,
}

impl Boundaries {
    /// The groups. Where two have one name, the first counts as a fallback.
    pub fn new(groups: Vec<Group>) -> Self {
        Self { groups }
    }

    /// Where a device with these addresses stands.
    pub fn at(&self, addresses: &[IpAddr]) -> Standing<'_> {
        let fit = |group: &Group| {
            let networks = group.networks.iter().filter(|network| addresses.iter().any(|address| network.contains(*address)));
            networks.map(Network::bits).max()
        };
        let mut own: Vec<_> = self.groups.iter().filter_map(|group| Some((Reverse(fit(group)?), group))).collect();
        own.sort_by_key(|(fit, _)| *fit);
        let own: Vec<&Group> = own.into_iter().map(|(_, group)| group).collect();
        let fallback = self.fallback_of(&own);
        Standing { all: &self.groups, own, fallback }
    }

    /// Groups to fall back to, the nearest first; each once, so that circles end.
    fn fallback_of<'a>(&'a self, own: &[&'a Group]) -> Vec<&'a Group> {
        let mut seen: BTreeSet<&str> = own.iter().map(|group| group.name.as_str()).collect();
        let mut order = own.to_vec();
        let mut next = 0;
        while let Some(group) = order.get(next).copied() {
            next += 1;
            for name in &group.fallback {
                let Some(found) = self.groups.iter().find(|group| group.name == *name) else { continue };
                if seen.insert(&found.name) {
                    order.push(found);
                }
            }
        }
        order.split_off(own.len())
    }
}

/// Where a device stands: the groups of its addresses.
#[derive(Clone, Debug)]
pub struct Standing<'a> {
    all: &'a [Group],
    own: Vec<&'a Group>,
    fallback: Vec<&'a Group>,
}

/// A name and how near it is: what has the same rank is as good as each other. Zero is the nearest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ranked<'n> {
    /// Its rank.
    pub rank: usize,
    /// Its name.
    pub name: &'n str,
}

impl Standing<'_> {
    /// The names of its groups, the one that fits best (with the longest prefix) first.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        self.own.iter().map(|group| group.name.as_str())
    }

    /// Whether services on the internet are preferred: the group that fits best decides.
    pub fn prefers_cloud(&self) -> bool {
        self.own.first().is_some_and(|group| group.prefer_cloud)
    }

    /// Which of the site systems `all` it uses, in order: those of its own groups, of the groups to fall back to, then those that belong
    /// to no group. Outside all groups: those of no group, then the rest.
    pub fn site_systems<'n>(&self, all: &[&'n str]) -> Vec<Ranked<'n>> {
        let mut order = Order::new(all);
        for group in self.own.iter().chain(&self.fallback) {
            order.add_named(&group.site_systems);
        }
        order.add(|name| !self.all.iter().any(|group| group.site_systems.iter().any(|system| system == name)));
        if self.own.is_empty() {
            order.add(|_| true);
        }
        order.ranked
    }

    /// The management points `all` in the order in which they are asked: as [`Self::site_systems`], then all others, since a management
    /// point far away is better than none.
    pub fn management_points<'n>(&self, all: &[&'n str]) -> Vec<Ranked<'n>> {
        let mut order = Order { left: all.to_vec(), ranked: self.site_systems(all), rank: 0 };
        order.rank = order.ranked.last().map_or(0, |last| last.rank + 1);
        let ranked = &order.ranked;
        order.left.retain(|name| !ranked.iter().any(|other| other.name == *name));
        order.add(|_| true);
        order.ranked
    }

    /// Which of the internet-based services `all` it uses while it is on the intranet.
    pub fn services<'n>(&self, all: &[&'n str]) -> Vec<&'n str> {
        let allows =
            |name: &str| self.own.iter().any(|group| group.services.is_empty() || group.services.iter().any(|service| service == name));
        all.iter().copied().filter(|name| self.own.is_empty() || allows(name)).collect()
    }
}

/// Names in the making of their order.
struct Order<'n> {
    left: Vec<&'n str>,
    ranked: Vec<Ranked<'n>>,
    rank: usize,
}

impl<'n> Order<'n> {
    fn new(all: &[&'n str]) -> Self {
        Self { left: all.to_vec(), ranked: Vec::new(), rank: 0 }
    }

    /// Those of a group: in its order, or all of them where it names none.
    fn add_named(&mut self, names: &[String]) {
        if names.is_empty() {
            return self.add(|_| true);
        }
        let found: Vec<&'n str> = names.iter().filter_map(|name| self.left.iter().copied().find(|left| left == name)).collect();
        self.push(&found);
    }

    fn add(&mut self, fits: impl Fn(&str) -> bool) {
        let found: Vec<&'n str> = self.left.iter().copied().filter(|name| fits(name)).collect();
        self.push(&found);
    }

    fn push(&mut self, found: &[&'n str]) {
        for name in found {
            if self.left.contains(name) {
                self.left.retain(|left| left != name);
                self.ranked.push(Ranked { rank: self.rank, name });
            }
        }
        self.rank += usize::from(!found.is_empty());
    }
}

#[cfg(test)]
mod tests;
