//! What a case makes of NaN and of infinities, one at a time: in each input, and in the gradient that comes from above.
//! They must come out where the reference has them; a run that diverges is not to look like one that does not.

use super::{Case, GRADIENT_SAMPLES, STEP, Spread, relative_error};
use crate::error::Result;
use crate::gpu::Gpu;

const KINDS: [f32; 3] = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];

impl Case {
    /// What was wrong, if anything; `data` are the inputs of the finite run.
    pub(super) fn nonfinite(&self, gpu: &Gpu, data: &[Vec<f32>]) -> Result<Option<String>> {
        for index in 0..data.len() {
            let at = self.stream("place").permutation(data[index].len())[0];
            for kind in KINDS {
                let mut data = data.to_vec();
                data[index][at] = kind;
                let found = self.record(gpu, &data)?.y.tensor.to_vec()?;
                let exact: Vec<Vec<f64>> = data.iter().map(|v| widened(v)).collect();
                let expected = (self.reference)(&exact);
                // What an image holds stays in that image, however a kernel mixes it.
                let image = |i: usize, length: usize| i * self.images(index) / length;
                let own = image(at, data[index].len());
                let near = |i: usize| image(i, found.len()) == own;
                if let Some(problem) = self.compare(&found, &expected, near, false) {
                    return Ok(Some(format!("{kind} at {at} of input {index}: {problem}")));
                }
            }
        }
        match self.differentiable {
            true => self.nonfinite_upstream(gpu, data),
            false => Ok(None),
        }
    }

    /// The same of a gradient from above with one element that is not finite: all that depend on it are not, and of those
    /// that do not, nothing changes.
    fn nonfinite_upstream(&self, gpu: &Gpu, data: &[Vec<f32>]) -> Result<Option<String>> {
        let mut exact: Vec<Vec<f64>> = data.iter().map(|v| widened(v)).collect();
        let length = (self.reference)(&exact).len();
        let upstream = self.upstream_of(length);
        for index in 0..data.len() {
            let columns = self.columns(&mut exact, index);
            // The output that some sampled input weighs most in.
            let weights = columns
                .iter()
                .flat_map(|(_, column)| column.iter().enumerate());
            let heaviest = weights.max_by(|a, b| a.1.abs().total_cmp(&b.1.abs()));
            // Where nothing changes anything, as with a softmax of one class, there is nothing to see.
            let Some((output, _)) = heaviest.filter(|(_, weight)| **weight != 0.0) else {
                continue;
            };
            for kind in KINDS {
                let mut upstream = upstream.clone();
                upstream[output] = kind;
                let gradients = self.record(gpu, data)?.gradients(&upstream)?;
                let found: Vec<f32> = columns.iter().map(|(i, _)| gradients[index][*i]).collect();
                let expected: Vec<f64> = columns
                    .iter()
                    .map(|(_, column)| {
                        let terms = column.iter().zip(&upstream);
                        let terms = terms.filter(|(weight, _)| **weight != 0.0);
                        terms.map(|(weight, &u)| weight * f64::from(u)).sum()
                    })
                    .collect();
                let image = |i: usize, length: usize| i * self.images(index) / length;
                let own = image(output, length);
                let near = |i: usize| image(columns[i].0, data[index].len()) == own;
                if let Some(problem) = self.compare(&found, &expected, near, true) {
                    return Ok(Some(format!(
                        "{kind} at {output} of the gradient from above, for that of input {index}: {problem}"
                    )));
                }
            }
        }
        Ok(None)
    }

    /// How much each output changes with some elements of input `index`, by central differences: an eighth of those whose
    /// gradient is checked.
    fn columns(&self, exact: &mut [Vec<f64>], index: usize) -> Vec<(usize, Vec<f64>)> {
        let mut chosen = self.stream("samples").permutation(exact[index].len());
        chosen.truncate(GRADIENT_SAMPLES / 8);
        let column = |i: usize| {
            let x = exact[index][i];
            exact[index][i] = x + STEP;
            let above = (self.reference)(exact);
            exact[index][i] = x - STEP;
            let below = (self.reference)(exact);
            exact[index][i] = x;
            let differences = above
                .iter()
                .zip(&below)
                .map(|(a, b)| (a - b) / (2.0 * STEP));
            (i, differences.collect())
        };
        chosen.into_iter().map(column).collect()
    }

    /// Images that input `index` and what is made of it are made of, one after the other; 1 where it is no batch of them.
    fn images(&self, index: usize) -> usize {
        match self.spread {
            Spread::Mixed if index == 0 => self.inputs[0].shape[0],
            _ => 1,
        }
    }

    /// The first element that is not as it should be, or that the finite ones are too far off. What is `near` may be mixed
    /// up with what is not finite. A gradient that goes through several products may be NaN where the sum of their
    /// products is infinite.
    fn compare(
        &self,
        found: &[f32],
        expected: &[f64],
        near: impl Fn(usize) -> bool,
        gradient: bool,
    ) -> Option<String> {
        let (mut finite, mut exact) = (Vec::new(), Vec::new());
        for (i, (&found, &expected)) in found.iter().zip(expected).enumerate() {
            let as_defined = match expected.is_finite() {
                true => found.is_finite(),
                false if expected.is_nan() => found.is_nan(),
                false => f64::from(found) == expected || (gradient && found.is_nan()),
            };
            match (as_defined, self.spread) {
                (true, _) if expected.is_finite() => {
                    finite.push(found);
                    exact.push(expected);
                }
                (true, _) => {}
                (false, Spread::Mixed) if !found.is_finite() && near(i) => {}
                _ => return Some(format!("element {i} is {found}, not {expected}")),
            }
        }
        let error = relative_error(&finite, &exact);
        (error > self.tolerance).then(|| format!("the finite elements are {error:.0e} off"))
    }
}

fn widened(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&x| f64::from(x)).collect()
}
