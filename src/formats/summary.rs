//! What a file of tensors or an adapter's folder holds, for people: `goldfish inspect` prints it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::adapter::{CONFIG, MODEL, files};
use super::entry::float;
use super::settings::Settings;
use super::weights::Tensors;
use crate::error::Result;
use crate::nn::weights::Stored;

/// One tensor.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TensorSummary {
    /// Its name in the file.
    pub name: String,
    /// Its type as safetensors spells it.
    pub dtype: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// The root of the sum of its squares, of floating-point numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub norm: Option<f64>,
}

/// The LoRA of one module.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ModuleSummary {
    /// Its name.
    pub module: String,
    /// The rank r, A's first dimension.
    pub rank: usize,
    /// `lora_alpha`, where there are settings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alpha: Option<f64>,
    /// What B A is scaled by, where there are settings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale: Option<f64>,
    /// Frobenius norm of A.
    pub norm_a: f64,
    /// Frobenius norm of B.
    pub norm_b: f64,
    /// Frobenius norm of B A, unscaled.
    pub norm_ba: f64,
}

/// A file's content.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Bytes of the file.
    pub bytes: u64,
    /// Numbers in all tensors.
    pub parameters: usize,
    /// The file's own notes.
    pub metadata: BTreeMap<String, String>,
    /// What an adapter's settings say it was trained on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// LoRAs, of an adapter.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub modules: Vec<ModuleSummary>,
    /// Every tensor, by name.
    pub tensors: Vec<TensorSummary>,
}

impl Summary {
    /// Reads a file of tensors, or the one in a run's folder with its settings.
    ///
    /// # Errors
    /// [`crate::Error::Io`] where it cannot be opened, [`crate::Error::Data`] where it is damaged.
    pub fn read(path: &Path) -> Result<Self> {
        // Other files than an adapter's are looked at alone.
        let adapter = path.is_dir() || path.ends_with(MODEL) || path.ends_with(CONFIG);
        let [config, file] = match adapter {
            true => files(path),
            false => [PathBuf::new(), path.to_path_buf()],
        };
        let settings = (path.is_dir() || config.exists())
            .then(|| Settings::read(&config))
            .transpose()?;
        let tensors = Tensors::open(&file)?;
        let mut summary = Summary {
            bytes: tensors.bytes(),
            parameters: 0,
            metadata: tensors.metadata().clone(),
            base: settings.as_ref().map(|s| s.base.clone()),
            modules: Vec::new(),
            tensors: Vec::new(),
        };
        let mut factors: BTreeMap<String, [Option<Factor>; 2]> = BTreeMap::new();
        tensors.each(|name, dtype, shape, bytes| {
            let values = float(dtype).map(|float| f64s(Stored { float, bytes }));
            summary.parameters += shape.iter().product::<usize>();
            summary.tensors.push(TensorSummary {
                name: name.into(),
                dtype: format!("{dtype:?}"),
                shape: shape.to_vec(),
                norm: values.as_deref().map(norm),
            });
            let stem = name.strip_suffix(".weight").unwrap_or(name);
            for (index, factor) in [".lora_A", ".lora_B"].iter().enumerate() {
                if let (Some(module), Some(values)) = (stem.strip_suffix(factor), &values) {
                    let module = module.strip_prefix("base_model.model.").unwrap_or(module);
                    factors.entry(module.into()).or_default()[index] = Some(Factor {
                        rows: shape.first().copied().unwrap_or(1).max(1),
                        values: values.clone(),
                    });
                }
            }
        });
        for (module, pair) in factors {
            if let [Some(a), Some(b)] = pair {
                summary
                    .modules
                    .push(describe(module, &a, &b, settings.as_ref()));
            }
        }
        Ok(summary)
    }
}

struct Factor {
    rows: usize,
    values: Vec<f64>,
}

fn describe(module: String, a: &Factor, b: &Factor, settings: Option<&Settings>) -> ModuleSummary {
    let rank = a.rows;
    let alpha = settings.map(|s| s.alpha_of(&module));
    let root = settings.is_some_and(|s| s.rslora);
    let over = if root {
        (rank as f64).sqrt()
    } else {
        rank as f64
    };
    ModuleSummary {
        rank,
        alpha,
        scale: alpha.map(|alpha| alpha / over),
        norm_a: norm(&a.values),
        norm_b: norm(&b.values),
        norm_ba: norm_of_product(a, b),
        module,
    }
}

fn norm(values: &[f64]) -> f64 {
    values.iter().map(|v| v * v).sum::<f64>().sqrt()
}

/// |B A| from the factors' small products: its square is the sum of (B^T B) times (A A^T), element by element. Where the
/// rank is above the layer's own sizes those are the larger ones, and B A is made.
fn norm_of_product(a: &Factor, b: &Factor) -> f64 {
    let rank = a.rows;
    let (columns, outputs) = (a.values.len() / rank, b.values.len() / rank);
    let mut square = 0.0;
    if rank * (columns + outputs) > columns * outputs {
        for row in b.values.chunks_exact(rank) {
            for column in 0..columns {
                let a = a.values.iter().skip(column).step_by(columns);
                square += row.iter().zip(a).map(|(b, a)| b * a).sum::<f64>().powi(2);
            }
        }
        return square.sqrt();
    }
    for i in 0..rank {
        for j in 0..rank {
            let row = |r: usize| &a.values[r * columns..(r + 1) * columns];
            let aa: f64 = row(i).iter().zip(row(j)).map(|(x, y)| x * y).sum();
            let column = |r: usize, o: usize| b.values[o * rank + r];
            let bb: f64 = (0..outputs).map(|o| column(i, o) * column(j, o)).sum();
            square += aa * bb;
        }
    }
    square.max(0.0).sqrt()
}

fn f64s(numbers: Stored) -> Vec<f64> {
    let mut values = vec![0.0; numbers.count()];
    numbers.widen(&mut values);
    values.into_iter().map(f64::from).collect()
}

#[cfg(test)]
mod tests {
    use super::{Factor, norm, norm_of_product};

    #[test]
    fn the_norm_of_a_product_is_the_same_either_way() {
        // By the small products, and with rank 7 between 2 and 3 by the large one.
        for (rank, columns, outputs) in [(2, 9, 8), (7, 2, 3)] {
            let numbers = |count: usize| -> Vec<f64> {
                (0..count).map(|i| (i * i % 11) as f64 - 4.5).collect()
            };
            let (a, b) = (numbers(rank * columns), numbers(outputs * rank));
            let mut product = vec![0.0; outputs * columns];
            for (index, value) in product.iter_mut().enumerate() {
                let (o, c) = (index / columns, index % columns);
                *value = (0..rank)
                    .map(|r| b[o * rank + r] * a[r * columns + c])
                    .sum();
            }
            let factor = |values: &[f64]| Factor {
                rows: rank,
                values: values.to_vec(),
            };
            let found = norm_of_product(&factor(&a), &factor(&b));
            assert!((found - norm(&product)).abs() < 1e-9, "{found}");
        }
    }
}
