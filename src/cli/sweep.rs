//! `goldfish sweep` and `train --kfold`: every combination of some learning rates and ranks, or every part of the images
//! left out in turn, trained on the same images, and how good they are.

mod asked;
mod compared;
mod page;
mod runs;
mod taken;
mod written;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgMatches, Args as ClapArgs, Command};
use goldfish::{Error, Result};

use super::base::BaseArgs;
use super::config::{self, Which};
use super::train::{self, TrainArgs};
use asked::{Asked, Place};

/// Where it goes unless somebody says otherwise.
const DEFAULT: &str = "runs/sweep";

#[derive(ClapArgs)]
pub struct Args {
    /// Folder with one folder a class, as train takes it
    #[arg(required_unless_present = "resume")]
    data: Option<PathBuf>,
    /// Folder for the runs, one folder each, and what compares them: sweep.html, sweep.md, sweep.json
    #[arg(short, long, value_name = "DIR", default_value = DEFAULT)]
    output: PathBuf,
    /// Replace runs that are in their folders
    #[arg(long)]
    overwrite: bool,
    /// Go on with the sweep in the folder, as it was asked for: runs that have begun are taken up, and those that have ended
    /// stay as they are
    #[arg(long, conflicts_with = "overwrite")]
    resume: bool,
    /// Train each combination K times, each time without another part of the images, and compare the means
    #[arg(long, value_name = "K", value_parser = train::parts, conflicts_with_all = ["val", "val_split", "fold"])]
    kfold: Option<usize>,
    #[command(flatten)]
    base: BaseArgs,
    #[command(flatten)]
    settings: TrainArgs,
}

/// The flags of train of which a sweep takes several values, made such.
pub fn several(program: Command) -> Command {
    program.mut_subcommand("sweep", |sweep| {
        let list = |arg: clap::Arg| arg.value_delimiter(',').action(clap::ArgAction::Append);
        let sweep = sweep.mut_arg("lr", |arg| list(arg).value_name("RATE,..."));
        sweep.mut_arg("rank", |arg| list(arg).value_name("RANK,..."))
    })
}

/// What is to be parsed in the place of `matches`, where those go on with the runs of a sweep or of `train --kfold`: what
/// was asked for, and what was typed now before it; `None` too where `train --resume` goes on with a single run, of which
/// [`train::configured`] knows. `program` is the whole command line.
pub fn configured(program: &Command, matches: &ArgMatches) -> Result<Option<Vec<OsString>>> {
    let Some((name, own)) = matches.subcommand() else {
        return Ok(None);
    };
    let folder = match name {
        "sweep" if own.get_flag("resume") => own.get_one::<PathBuf>("output"),
        "train" => own.get_one::<PathBuf>("resume"),
        _ => None,
    };
    let (Some(folder), Some(typing), Some(sweep)) = (
        folder,
        program.find_subcommand(name),
        program.find_subcommand("sweep"),
    ) else {
        return Ok(None);
    };
    let typed = config::table(typing, own, Which::Typed);
    let Some((path, mut asked)) = Asked::read(folder)? else {
        // A run, or a sweep that is said anew.
        return match name == "train" || typed.contains_key("data") {
            true => Ok(None),
            false => Err(asked::none(folder)),
        };
    };
    config::check(sweep, &asked, &path)?;
    asked.retain(|key, _| !typed.contains_key(key));
    let mut words: Vec<OsString> = ["goldfish", "sweep", "--resume"].map(OsString::from).into();
    let mut output = OsString::from("--output=");
    output.push(folder);
    words.push(output);
    let typed = (typing, own, &["output", "resume"][..]);
    config::command_line(words, typed, (sweep, &asked, &path)).map(Some)
}

/// Trains each combination; `matches` is what was typed for the sweep, and `program` the whole command line.
pub fn run(
    args: Args,
    program: &Command,
    matches: &ArgMatches,
    device: Option<String>,
) -> Result<()> {
    if !args.settings.validates() && args.kfold.is_none() {
        return Err(Error::Usage(
            "a sweep compares by images that are not trained on: add --val-split 0.2, --val DIR or --kfold 5".into(),
        ));
    }
    let sweep = own(program, "sweep")?;
    let mut typed = config::table(sweep, matches, Which::Typed);
    if args.resume {
        asked::as_before(&args.output, &mut typed)?;
    }
    let place = Place {
        folder: &args.output,
        overwrite: args.overwrite,
        resume: args.resume,
    };
    let data = args.data.ok_or_else(|| asked::none(&args.output))?;
    runs::run(
        &data,
        &Asked::new(typed, (sweep, matches), place),
        own(program, "train")?,
        device,
    )
}

/// `train --kfold`: a sweep of one combination.
pub fn kfold(
    args: &train::Args,
    program: &Command,
    matches: &ArgMatches,
    device: Option<String>,
) -> Result<()> {
    let train = own(program, "train")?;
    let (folder, overwrite) = args.parts()?;
    let place = Place {
        folder,
        overwrite,
        resume: false,
    };
    let typed = config::table(train, matches, Which::Typed);
    runs::run(
        args.data()?,
        &Asked::new(typed, (train, matches), place),
        train,
        device,
    )
}

fn own<'a>(program: &'a Command, name: &str) -> Result<&'a Command> {
    let none = || Error::Usage(format!("this program has no {name}"));
    program.find_subcommand(name).ok_or_else(none)
}
