//! What to type: the flags behind the settings and remedies that the library's errors speak of.

use clap::Command;
use goldfish::{Error, Remedy};

/// `error` as the subcommand `name` of `program` says it, with those flags that it has.
pub fn say(error: &Error, program: &Command, name: &str) -> String {
    let flags: &[&str] = match error {
        Error::Setting { name, problem } => return format!("{} {problem}", flag(name)),
        Error::Kernel { .. } => {
            let said = error.to_string();
            let said = said.trim_end().trim_end_matches('.');
            return format!("{said}; please report this with the output of `goldfish devices`");
        }
        _ => error.remedy().map_or(&[], flags),
    };
    let own = program.find_subcommand(name);
    let known = |flag: &&&str| {
        let mut all = own
            .into_iter()
            .chain([program])
            .flat_map(Command::get_arguments);
        all.any(|argument| argument.get_long() == flag.split(' ').next())
    };
    // Of what helps against want of memory, that which the message speaks of.
    let meant = |flag: &&&str| match error {
        Error::Memory(said) => flag
            .split(['-', ' '])
            .next()
            .is_some_and(|word| said.contains(word)),
        _ => true,
    };
    let flags: Vec<String> = flags
        .iter()
        .filter(known)
        .filter(meant)
        .map(|flag| format!("--{flag}"))
        .collect();
    let said = error.to_string();
    match flags.is_empty() {
        true => said,
        // The flags belong to its last sentence.
        false => format!("{} ({})", said.trim_end_matches('.'), flags.join(", ")),
    }
}

/// How a field of the library's settings is spelled here.
pub fn flag(name: &str) -> String {
    match name {
        "portable" => "--kernels portable".into(),
        _ => format!("--{}", name.replace('_', "-")),
    }
}

/// The flags that a remedy comes down to, some with a value.
pub fn flags(remedy: Remedy) -> &'static [&'static str] {
    match remedy {
        Remedy::LessAtOnce => &["batch-size", "image-size", "precision f16"],
        Remedy::OtherDevice => &["device"],
        Remedy::LowerRate => &["lr"],
        Remedy::LeaveOut => &["skip-bad"],
        Remedy::SayClasses => &["classes own", "classes imagenet", "keep-imagenet"],
        Remedy::OtherFolder => &["output", "overwrite"],
    }
}
