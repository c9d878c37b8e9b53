//! An estimate as a person reads it.

use super::Estimate;
use crate::cli::report::duration;

impl Estimate {
    /// As a person reads it.
    pub(super) fn text(&self) -> String {
        let Estimate {
            seconds,
            cache,
            disk,
            measured,
            ..
        } = self;
        let mib = |bytes: u64| format!("{:.0} MiB", bytes as f64 / f64::from(1 << 20));
        let parts = [
            ("start", seconds.start),
            ("images", seconds.images),
            ("base", seconds.base),
            ("frozen layers", seconds.frozen),
            ("steps", seconds.steps),
            ("validation", seconds.validation),
            ("report", seconds.report),
        ];
        let parts = parts.iter().filter(|(_, seconds)| *seconds >= 0.05);
        let parts: Vec<String> = parts.map(|(name, s)| format!("{name} {s:.1}")).collect();
        let places = [
            ("on the device", cache.device),
            ("in memory", cache.host),
            ("in a file", cache.file),
        ];
        let places = places.iter().filter(|(_, bytes)| *bytes > 0);
        let places: Vec<String> = places
            .map(|(at, bytes)| format!("{} {at}", mib(*bytes)))
            .collect();
        let mut text = format!(
            "run      {} images, {} of them to validate with; {} steps in {} epochs; {} parameters\n",
            self.images, self.validation, self.steps, self.epochs, self.parameters
        );
        text += &format!(
            "time     {} ({})\n",
            duration(seconds.all),
            parts.join(", ")
        );
        text += &format!("device   {} at most\n", mib(self.device_bytes));
        if let Some(bytes) = self.host_bytes {
            text += &format!("memory   {} at most\n", mib(bytes));
        }
        if !places.is_empty() {
            text += &format!("kept     {} of the frozen layers\n", places.join(", "));
        }
        text += &format!(
            "disk     {:.1} MB in the run's folder, {:.1} MB at most while it goes\n",
            disk.folder as f64 / 1e6,
            disk.most as f64 / 1e6
        );
        text + &format!(
            "measured on {} images and {} steps in {:.1} s\n",
            measured.images, measured.steps, measured.seconds
        )
    }
}
