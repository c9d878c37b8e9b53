//! `goldfish inspect`: what is in this file?

use std::path::PathBuf;

use clap::Args as ClapArgs;
use goldfish::Result;
use goldfish::formats::Summary;

use super::terminal::{Lines, json};

#[derive(ClapArgs)]
pub struct Args {
    /// A file of tensors, safetensors or PyTorch's, or the folder of a run or of a PEFT adapter
    #[arg(value_name = "FILE|RUN")]
    path: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> Result<()> {
    let summary = Summary::read(&args.path)?;
    if args.json {
        return super::print(&json(&summary, Lines::Many));
    }
    super::print(&table(&summary))
}

fn table(summary: &Summary) -> String {
    let mut text = format!(
        "{} tensors, {} parameters, {:.2} MB\n",
        summary.tensors.len(),
        summary.parameters,
        summary.bytes as f64 / 1e6
    );
    if let Some(base) = summary.base.as_deref().filter(|base| !base.is_empty()) {
        text += &format!("base {base}\n");
    }
    for (key, value) in &summary.metadata {
        text += &format!("{key} {value}\n");
    }
    if !summary.modules.is_empty() {
        text += &format!(
            "\n{:<16} {:>5} {:>8} {:>8} {:>11} {:>11} {:>11}\n",
            "module", "rank", "alpha", "scale", "|A|", "|B|", "|BA|"
        );
    }
    for module in &summary.modules {
        let number = |value: Option<f64>| value.map_or("-".into(), |v| format!("{v}"));
        text += &format!(
            "{:<16} {:>5} {:>8} {:>8} {:>11.4e} {:>11.4e} {:>11.4e}\n",
            module.module,
            module.rank,
            number(module.alpha),
            number(module.scale.map(|s| (s * 1e6).round() / 1e6)),
            module.norm_a,
            module.norm_b,
            module.norm_ba
        );
    }
    text += "\n";
    for tensor in &summary.tensors {
        let norm = tensor.norm.map_or(String::new(), |n| format!("{n:>11.4e}"));
        text += &format!(
            "{:<52} {:<5} {:<22} {norm}\n",
            tensor.name,
            tensor.dtype,
            format!("{:?}", tensor.shape)
        );
    }
    text
}
