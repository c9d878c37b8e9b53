//! The command line: one file a subcommand. Results go to stdout, progress and notices to stderr.

mod adapters;
mod adopt;
mod advice;
mod alike;
mod base;
mod bench;
mod cache;
mod config;
mod convert;
mod demo;
mod devices;
mod doctor;
mod estimate;
mod eval;
mod exhausted;
mod export;
mod folders;
mod images;
mod inspect;
mod memory;
mod merge;
mod output;
mod predict;
mod progress;
mod report;
mod rows;
mod selftest;
mod shell;
mod stop;
mod store;
mod sweep;
mod terminal;
mod train;
mod values;
mod weights;
mod world;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};
use config::Which;
use goldfish::world::LOST;
use goldfish::{Error, Result};
use stop::stop_on_ctrl_c;
use terminal::{note, open_device, open_device_with, print};

/// Trains LoRA adapters on a frozen VGG19, on any GPU or on a software Vulkan driver.
#[derive(Parser)]
#[command(
    version,
    max_term_width = 100,
    after_help = "Exit codes: 0 ok, 2 usage, 3 bad data or file, 4 device or memory, 5 non-finite loss, 6 another rank \
                  of the job was lost, 130 interrupted.\n\n\
                  Start with `goldfish demo`: it trains on five illustrations of goldfish."
)]
struct Cli {
    /// Device to use: an index or part of a name from `goldfish devices`
    #[arg(
        long,
        global = true,
        env = "GOLDFISH_DEVICE",
        value_name = "INDEX|NAME"
    )]
    device: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Train an adapter on DATA/<class>/<image>
    Train(train::Args),
    /// Say what is wrong with DATA/<class>/<image>, before it is trained on
    Doctor(doctor::Args),
    /// Say what `train` with the same options will take: time, memory, disk
    Estimate(estimate::Args),
    /// Train every combination of some learning rates and ranks, and say which is the best
    Sweep(sweep::Args),
    /// Say what images show
    Predict(predict::Args),
    /// Say how often the base, or adapters on it, are right about DATA/<class>/<image>
    Eval(eval::Args),
    /// Write a run's page: curves, classes, pictures with their verdicts, settings
    Report(report::Args),
    /// Work an adapter into the base's weights: a file that torchvision loads
    Merge(merge::Args),
    /// Write an adapter or weights in another layout: PEFT, LyCORIS, the tutorial's; safetensors, .pth
    Convert(convert::Args),
    /// Write the network with an adapter as an ONNX file, for other programs to run
    Export(export::Args),
    /// Show what an adapter or a weights file holds
    Inspect(inspect::Args),
    /// Fetch, list and check trained weights
    Weights(weights::Args),
    /// Train on five illustrations of goldfish and show what changed
    Demo(demo::Args),
    /// List and clear what is kept between runs
    Cache(cache::Args),
    /// List the devices of this machine
    Devices(devices::Args),
    /// Measure this device
    Bench(bench::Args),
    /// Check every operation on this device against a reference
    Selftest(selftest::Args),
    /// Settings of `train` as a file
    Config(config::init::Args),
    /// Completions for a shell, to be put where it looks for them
    Completions(shell::Completions),
    /// The manual pages
    Man(shell::Man),
}

pub fn main() -> ExitCode {
    quiet_mesa();
    stop::no_file_too_large();
    stop::listen();
    let mut program = sweep::several(Cli::command());
    program.build();
    if let Err(error) = world::join() {
        let code = exit_code(&error);
        world::fail(&error, &error.to_string(), code);
        note!("error: {error}");
        return code.into();
    }
    let matches = match program.clone().try_get_matches() {
        Ok(matches) => matches,
        Err(said) => {
            if !terminal::is_silent() {
                // Nobody may read it.
                let _ = said.print();
            }
            world::leave();
            return ExitCode::from(u8::try_from(said.exit_code()).unwrap_or(2));
        }
    };
    let usual = match terminal::is_silent() {
        true => "off",
        false => "goldfish=warn",
    };
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("GOLDFISH_LOG")
                .unwrap_or_else(|_| usual.into()),
        )
        .with_writer(std::io::stderr)
        // What nobody reads is no reason to end.
        .log_internal_errors(false)
        .without_time()
        .with_target(false)
        .init();
    match run(&program, matches.clone()) {
        Ok(()) => {
            world::leave();
            ExitCode::SUCCESS
        }
        Err(error) => {
            let command = matches.subcommand_name().unwrap_or_default();
            let said = advice::say(&error, &program, command);
            let code = exit_code(&error);
            world::fail(&error, &said, code);
            note!("error: {said}");
            code.into()
        }
    }
}

