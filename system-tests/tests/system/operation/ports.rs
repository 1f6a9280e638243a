//! What is listened on: what the file says, and nothing else. Port 80 is not, for one.

use std::collections::BTreeSet;
use std::fs::{read_dir, read_link, read_to_string};

use cmg_lab::Program;

use crate::support::Site;

/// State of a listening socket in the kernel's tables.
const LISTENING: &str = "0A";

#[test]
fn a_gateway_listens_where_its_file_says_and_nowhere_else() {
    let site = Site::start(|_| {});
    let gateway = &site.lab().gateways[0];

    let wanted = [gateway.port, gateway.metrics_port].into_iter().chain(gateway.root_ports.iter().copied());

    assert_eq!(listening(site.gateway()), wanted.collect());
}

#[test]
fn a_connection_point_listens_for_its_metrics_only() {
    let site = Site::start(|_| {});

    assert_eq!(listening(site.point()), BTreeSet::from([site.lab().connection_points[0].metrics_port]));
}

/// Ports that a program listens on: listening sockets among its open files.
fn listening(program: &Program) -> BTreeSet<u16> {
    let process = format!("/proc/{}", program.pid());
    let files = read_dir(format!("{process}/fd")).unwrap().flatten().filter_map(|file| read_link(file.path()).ok());
    let open: BTreeSet<String> = files.map(|file| file.display().to_string()).collect();
    let tables = ["tcp", "tcp6"].map(|table| read_to_string(format!("{process}/net/{table}")).unwrap_or_default());
    let rows = tables.iter().flat_map(|table| table.lines().skip(1)).map(|row| row.split_whitespace().collect::<Vec<_>>());
    let own = rows.filter(|row| row[3] == LISTENING && open.contains(&format!("socket:[{}]", row[9])));
    own.map(|row| u16::from_str_radix(row[1].rsplit(':').next().unwrap(), 16).unwrap()).collect()
}
