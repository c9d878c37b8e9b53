//! The choices of this op for a network's frozen weights: see `gpu/tune.rs`.

use super::cut::{Cut, Cuts, Site};
use super::{Weight, backward_x, forward};
use crate::error::Result;
use crate::gpu::tune::{Choices, Family, Measured, Trial, noise};
use crate::gpu::{Gpu, Kernel};
use crate::tensor::{Halves, Precision, Tensor};

/// Rows of a measurement.
const ROWS: usize = 8;
/// Bytes of a measurement's weight at most: more than a cache holds.
const BYTES: usize = 256 << 20;

/// Makes the choices of one network.
pub(crate) struct Tuner {
    device: Device,
    choices: Choices,
}

struct Device(Gpu);

impl Tuner {
    /// With what is kept in `choices`.
    pub(crate) fn new(choices: Choices) -> Self {
        Tuner {
            device: Device(choices.gpu().clone()),
            choices,
        }
    }

    /// Of `sites`, those that there is a choice for.
    fn suited(&self, sites: &[Site]) -> Vec<Site> {
        let suited = sites.iter().filter(|site| site.suits(&self.device.0));
        suited.copied().collect()
    }

    /// How many candidates [`Tuner::measure`] will measure.
    pub(crate) fn left(&self, sites: &[Site]) -> usize {
        self.choices.left(&self.device, &self.suited(sites))
    }

    /// Measures what no earlier run did for `sites`, and keeps it: as [`Choices::measure`].
    pub(crate) fn measure(
        &mut self,
        sites: &[Site],
        progress: impl FnMut(usize, usize) -> Result<()>,
    ) -> Result<Measured> {
        let sites = self.suited(sites);
        self.choices.measure(&self.device, &sites, progress)
    }

    /// How both products of a weight are cut up, whose forward one is `site`: as was measured, where it was.
    pub(crate) fn cuts(&self, site: &Site) -> Cuts {
        let kept = |site: Site| {
            let suited = site.suits(&self.device.0);
            suited.then(|| self.choices.kept(&self.device, &site))?
        };
        Cuts {
            forward: kept(*site),
            backward: kept(Site {
                gradient: true,
                ..*site
            }),
        }
    }

    /// What of the choice for `site` decides how numbers are rounded; `None` where there is no choice.
    pub(crate) fn rounding(&self, site: &Site) -> Option<String> {
        let suited = site.suits(&self.device.0);
        let kept = suited.then(|| self.choices.kept(&self.device, site))?;
        let cut = kept.unwrap_or(site.fixed());
        Some(format!("linear in {}", cut.span))
    }
}

impl Family for Device {
    type Site = Site;
    type Choice = Cut;

    fn candidates(&self, site: &Site) -> Vec<Cut> {
        site.candidates()
    }

