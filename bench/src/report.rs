//! Figures of many rounds into medians, ranges and ratios: as a table to read and as JSON to keep.

use std::collections::BTreeSet;
use std::fmt::Write;

use serde::Serialize;

use crate::cases::{Case, Extent};
use crate::figures::{Metrics, Spread};
use crate::systems::System;

/// One measurement.
#[derive(Serialize)]
pub(crate) struct Sample {
    pub(crate) case: Case,
    pub(crate) system: System,
    pub(crate) round: usize,
    pub(crate) metrics: Metrics,
}

/// A measurement that did not succeed.
#[derive(Serialize)]
pub(crate) struct Failure {
    pub(crate) case: Case,
    pub(crate) system: System,
    pub(crate) round: usize,
    pub(crate) reason: String,
}

/// Everything that was measured, and where.
#[derive(Serialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) extent: Extent,
    pub(crate) samples: Vec<Sample>,
    pub(crate) failures: Vec<Failure>,
}

impl Report {
    fn of(&self, case: Case, system: System) -> impl Iterator<Item = &Sample> {
        self.samples.iter().filter(move |sample| sample.case == case && sample.system == system)
    }

    fn spread(&self, case: Case, system: System, metric: &str) -> Option<Spread> {
        Spread::of(self.of(case, system).filter_map(|sample| sample.metrics.find(metric)).collect())
    }

    /// The case's headline divided by the yardstick's in the same round, over all rounds that have both.
    fn ratio(&self, case: Case, system: System) -> Option<Spread> {
        let metric = case.headline()?;
        let in_round = |sample: &Sample| {
            let other = self.of(case, System::YARDSTICK).find(|other| other.round == sample.round)?;
            Some(sample.metrics.find(metric)? / other.metrics.find(metric)?)
        };
        Spread::of(self.of(case, system).filter_map(in_round).collect())
    }

    fn cases(&self) -> BTreeSet<Case> {
        self.samples.iter().map(|sample| sample.case).collect()
    }

    fn systems(&self) -> BTreeSet<System> {
        self.samples.iter().map(|sample| sample.system).collect()
    }

    /// The table.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for case in self.cases() {
            self.case_text(case, &mut text);
            text.push('\n');
        }
        for Failure { case, system, round, reason } in &self.failures {
            row(&mut text, &format!("FAILED {} {} round {round}", case.name(), system.name()), std::slice::from_ref(reason));
        }
        text
    }

    fn case_text(&self, case: Case, text: &mut String) {
        let systems = self.systems();
        row(text, &case.name(), &systems.iter().map(|system| system.name().to_owned()).collect::<Vec<_>>());
        let mut names: Vec<&str> = Vec::new();
        for name in self.samples.iter().filter(|sample| sample.case == case).flat_map(|sample| sample.metrics.names()) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let cell = |spread: Option<Spread>| spread.map_or_else(|| "-".to_owned(), |spread| spread.to_string());
        for name in names {
            row(text, name, &systems.iter().map(|system| cell(self.spread(case, *system, name))).collect::<Vec<_>>());
        }
        if case.headline().is_some() {
            row(text, "ratio to nginx-1", &systems.iter().map(|system| cell(self.ratio(case, *system))).collect::<Vec<_>>());
        }
        for goal in case.goals() {
            let reached = match goal.metric {
                None => self.ratio(case, System::Cmg),
                Some(metric) => self.spread(case, System::Cmg, metric),
            };
            if let Some(reached) = reached {
                row(text, goal.metric.unwrap_or("ratio"), &[goal.verdict(reached.median)]);
            }
        }
    }

    /// Everything, with medians, for `docs/performance.md` and whoever wants to compare.
    pub(crate) fn json(&self) -> crate::Result<String> {
        #[derive(Serialize)]
        struct Line {
            case: Case,
            system: System,
            metric: &'static str,
            #[serde(flatten)]
            spread: Spread,
        }
        let mut summary = Vec::new();
        for case in self.cases() {
            for system in self.systems() {
                let first = self.of(case, system).next();
                let metrics = first.into_iter().flat_map(|sample| sample.metrics.names());
                summary
                    .extend(metrics.filter_map(|metric| Some(Line { case, system, metric, spread: self.spread(case, system, metric)? })));
                summary.extend(self.ratio(case, system).map(|spread| Line { case, system, metric: "ratio", spread }));
            }
        }
        let mut value = serde_json::to_value(self)?;
        value["summary"] = serde_json::to_value(summary)?;
        Ok(serde_json::to_string_pretty(&value)?)
    }
}

fn row(text: &mut String, name: &str, cells: &[String]) {
    write!(text, "{name:<22}").expect("a string takes everything");
    for cell in cells {
        write!(text, " {cell:<28}").expect("a string takes everything");
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
}

/// Where it was measured.
#[derive(Serialize)]
pub(crate) struct Machine {
    processor: String,
    kernel: String,
    congestion_control: String,
    nginx: String,
}

impl Machine {
    pub(crate) fn this() -> Self {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let cpuinfo = read("/proc/cpuinfo");
        let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let nginx = std::process::Command::new("nginx").arg("-v").output().map(|output| output.stderr).unwrap_or_default();
        Self {
            processor: model.map(|(_, name)| name.to_owned()).unwrap_or_default(),
            kernel: read("/proc/sys/kernel/osrelease"),
            congestion_control: read("/proc/sys/net/ipv4/tcp_congestion_control"),
            nginx: String::from_utf8_lossy(&nginx).trim().to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_taken_within_a_round() {
        let sample = |system, round, value| {
            let mut metrics = Metrics::default();
            metrics.add("cpu_us", value);
            Sample { case: Case::Get1k, system, round, metrics }
        };
        let report = Report {
            machine: Machine::this(),
            extent: Extent { seconds: 1.0, idle: 1, connections: 1 },
            samples: vec![
                sample(System::Cmg, 0, 10.0),
                sample(System::Nginx1, 0, 20.0),
                sample(System::Nginx1, 1, 40.0),
                sample(System::Cmg, 1, 40.0),
                sample(System::Cmg, 2, 1.0),
            ],
            failures: Vec::new(),
        };

        let ratio = report.ratio(Case::Get1k, System::Cmg);

        assert_eq!(ratio, Spread::of(vec![0.5, 1.0]));
    }
}
