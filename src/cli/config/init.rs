//! `goldfish config init`: a file with every setting of `train`, its default and what it does, to be edited.

use clap::{Arg, Args as ClapArgs, Command, Subcommand};
use goldfish::Result;
use goldfish::files::write_atomic;

use super::{is_flag, is_list, key, value};
use crate::cli::output::Output;
use crate::cli::terminal::print;

#[derive(ClapArgs)]
pub struct Args {
    #[command(subcommand)]
    command: Sub,
}

#[derive(Subcommand)]
enum Sub {
    /// Write every setting of `train` with its default and what it does; --config takes the file
    Init {
        /// The file to write [default: to the terminal]
        #[arg(short, long, value_name = "FILE")]
        output: Option<std::path::PathBuf>,
        /// Replace the file where there is one
        #[arg(long)]
        overwrite: bool,
    },
}

/// `train` is that subcommand.
pub fn run(args: Args, train: &Command) -> Result<()> {
    let Sub::Init { output, overwrite } = args.command;
    let text = commented(train);
    match output {
        Some(file) => {
            let output = Output::new(file, overwrite);
            write_atomic(output.path()?, text.as_bytes())
        }
        None => print(&text),
    }
}

/// The file: what is not said has its default, and stands as a comment.
fn commented(train: &Command) -> String {
    let mut text = String::from(
        "# Settings of `goldfish train --config FILE`. What is typed goes before the environment, that before this file.\n\
         # Paths are from this file's folder. Take the # away from what you set.\n",
    );
    let mut heading = None;
    let mut settings: Vec<&Arg> = train
        .get_arguments()
        .filter(|arg| key(arg).is_some())
        .collect();
    // In the order of --help, group by group.
    settings.sort_by_key(|arg| arg.get_help_heading().is_some());
    let groups: Vec<Option<&str>> = settings.iter().map(|arg| arg.get_help_heading()).collect();
    settings.sort_by_key(|arg| {
        groups
            .iter()
            .position(|group| *group == arg.get_help_heading())
    });
    for arg in settings {
        let Some(key) = key(arg) else {
            continue;
        };
        if let Some(group) = arg
            .get_help_heading()
            .filter(|group| heading != Some(*group))
        {
            text += &format!("\n# ---- {group} ----\n");
            heading = Some(group);
        }
        text.push('\n');
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        for line in wrapped(&help, 118) {
            text += &format!("# {line}\n");
        }
        let choices: Vec<String> = arg
            .get_possible_values()
            .iter()
            .map(|choice| choice.get_name().to_string())
            .collect();
        if !choices.is_empty() && !is_flag(arg) {
            text += &format!("# One of {}.\n", choices.join(", "));
        }
        text += &format!("# {key} = {}\n", default(arg));
    }
    text
}

/// What stands behind the key.
fn default(arg: &Arg) -> String {
    if is_flag(arg) {
        return "false".into();
    }
    let default = arg.get_default_values().first();
    match default {
        Some(text) => value(arg, &text.to_string_lossy()).to_string(),
        None if is_list(arg) => "[]".into(),
        None => value(arg, "").to_string(),
    }
}

/// `text` in lines of at most `width` characters.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.last_mut().expect("there is a line");
        if !last.is_empty() && last.len() + word.len() + 1 > width {
            lines.push(word.to_string());
        } else {
            if !last.is_empty() {
                last.push(' ');
            }
            last.push_str(word);
        }
    }
    lines
}
