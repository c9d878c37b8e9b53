//! The batch norms of a network at rest: a factor and a sum a channel, which the convolution before each takes in when
//! it is loaded, in f64.

use crate::error::{Error, Result};
use crate::nn::arch::Layer;
use crate::nn::weights::Source;

/// What torchvision adds to a variance.
const EPSILON: f64 = 1e-5;

/// A batch norm after a convolution, as y = factor (x - mean) + shift.
pub(crate) struct Norm {
    factors: Vec<f64>,
    means: Vec<f64>,
    shifts: Vec<f64>,
}

impl Norm {
    /// What follows `layer`, where something does.
    ///
    /// # Errors
    /// [`Error::Usage`] where a variance is none.
    pub(crate) fn of(source: &Source, layer: &Layer) -> Result<Option<Self>> {
        let Some(norm) = &layer.norm else {
            return Ok(None);
        };
        let read = |part: &str| -> Vec<f64> {
            let values = source.read(&format!("{norm}.{part}"), &layer.weight[..1]);
            values.into_iter().map(f64::from).collect()
        };
        let variances = read("running_var");
        // Not the other way round: NaN is none either.
        if !variances.iter().all(|&variance| variance >= 0.0) {
            return Err(Error::Usage(format!(
                "{norm}.running_var has numbers below zero, which no variance is"
            )));
        }
        let pairs = read("weight").into_iter().zip(variances);
        Ok(Some(Norm {
            factors: pairs
                .map(|(g, variance)| g / (variance + EPSILON).sqrt())
                .collect(),
            means: read("running_mean"),
            shifts: read("bias"),
        }))
    }

    /// What each channel is multiplied by.
    pub(crate) fn factors(&self) -> Vec<f32> {
        self.factors.iter().map(|&factor| factor as f32).collect()
    }

    /// Works itself into the convolution's `weight` [out, ...] and `bias` [out].
    ///
    /// # Errors
    /// [`Error::Usage`] where a number is beyond f32.
    pub(crate) fn fold(&self, layer: &Layer, weight: &mut [f32], bias: &mut [f32]) -> Result<()> {
        let columns = weight.len() / bias.len();
        for (row, factor) in weight.chunks_mut(columns).zip(&self.factors) {
            for value in row {
                *value = (f64::from(*value) * factor) as f32;
            }
        }
        for (channel, value) in bias.iter_mut().enumerate() {
            let centred = f64::from(*value) - self.means[channel];
            *value = (centred * self.factors[channel] + self.shifts[channel]) as f32;
        }
        if weight.iter().chain(&*bias).all(|value| value.is_finite()) {
            return Ok(());
        }
        Err(Error::Usage(format!(
            "{} has numbers beyond f32 once its batch norm is worked in: its variances are too small or its weights too \
             large",
            layer.name
        )))
    }
}
