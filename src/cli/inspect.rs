//! `goldfish inspect`: what is in this file?

use std::path::PathBuf;

use clap::Args as ClapArgs;
use goldfish::Result;
use goldfish::formats::{BaseSummary, Summary};

use super::terminal::{json, plain};

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
        return super::print(&json(&summary));
    }
    super::print(&table(&summary))
}

/// Notes that are not shown as they stand.
const SHOWN: [&str; 3] = ["goldfish.base", "goldfish.classes", "goldfish.images"];

/// `3: a, b, c`, of many the first and the last.
fn listed(names: &[String]) -> String {
    const MOST: usize = 12;
    let all = names.len();
    match names {
        [first @ .., last] if all > MOST => {
            format!("{all}: {}, ..., {last}", first[..MOST - 1].join(", "))
        }
        _ => format!("{all}: {}", names.join(", ")),
    }
}

fn table(summary: &Summary) -> String {
    let mut text = format!(
        "{} tensors, {} parameters, {:.2} MB\n",
        summary.tensors.len(),
        summary.parameters,
        summary.bytes as f64 / 1e6
    );
    if let Some(network) = &summary.network {
        text += &format!("network {}, {} classes\n", network.arch, network.classes);
    }
    match &summary.base {
        Some(BaseSummary::Known(base)) => {
            let how = if base.trained { "" } else { ", not trained" };
            text += &format!("base {base}, {} classes{how}\n", base.classes);
        }
        Some(BaseSummary::Named { name }) => text += &format!("base {}\n", plain(name)),
        None => {}
    }
    if let Some(head) = &summary.head {
        text += &format!("head {}, {} outputs", head.module, head.outputs);
        if head.frozen > 0 {
            text += &format!(", the first {} the base's own", head.frozen);
        }
        text += "\n";
    }
    if let Some(classes) = &summary.classes {
        text += &format!("classes {}\n", plain(&listed(classes)));
    }
    for (key, value) in &summary.metadata {
        // These are shown above, or as long as the file has images.
        if !SHOWN.contains(&key.as_str()) {
            text += &format!("{} {}\n", plain(key), plain(value));
        }
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
            plain(&module.module),
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
            plain(&tensor.name),
            tensor.dtype,
            format!("{:?}", tensor.shape)
        );
    }
    text
}
