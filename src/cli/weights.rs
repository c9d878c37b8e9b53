//! `goldfish weights`: trained weights fetched, listed and checked.

mod address;
mod check;
mod fetch;
mod http;
mod known;
mod list;
mod part;
pub mod place;
mod proxy;
mod source;
mod transfer;
mod verify;

use clap::{Args as ClapArgs, Subcommand};
use goldfish::Result;

use super::print;

#[derive(ClapArgs)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Fetch trained weights to where goldfish looks for them
    #[command(after_help = FETCH)]
    Fetch(fetch::Args),
    /// List the weights that are known and those that are there
    List(list::Args),
    /// Check files against the SHA-256 that was published of them, or that they had when they were fetched
    Verify(verify::Args),
}

const FETCH: &str = "The file goes to the folder weights/ of GOLDFISH_DATA, by default goldfish's folder in the user's \
data (~/.local/share on Linux). Its size and SHA-256 are checked before it is put in place. Ctrl-C or a lost connection \
lose nothing: the same command goes on.\n\n\
GOLDFISH_TORCHVISION_URL names a mirror of https://download.pytorch.org/models, HF_ENDPOINT one of the hub; HF_TOKEN is \
sent to the hub alone. HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY are heeded, and SSL_CERT_FILE names other \
certificates than Mozilla's.";

pub fn run(args: Args) -> Result<()> {
    match args.action {
        Action::Fetch(args) => fetch::run(args),
        Action::List(args) => list::run(args),
        Action::Verify(args) => verify::run(args),
    }
}
