//! `goldfish devices`: what this machine has to compute on.

use clap::Args as ClapArgs;
use goldfish::gpu::DeviceInfo;
use goldfish::{Error, Result};
use serde::Serialize;

use super::terminal::json;

#[derive(ClapArgs)]
pub struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    devices: Vec<DeviceInfo>,
}

pub fn run(args: Args) -> Result<()> {
    let devices = goldfish::gpu::devices();
    if args.json {
        return super::print(&json(&Report { devices }));
    }
    if devices.is_empty() {
        return Err(Error::device(
            "no Vulkan, Metal or DX12 device was found. On Linux without a GPU, install Mesa's software driver: \
             apt-get install mesa-vulkan-drivers (or `make setup`)",
        ));
    }
    let mut text = String::new();
    for device in devices {
        text += &format!(
            "{}  {} ({}, {})\n   driver    {}\n   limits    binding {} MiB, buffer {} MiB, {} storage buffers, {} workgroups\n   subgroup  {} to {} lanes\n   features  {}\n",
            device.index,
            device.name,
            device.kind,
            device.backend,
            device.driver,
            device.max_binding >> 20,
            device.max_buffer >> 20,
            device.max_storage_buffers,
            device.max_workgroups,
            device.subgroup[0],
            device.subgroup[1],
            device.features.join(", "),
        );
    }
    super::print(&text)
}