/// The words that stand for what was typed, where that names a file with settings or a run to go on with: rank 0 reads those
/// for all.
fn configured(program: &clap::Command, matches: &ArgMatches) -> Result<Option<Vec<OsString>>> {
    let world = world::world();
    let mut words = None;
    if world.leads() {
        words = match sweep::configured(program, matches)? {
            Some(words) => Some(words),
            None => train::configured(program, matches)?,
        };
    }
    if world.is_alone() {
        return Ok(words);
    }
    let text = |word: OsString| {
        let problem = |word: OsString| {
            Error::Usage(format!(
                "{} is not UTF-8, and is to be said to other ranks: rename it",
                word.to_string_lossy()
            ))
        };
        word.into_string().map_err(problem)
    };
    let told = words.map(|words| words.into_iter().map(text).collect::<Result<Vec<_>>>());
    let told = told.transpose()?;
    let told = serde_json::to_vec(&told).expect("text becomes JSON");
    let told = world.broadcast(world.leads().then_some(told))?;
    let told: Option<Vec<String>> = serde_json::from_slice(&told)
        .map_err(|_| Error::Usage("ranks of different versions were started".into()))?;
    Ok(told.map(|words| words.into_iter().map(OsString::from).collect()))
}

fn run(program: &clap::Command, mut matches: ArgMatches) -> Result<()> {
    if let Some(words) = configured(program, &matches)? {
        matches = program.clone().get_matches_from(words);
    }
    let mut cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    if let Some((name, own)) = matches.subcommand()
        && let Some(command) = program.find_subcommand(name)
    {
        let table = || config::table(command, own, Which::All);
        match &mut cli.command {
            Command::Train(args) => args.set_table(table()),
            Command::Demo(args) => args.set_table(table()),
            _ => {}
        }
    }
    let device = world::device(cli.device);
    match &cli.command {
        Command::Train(args) => args.one_alone()?,
        Command::Doctor(_) | Command::Predict(_) | Command::Eval(_) => {}
        _ => world::one_alone(&format!(
            "`goldfish {}`",
            matches.subcommand_name().unwrap_or_default()
        ))?,
    }
    match cli.command {
        Command::Train(args) if args.kfold.is_some() => {
            sweep::kfold(&args, program, typed(&matches), device)
        }
        Command::Train(args) if args.dry_run => estimate::dry_run(&args, device),
        Command::Train(args) => train::run(args, device),
        Command::Doctor(args) => doctor::run(args),
        Command::Estimate(args) => estimate::run(args, device),
        Command::Sweep(args) => sweep::run(args, program, typed(&matches), device),
        Command::Predict(args) => predict::run(args, device),
        Command::Eval(args) => eval::run(args, device),
        Command::Report(args) => report::run(args, device),
        Command::Merge(args) => merge::run(args, device),
        Command::Convert(args) => convert::run(args),
        Command::Export(args) => export::run(args, device),
        Command::Inspect(args) => inspect::run(args),
        Command::Weights(args) => weights::run(args),
        Command::Demo(args) => demo::run(args, device),
        Command::Cache(args) => cache::run(args),
        Command::Devices(args) => devices::run(args),
        Command::Bench(args) => bench::run(args, device),
        Command::Selftest(args) => selftest::run(args, device),
        Command::Config(args) => config::init::run(args, subcommand(program, "train")),
        Command::Completions(args) => shell::completions(args, program),
        Command::Man(args) => shell::man(args, program),
    }
}

