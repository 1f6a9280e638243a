//! Resident memory of processes, from `/proc/<pid>/smaps_rollup` (exact, unlike `status`). Kernel socket buffers are
//! not in it; they are the same for every system.

use std::fs;

use crate::cpu;

/// KiB resident, with every shared page counted in full, of a process and all below it.
pub(crate) fn resident(pid: u32) -> f64 {
    sum(pid, "Rss:")
}

/// KiB resident, with shared pages divided among their sharers, of a process and all below it.
pub(crate) fn proportional(pid: u32) -> f64 {
    sum(pid, "Pss:")
}

fn sum(pid: u32, key: &str) -> f64 {
    let of = |pid| field(&fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default(), key);
    cpu::tree(pid).into_iter().map(of).sum()
}

fn field(rollup: &str, key: &str) -> f64 {
    let line = rollup.lines().find_map(|line| line.strip_prefix(key));
    let number = line.and_then(|rest| rest.split_ascii_whitespace().next()?.parse().ok());
    number.unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let rollup = "5594-7ffff ---p 00000000 00:00 0   [rollup]\nRss:    1756 kB\nPss:     395 kB\nPss_Dirty:  116 kB\n";

        assert_eq!((field(rollup, "Rss:"), field(rollup, "Pss:")), (1756.0, 395.0));
    }
}
