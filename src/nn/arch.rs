//! VGG19 (Simonyan & Zisserman 2014, configuration E) as a table of layers under torchvision's names.

use crate::error::{Error, Result};
use crate::tensor::Shape;

/// One layer with weights: its name, its weight's shape, and whether a 2x2 max-pool follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// torchvision's name: `features.N` or `classifier.N`.
    pub name: String,
    /// [out, in, 3, 3] of a convolution, [out, in] of a linear layer.
    pub weight: Vec<usize>,
    /// A 2x2 max-pool with stride 2 follows the ReLU.
    pub pool: bool,
}

impl Layer {
    /// Whether this is a convolution.
    pub fn is_conv(&self) -> bool {
        self.weight.len() == 4
    }
}

/// The sizes of a network with VGG19's 19 layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arch {
    /// What [`Arch::named`] takes.
    pub name: &'static str,
    /// Channels of the five blocks.
    pub widths: [usize; 5],
    /// Width of the two hidden linear layers.
    pub hidden: usize,
    /// Number of categories.
    pub classes: usize,
}

/// torchvision's `vgg19`: 143,667,240 parameters.
pub const VGG19: Arch = Arch {
    name: "vgg19",
    widths: [64, 128, 256, 512, 512],
    hidden: 4096,
    classes: 1000,
};

/// VGG19's layers, narrow: for tests and for trying things out.
pub const VGG19_TINY: Arch = Arch {
    name: "vgg19-tiny",
    widths: [4, 8, 16, 24, 24],
    hidden: 64,
    classes: 1000,
};

/// Side of the plane that the classifier takes.
pub(crate) const POOLED: usize = 7;

impl Arch {
    /// The architecture called `name`.
    ///
    /// # Errors
    /// [`Error::Usage`] for an unknown name.
    pub fn named(name: &str) -> Result<Self> {
        [VGG19, VGG19_TINY]
            .into_iter()
            .find(|arch| arch.name == name)
            .ok_or_else(|| {
                Error::Usage(format!(
                    "there is no architecture {name:?}: use vgg19 or vgg19-tiny"
                ))
            })
    }

    /// The layers from the image to the logits.
    pub fn layers(&self) -> Vec<Layer> {
        let mut layers = Vec::new();
        let mut channels = 3;
        let mut index = 0;
        for (width, depth) in self.widths.into_iter().zip([2, 2, 4, 4, 4]) {
            for i in 0..depth {
                let pool = i == depth - 1;
                layers.push(Layer {
                    name: format!("features.{index}"),
                    weight: vec![width, channels, 3, 3],
                    pool,
                });
                channels = width;
                // A convolution and its ReLU, and a pool after the block's last.
                index += if pool { 3 } else { 2 };
            }
        }
        let mut inputs = channels * POOLED * POOLED;
        for (index, outputs) in [(0, self.hidden), (3, self.hidden), (6, self.classes)] {
            layers.push(Layer {
                name: format!("classifier.{index}"),
                weight: vec![outputs, inputs],
                pool: false,
            });
            inputs = outputs;
        }
        layers
    }

    /// The number of layers below the last one, which a new head replaces.
    pub fn trunk(&self) -> usize {
        self.layers().len() - 1
    }

    /// The names of all modules as PyTorch lists them: of layers, of the containers around them, and of what has no
    /// numbers.
    pub fn modules(&self) -> Vec<String> {
        let layers = self.layers();
        let number = |name: &str| {
            name.rsplit('.')
                .next()
                .and_then(|n| n.parse::<usize>().ok())
        };
        let mut modules: Vec<String> =
            vec!["features".into(), "avgpool".into(), "classifier".into()];
        for group in ["features", "classifier"] {
            let inside = layers.iter().filter(|l| l.name.starts_with(group));
            let last = inside.filter_map(|l| number(&l.name)).max();
            // After the last convolution come its ReLU and its pool.
            let after = if group == "features" { 2 } else { 0 };
            let count = last.map_or(0, |last| last + 1 + after);
            modules.extend((0..count).map(|index| format!("{group}.{index}")));
        }
        modules
    }

    /// The name of the last layer, which gives the logits, and how many numbers it takes.
    pub fn head(&self) -> (&'static str, usize) {
        ("classifier.6", self.hidden)
    }

    /// Every parameter's name and shape: `<layer>.weight` and `<layer>.bias`.
    pub fn parameters(&self) -> Vec<(String, Shape)> {
        self.layers()
            .into_iter()
            .flat_map(|layer| {
                [
                    (format!("{}.bias", layer.name), [layer.weight[0]].into()),
                    (format!("{}.weight", layer.name), layer.weight.into()),
                ]
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::VGG19;

    #[test]
    fn the_table_is_torchvisions() {
        let layers = VGG19.layers();
        let names: Vec<&str> = layers.iter().map(|l| l.name.as_str()).collect();
        let features = [0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34]
            .map(|i| format!("features.{i}"));
        let classifier = [0, 3, 6].map(|i| format!("classifier.{i}"));
        assert!(
            names
                .iter()
                .copied()
                .eq(features.iter().chain(&classifier).map(String::as_str))
        );
        let pooled: Vec<&str> = layers
            .iter()
            .filter(|l| l.pool)
            .map(|l| l.name.as_str())
            .collect();
        assert_eq!(
            pooled,
            [
                "features.2",
                "features.7",
                "features.16",
                "features.25",
                "features.34"
            ]
        );
        let parameters: usize = VGG19
            .parameters()
            .iter()
            .map(|(_, shape)| shape.len())
            .sum();
        assert_eq!(parameters, 143_667_240);
        assert_eq!(layers[16].weight, [4096, 25088]);
    }
}