    fn kernels(&self, site: &Site, cut: Cut) -> Vec<&'static Kernel> {
        vec![site.kernel(cut, ROWS)]
    }

    fn trial<'a>(&'a self, site: &'a Site) -> Result<Trial<'a, Cut>> {
        let gpu = &self.0;
        let most = BYTES / (site.k * 4);
        let shape = [site.out.min(most.max(1)), site.k];
        let values = noise("w", shape[0] * shape[1], 1.0 / (site.k as f64).sqrt());
        let fill = |first: usize, out: &mut [f32]| {
            out.copy_from_slice(&values[first..][..out.len()]);
        };
        let (plain, halves) = match site.precision {
            Precision::F32 => (Some(Tensor::from_fn(gpu, shape, fill)?), None),
            Precision::F16 => (None, Some(Halves::from_fn(gpu, shape, fill)?)),
        };
        drop(values);
        let taken = if site.gradient { shape[0] } else { site.k };
        let x = Tensor::from_slice(gpu, [ROWS, taken], &noise("x", ROWS * taken, 1.0))?;
        Ok(Box::new(move |cut| {
            let weight = match (&plain, &halves) {
                (Some(plain), _) => Weight::from(plain),
                (None, Some(halves)) => Weight::from(halves),
                (None, None) => unreachable!("one of both was made"),
            };
            let weight = weight.cut(Cuts {
                forward: Some(cut),
                backward: Some(cut),
            });
            match site.gradient {
                true => backward_x(&x, weight, 1.0),
                false => forward(&x, weight, 1.0),
            }
            .map(drop)
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::GpuOptions;
    use crate::gpu::Tuning;

    fn gpu(stamps: bool) -> Option<Gpu> {
        let options = GpuOptions {
            stamps,
            device: std::env::var("GOLDFISH_DEVICE").ok(),
            ..GpuOptions::default()
        };
        Gpu::open(&options).ok()
    }

    /// One choice has the host asleep, the other the device busy.
    struct Odd(Gpu);

    impl Family for Odd {
        type Site = &'static str;
        type Choice = &'static str;

        fn candidates(&self, _: &Self::Site) -> Vec<Self::Choice> {
            vec!["busy", "asleep"]
        }

        fn kernels(&self, _: &Self::Site, _: Self::Choice) -> Vec<&'static Kernel> {
            Vec::new()
        }

        fn trial<'a>(&'a self, _: &'a Self::Site) -> Result<Trial<'a, Self::Choice>> {
            let weight = Tensor::from_slice(&self.0, [2048, 2048], &noise("w", 1 << 22, 1.0))?;
            let x = Tensor::from_slice(&self.0, [8, 2048], &noise("x", 8 << 11, 1.0))?;
            let small = Tensor::from_slice(&self.0, [17, 64], &noise("s", 17 * 64, 1.0))?;
            let one = Tensor::from_slice(&self.0, [1, 64], &noise("o", 64, 1.0))?;
            Ok(Box::new(move |choice| {
                if choice == "asleep" {
                    std::thread::sleep(Duration::from_millis(400));
                    return forward(&one, &small, 1.0).map(drop);
                }
                forward(&x, &weight, 1.0).map(drop)
            }))
        }
    }

    #[test]
    fn a_device_is_timed_by_its_stamps_where_it_has_them_and_else_by_the_clock() {
        for stamps in [false, true] {
            let Some(gpu) = gpu(stamps) else {
                assert!(stamps, "there is a device");
                continue;
            };
            let folder = tempfile::tempdir().expect("a folder");
            let tuning = Tuning::new(folder.path().join("choices.json"), true);
            let mut choices = Choices::new(&gpu, Some(&tuning));
            let family = Odd(gpu.clone());
            let measured = choices.measure(&family, &["odd"], |_, _| Ok(()));
            assert_eq!(measured.expect("measured").choices, 1);
            let expected = if gpu.has_stamps() { "asleep" } else { "busy" };
            assert_eq!(choices.kept(&family, &"odd"), Some(expected));
            // A GPU has them unasked, where it has them at all.
            assert!(!gpu.is_software() || gpu.has_stamps() == stamps);
        }
    }

    #[test]
    fn rows_and_outs_change_no_bit_and_other_spans_do() {
        let gpu = gpu(false).expect("a device");
        for (gradient, [k, out]) in [(false, [2500, 33]), (true, [76, 300])] {
            let site = Site {
                k,
                out,
                precision: Precision::F16,
                gradient,
            };
            assert!(site.suits(&gpu));
            let values = noise("w", k * out, 1.0);
            let fill = |first: usize, out: &mut [f32]| {
                out.copy_from_slice(&values[first..][..out.len()]);
            };
            let w = Halves::from_fn(&gpu, [out, k], fill).expect("a weight");
            let taken = if gradient { out } else { k };
            let x = noise("rows", 9 * taken, 1.0);
            let result = |cut: Cut, n: usize| {
                let x = Tensor::from_slice(&gpu, [n, taken], &x[..n * taken]).expect("rows");
                let weight = Weight::from(&w).cut(Cuts {
                    forward: Some(cut),
                    backward: Some(cut),
                });
                let y = match gradient {
                    true => backward_x(&x, weight, 0.5),
                    false => forward(&x, weight, 0.5),
                };
                y.expect("a product").to_vec().expect("numbers")
            };
            let all = site.candidates();
            let fixed = result(all[0], 9);
            let mut differ = 0;
            for &cut in &all {
                let y = result(cut, 9);
                // Of one row as of nine.
                let alone = result(cut, 1);
                assert_eq!(alone, y[..alone.len()], "{site}: {cut}");
                if cut.span == all[0].span {
                    assert_eq!(y, fixed, "{site}: {cut}");
                } else {
                    differ += usize::from(y != fixed);
                }
            }
            assert!(differ > 0, "{site}");
        }
    }
}