/// What was typed for the subcommand.
fn typed(matches: &ArgMatches) -> &ArgMatches {
    let (_, own) = matches.subcommand().expect("there is always one");
    own
}

/// A subcommand that there is.
fn subcommand<'a>(program: &'a clap::Command, name: &str) -> &'a clap::Command {
    let found = program.find_subcommand(name);
    found.expect("the subcommand is the program's own")
}

/// Mesa's device-select layer complains on stderr where there is no desktop session. It only orders
/// devices, which `goldfish devices` does itself.
fn quiet_mesa() {
    if std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        // SAFETY: called first thing in `main`, before any other thread exists.
        #[allow(unsafe_code)]
        unsafe {
            std::env::set_var("NODEVICE_SELECT", "1");
        }
    }
}

fn exit_code(error: &Error) -> u8 {
    match error {
        Error::Usage(_) | Error::Setting { .. } => 2,
        Error::Shape { .. } | Error::Data { .. } | Error::Io { .. } => 3,
        Error::Device { .. } | Error::Memory(_) | Error::Kernel { .. } => 4,
        Error::NonFinite { .. } => 5,
        Error::Rank { .. } => LOST,
        Error::Interrupted { .. } => stop::INTERRUPTED,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use goldfish::{Error, Remedy};

    use super::Cli;
    use super::advice::{flag, flags, say};

    #[test]
    fn a_subcommand_names_the_flags_that_it_has() {
        let full = || Error::Memory("no room: lower the batch or image size".into());
        for (name, says) in [
            ("train", " (--batch-size, --image-size)"),
            ("predict", " (--image-size)"),
            ("selftest", ""),
        ] {
            assert_eq!(
                say(&full(), &Cli::command(), name),
                full().to_string() + says
            );
        }
        let row = Error::Memory("no room: lower the image size".into());
        assert!(say(&row, &Cli::command(), "train").ends_with("size (--image-size)"));
        let weights = Error::Memory("no room: take half precision".into());
        assert!(say(&weights, &Cli::command(), "train").ends_with(" (--precision f16)"));
        let plain = Error::Usage("no".into());
        assert_eq!(say(&plain, &Cli::command(), "train"), "no");
    }

    #[test]
    fn flags_stand_in_the_last_sentence_and_nothing_ends_twice() {
        let train = |error: &Error| say(error, &Cli::command(), "train");
        let device = Error::device("gone.").with(Remedy::OtherDevice);
        assert_eq!(train(&device), "gone. Choose another device (--device)");
        let full = Error::Memory("no room for the image.".into());
        assert_eq!(train(&full), "no room for the image (--image-size)");
        let kernel = Error::Kernel {
            kernel: "add".into(),
            message: "it does not parse.\n".into(),
        };
        assert_eq!(
            train(&kernel),
            "kernel add failed on this device: it does not parse; please report this with the output of `goldfish devices`"
        );
        let diverged = Error::NonFinite {
            step: 3,
            loss: f32::NAN,
            lr: 0.1,
        };
        assert!(train(&diverged).ends_with("Lower the learning rate and try again (--lr)"));
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
            Remedy::SayClasses,
        ] {
            let mut long = flags(remedy)
                .iter()
                .filter_map(|flag| flag.split(' ').next());
            assert!(long.all(known), "{remedy:?}");
        }
        for setting in [
            "alpha",
            "batch_size",
            "betas",
            "clip_norm",
            "dropout",
            "epochs",
            "eps",
            "grad_accum",
            "label_smoothing",
            "lr",
            "max_steps",
            "momentum",
            "nesterov",
            "portable",
            "precision",
            "rank",
            "step_every",
            "step_gamma",
            "targets",
            "weight_decay",
        ] {
            let typed = flag(setting);
            let long = typed.trim_start_matches("--").split(' ').next();
            assert!(long.is_some_and(known), "{typed}");
        }
    }
}
