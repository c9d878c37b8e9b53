//! `goldfish completions` and `goldfish man`: what a shell and a reader of manuals want of the program.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Command};
use clap_complete::{Shell, generate};
use goldfish::{Error, Result};

use super::terminal::print;

#[derive(ClapArgs)]
pub struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(ClapArgs)]
pub struct Man {
    /// Folder for goldfish.1 and a page for each command, as in ~/.local/share/man/man1 [default: goldfish.1 to the terminal]
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
}

pub fn completions(args: Completions, program: &Command) -> Result<()> {
    let mut script = Vec::new();
    generate(args.shell, &mut program.clone(), "goldfish", &mut script);
    print(&String::from_utf8_lossy(&script))
}

pub fn man(args: Man, program: &Command) -> Result<()> {
    let program = program.clone();
    let Some(folder) = args.output else {
        let mut page = Vec::new();
        let rendered = clap_mangen::Man::new(program).render(&mut page);
        rendered.expect("memory takes what is written to it");
        return print(&String::from_utf8_lossy(&page));
    };
    std::fs::create_dir_all(&folder).map_err(Error::io(&folder, "make the folder"))?;
    clap_mangen::generate_to(program, &folder).map_err(Error::io(&folder, "write the pages into"))
}
