//! `goldfish selftest`: does this device compute what it should?

use clap::Args as ClapArgs;
use goldfish::check::Outcome;
use goldfish::selftest;
use goldfish::{Error, Result};
use serde::Serialize;

use super::progress::Progress;
use super::terminal::json;

#[derive(ClapArgs)]
pub struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    ok: usize,
    failed: usize,
    skipped: usize,
    cases: &'a [Outcome],
}

pub fn run(args: Args, device: Option<String>) -> Result<()> {
    let mut progress = Progress::new("selftest", "cases", selftest::cases().len() as u64);
    let outcomes = selftest::run(device, |index, outcome| {
        progress.set(index as u64 + 1, outcome.op)
    })?;
    progress.finish("");
    let count = |what: fn(&Outcome) -> bool| outcomes.iter().filter(|o| what(o)).count();
    let (ok, failed) = (count(Outcome::is_ok), count(Outcome::is_failure));
    if args.json {
        let report = Report {
            ok,
            failed,
            skipped: outcomes.len() - ok - failed,
            cases: &outcomes,
        };
        super::print(&json(&report))?;
    } else {
        let mut text = format!(
            "{:<20} {:<58} {:>8} {:>8}\n",
            "op", "case", "forward", "gradient"
        );
        for outcome in &outcomes {
            let error = |error: Option<f64>| error.map_or("-".into(), |e| format!("{e:.0e}"));
            let verdict = match (outcome.skipped, &outcome.problem) {
                (Some(needs), _) => format!("skipped: the device lacks {needs}"),
                (None, Some(problem)) => format!("FAIL {problem}"),
                (None, None) if outcome.is_ok() => "ok".into(),
                (None, None) => format!("FAIL (at most {:.0e})", outcome.tolerance),
            };
            text += &format!(
                "{:<20} {:<58} {:>8} {:>8} {verdict}\n",
                outcome.op,
                outcome.case,
                error(outcome.forward_error),
                error(outcome.gradient_error),
            );
        }
        super::print(&text)?;
    }
    if failed > 0 {
        return Err(Error::device(format!(
            "{failed} of the {} cases that suit it failed: results of this device cannot be trusted. Update its driver or choose \
             another device with --device",
            ok + failed
        )));
    }
    if !args.json {
        let skipped = match outcomes.len() - ok {
            0 => String::new(),
            n => format!(", {n} skipped, which do not suit this device"),
        };
        super::print(&format!("{ok} cases ok{skipped}\n"))?;
    }
    Ok(())
}
