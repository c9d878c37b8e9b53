//! Logits to named predictions.

use serde::{Deserialize, Serialize};

use super::classes::Classes;

/// One category with what the network says of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// Index of the category.
    pub index: usize,
    /// Its name.
    pub category: String,
    /// The network's output.
    pub logit: f32,
    /// Softmax over all classes.
    pub probability: f32,
}

/// The `count` classes of the largest logits, largest first, equal ones by index.
pub fn top(logits: &[f32], count: usize, classes: &Classes) -> Vec<Prediction> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weight = |logit: f32| f64::from(logit - largest).exp();
    let sum: f64 = logits.iter().map(|&logit| weight(logit)).sum();
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|&i, &j| logits[j].total_cmp(&logits[i]).then(i.cmp(&j)));
    order
        .into_iter()
        .take(count)
        .map(|index| Prediction {
            index,
            category: classes.name(index),
            logit: logits[index],
            probability: (weight(logits[index]) / sum) as f32,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Classes, top};

    #[test]
    fn the_largest_logits_come_first_and_probabilities_sum_to_one() {
        let mut logits = vec![0.0; 1000];
        (logits[1], logits[7], logits[3]) = (9.0, 11.0, 9.0);
        let all = top(&logits, 1000, &Classes::imagenet());
        let order: Vec<usize> = all[..4].iter().map(|p| p.index).collect();
        assert_eq!(order, [7, 1, 3, 0]);
        assert_eq!(all[1].category, "goldfish");
        let sum: f64 = all.iter().map(|p| f64::from(p.probability)).sum();
        assert!((sum - 1.0).abs() < 1e-6, "{sum}");
    }
}
