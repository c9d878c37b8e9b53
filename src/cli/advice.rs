//! What to type: the flags behind the settings and remedies that the library's errors speak of.

use clap::Command;
use goldfish::{Error, Remedy};

/// `error` as the subcommand `name` of `program` says it, with those flags that it has.
pub fn say(error: &Error, program: &Command, name: &str) -> String {
    let flags: &[&str] = match error {
        Error::Setting { name, problem } => return format!("{} {problem}", flag(name)),
        Error::Kernel { .. } => {
            return format!("{error}; please report this with the output of `goldfish devices`");
        }
        _ => error.remedy().map_or(&[], flags),
    };
    let own = program.find_subcommand(name);
    let known = |flag: &&&str| {
        let mut all = own
            .into_iter()
            .chain([program])
            .flat_map(Command::get_arguments);
        all.any(|argument| argument.get_long() == Some(flag))
    };
    let flags: Vec<String> = flags
        .iter()
        .filter(known)
        .map(|flag| format!("--{flag}"))
        .collect();
    match flags.is_empty() {
        true => error.to_string(),
        false => format!("{error} ({})", flags.join(", ")),
    }
}

/// How a field of the library's settings is spelled here.
fn flag(name: &str) -> String {
    match name {
        "portable" => "--kernels portable".into(),
        _ => format!("--{}", name.replace('_', "-")),
    }
}

/// The flags that a remedy comes down to.
fn flags(remedy: Remedy) -> &'static [&'static str] {
    match remedy {
        Remedy::LessAtOnce => &["batch-size", "image-size", "device"],
        Remedy::OtherDevice => &["device"],
        Remedy::LowerRate => &["lr"],
        Remedy::LeaveOut => &["skip-bad"],
        Remedy::OtherFolder => &["output", "overwrite"],
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn a_subcommand_names_the_flags_that_it_has() {
        let full = || Error::Memory("no room".into());
        for (name, says) in [
            ("train", "no room (--batch-size, --image-size, --device)"),
            ("predict", "no room (--image-size, --device)"),
            ("selftest", "no room (--device)"),
        ] {
            assert_eq!(say(&full(), &Cli::command(), name), says);
        }
        let plain = Error::Usage("no".into());
        assert_eq!(say(&plain, &Cli::command(), "train"), "no");
    }

    #[test]
    fn every_remedy_and_every_setting_is_a_flag_of_train() {
        let program = Cli::command();
        let train = program.find_subcommand("train").expect("it is there");
        let known = |flag: &str| {
            let mut all = program.get_arguments().chain(train.get_arguments());
            all.any(|argument| argument.get_long() == Some(flag))
        };
        for remedy in [
            Remedy::LessAtOnce,
            Remedy::OtherDevice,
            Remedy::LowerRate,
            Remedy::LeaveOut,
            Remedy::OtherFolder,
        ] {
            assert!(flags(remedy).iter().all(|flag| known(flag)), "{remedy:?}");
        }
        for setting in [
            "alpha",
            "batch_size",
            "dropout",
            "epochs",
            "lr",
            "portable",
            "precision",
            "rank",
            "targets",
        ] {
            let typed = flag(setting);
            let long = typed.trim_start_matches("--").split(' ').next();
            assert!(long.is_some_and(known), "{typed}");
        }
    }
}
