//! How the pictures that are trained on are changed at random, as flags, as the library's settings and in words.

use clap::{Args as ClapArgs, ValueEnum};
use goldfish::data::{Augment, Jitter, RandomCrop, Variants};
use goldfish::train::{Plan, Prefix};
use goldfish::{Error, Result};
use toml::Value;

use crate::cli::terminal::note;

const AUGMENTATION: &str = "Augmentation";

/// What decides the variants of the pictures.
#[derive(ClapArgs, Clone)]
pub(super) struct AugmentArgs {
    /// Change the pictures that are trained on at random, by the seed, as torchvision does: not at all; light (flipped, parts
    /// of half a picture or more); standard (flipped, parts of 8 % or more, as ImageNet's networks are trained); strong
    /// (standard with jittered colours). The flags below change one of these or stand alone
    #[arg(long, value_enum, default_value = "none", help_heading = AUGMENTATION)]
    augment: Preset,
    /// Share of the pictures that are flipped from left to right [default: 0.5, of none 0]
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true, help_heading = AUGMENTATION)]
    flip: Option<f64>,
    /// Take a random part with so much of a picture's area [default: light 0.5,1, standard and strong 0.08,1]
    #[arg(long, value_name = "LEAST,MOST", value_delimiter = ',', allow_negative_numbers = true, help_heading = AUGMENTATION)]
    crop_scale: Vec<f64>,
    /// Width over height of that part [default: 3/4 to 4/3]
    #[arg(long, value_name = "LEAST,MOST", value_delimiter = ',', allow_negative_numbers = true, help_heading = AUGMENTATION)]
    crop_ratio: Vec<f64>,
    /// How far brightness, contrast, saturation and hue are changed [default: strong 0.4,0.4,0.4,0.1]
    #[arg(long, value_name = "B,C,S,H", value_delimiter = ',', allow_negative_numbers = true, help_heading = AUGMENTATION)]
    jitter: Vec<f64>,
    /// Draw so many variants of each picture and keep what the frozen layers make of them, for the epochs to take in turn.
    /// Without it every epoch has variants of its own, and the frozen layers run in each
    #[arg(long, value_name = "K", help_heading = AUGMENTATION)]
    cache_variants: Option<usize>,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Preset {
    None,
    Light,
    Standard,
    Strong,
}

/// The numbers of a setting that has `N` of them; none where it is not set.
fn numbers<const N: usize>(name: &'static str, given: &[f64]) -> Result<Option<[f64; N]>> {
    match given {
        [] => Ok(None),
        given => given
            .try_into()
            .map(Some)
            .map_err(|_| Error::setting(name, format!("takes {N} numbers, found {given:?}"))),
    }
}

impl AugmentArgs {
    /// What may be drawn.
    fn augment(&self) -> Result<Augment> {
        let (flip, least, jitter) = match self.augment {
            Preset::None => (0.0, None, [0.0; 4]),
            Preset::Light => (0.5, Some(0.5), [0.0; 4]),
            Preset::Standard => (0.5, Some(0.08), [0.0; 4]),
            Preset::Strong => (0.5, Some(0.08), [0.4, 0.4, 0.4, 0.1]),
        };
        let usual = RandomCrop::default();
        let scale = numbers("crop_scale", &self.crop_scale)?;
        let ratio = numbers("crop_ratio", &self.crop_ratio)?;
        let crop = RandomCrop {
            scale: scale.unwrap_or([least.unwrap_or(usual.scale[0]), 1.0]),
            ratio: ratio.unwrap_or(usual.ratio),
        };
        let cropped = least.is_some() || scale.is_some() || ratio.is_some();
        let [brightness, contrast, saturation, hue] =
            numbers("jitter", &self.jitter)?.unwrap_or(jitter);
        Ok(Augment {
            crop: cropped.then_some(crop),
            flip: self.flip.unwrap_or(flip),
            jitter: Jitter {
                brightness,
                contrast,
                saturation,
                hue,
            },
        })
    }

    /// How the pictures that are trained on are augmented, where they are.
    pub(super) fn variants(&self, plan: &Plan) -> Result<Option<Variants>> {
        let augment = self.augment()?;
        augment.check()?;
        let count = self.cache_variants;
        match (augment.is_none(), count) {
            (true, Some(_)) => Err(Error::setting(
                "cache_variants",
                "is of pictures that are augmented, and these are not: say how with --augment",
            )),
            (_, Some(0)) => Err(Error::setting("cache_variants", "must be at least 1")),
            (true, None) => Ok(None),
            (false, count) => Ok(Some(Variants {
                augment,
                seed: plan.seed,
                // What no epoch takes need not be made.
                count: count.map(|count| count.min(plan.epochs)),
            })),
        }
    }

    /// What may be drawn, as run.toml has it.
    pub(super) fn drawn(&self) -> Result<Vec<(&'static str, Value)>> {
        let Augment { crop, flip, jitter } = self.augment()?;
        let list = |numbers: &[f64]| Value::from(numbers.to_vec());
        let Jitter {
            brightness,
            contrast,
            saturation,
            hue,
        } = jitter;
        let mut drawn = vec![
            ("flip", flip.into()),
            ("jitter", list(&[brightness, contrast, saturation, hue])),
        ];
        if let Some(RandomCrop { scale, ratio }) = crop {
            drawn.extend([("crop_scale", list(&scale)), ("crop_ratio", list(&ratio))]);
        }
        Ok(drawn)
    }

    /// Says what is drawn of so many `images` that are trained on, what is kept of it and what it costs.
    pub(super) fn tell(&self, plan: &Plan, prefix: &Prefix, images: usize) -> Result<()> {
        let Some(variants) = self.variants(plan)? else {
            return Ok(());
        };
        note!("augment  {}", in_words(&variants.augment));
        let epochs = plan.epochs;
        let through = |passes: usize| match prefix.from() {
            0 => format!("{passes} pictures made"),
            _ => format!("{passes} passes through the frozen layers"),
        };
        let each = format!("{} in every epoch, {epochs} times", through(images));
        match (variants.count, prefix.keeps()) {
            (Some(count), true) => note!(
                "augment  {count} variants of each of {images} images, kept: {} once, {:.1} MiB",
                through(count * images),
                (count * images * prefix.bytes_per_image()) as f64 / f64::from(1 << 20)
            ),
            (Some(count), false) => {
                note!("augment  {count} variants of each of {images} images, none kept: {each}");
            }
            (None, _) => note!(
                "augment  other variants in every epoch, none kept: {each}; --cache-variants K would keep K of each image"
            ),
        }
        Ok(())
    }
}

/// What may be drawn, in words.
fn in_words(augment: &Augment) -> String {
    let mut words = Vec::new();
    if let Some(RandomCrop { scale, ratio }) = augment.crop {
        let [least, most] = scale.map(|share| short(share * 100.0));
        let [narrow, wide] = ratio.map(short);
        words.push(format!(
            "parts of {least} to {most} % of a picture, {narrow} to {wide} times as wide as high"
        ));
    }
    if augment.flip > 0.0 {
        words.push(format!("{} % flipped", short(augment.flip * 100.0)));
    }
    let Jitter {
        brightness,
        contrast,
        saturation,
        hue,
    } = augment.jitter;
    for (name, reach) in [
        ("brightness", brightness),
        ("contrast", contrast),
        ("saturation", saturation),
        ("hue", hue),
    ] {
        if reach > 0.0 {
            words.push(format!("{name} by up to {reach}"));
        }
    }
    words.join(", ")
}

/// As many digits as a person reads.
fn short(number: f64) -> f64 {
    (number * 1e3).round() / 1e3
}
