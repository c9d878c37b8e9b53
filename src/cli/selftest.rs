//! `goldfish selftest`: does this device compute what it should?

use clap::Args as ClapArgs;
use goldfish::selftest;
use goldfish::{Error, Result};

use super::progress::Progress;

#[derive(ClapArgs)]
pub struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args, device: Option<String>) -> Result<()> {
    let mut progress = Progress::new("selftest", "cases", selftest::cases().len() as u64);
    let outcomes = selftest::run(device, |index, outcome| {
        progress.set(index as u64 + 1, outcome.op)
    })?;
    progress.finish("");
    if args.json {
        let json = serde_json::to_string_pretty(&outcomes).expect("plain values become JSON");
        super::print(&format!("{json}\n"))?;
    } else {
        let mut text = format!(
            "{:<20} {:<58} {:>8} {:>8}\n",
            "op", "case", "forward", "gradient"
        );
        for outcome in &outcomes {
            let gradient = outcome
                .gradient_error
                .map_or("-".into(), |e| format!("{e:.0e}"));
            let verdict = match (&outcome.problem, outcome.is_ok()) {
                (Some(problem), _) => format!("FAIL {problem}"),
                (None, false) => format!("FAIL (at most {:.0e})", outcome.tolerance),
                (None, true) => "ok".into(),
            };
            text += &format!(
                "{:<20} {:<58} {:>8} {gradient:>8} {verdict}\n",
                outcome.op,
                outcome.case,
                format!("{:.0e}", outcome.forward_error),
            );
        }
        super::print(&text)?;
    }
    let failed = outcomes.iter().filter(|o| !o.is_ok()).count();
    if failed > 0 {
        return Err(Error::device(format!(
            "{failed} of {} cases failed: results of this device cannot be trusted. Update its driver or choose \
             another device with --device",
            outcomes.len()
        )));
    }
    if !args.json {
        super::print(&format!("{} cases ok\n", outcomes.len()))?;
    }
    Ok(())
}
