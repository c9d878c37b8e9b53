//! The VGG networks (Simonyan & Zisserman 2014, configurations A, B, D and E, with and without batch norm) as tables of
//! layers under torchvision's names.

use crate::error::{Error, Result};
use crate::tensor::Shape;

/// One layer with weights: its name, its weight's shape, and what follows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// torchvision's name: `features.N`, `classifier.N`, or `classifier` of a classifier that is one layer.
    pub name: String,
    /// [out, in, 3, 3] of a convolution, [out, in] of a linear layer.
    pub weight: Vec<usize>,
    /// The name of the batch norm that follows it.
    pub norm: Option<String>,
    /// A ReLU follows, which is so everywhere but at the logits.
    pub relu: bool,
    /// A 2x2 max-pool with stride 2 follows the ReLU.
    pub pool: bool,
}

impl Layer {
    /// Whether this is a convolution.
    pub fn is_conv(&self) -> bool {
        self.weight.len() == 4
    }

    /// Bytes of its weight and its bias in f32.
    pub fn bytes(&self) -> u64 {
        (self.weight.iter().product::<usize>() + self.weight[0]) as u64 * 4
    }

    /// The names and shapes of its parameters in a file: of a batch norm, all that is not trained too.
    pub(crate) fn parameters(&self) -> impl Iterator<Item = (String, Shape)> {
        let norm = self.norm.iter().flat_map(|norm| {
            ["bias", "running_mean", "running_var", "weight"].map(|part| format!("{norm}.{part}"))
        });
        let vectors = std::iter::once(format!("{}.bias", self.name)).chain(norm);
        let vectors = vectors.map(|name| (name, [self.weight[0]].into()));
        vectors.chain([(format!("{}.weight", self.name), self.weight.clone().into())])
    }
}

/// The sizes of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arch {
    /// What [`Arch::named`] takes.
    pub name: &'static str,
    /// Channels of the five blocks.
    pub widths: [usize; 5],
    /// Convolutions of the five blocks.
    pub depths: [usize; 5],
    /// A batch norm stands between each convolution and its ReLU.
    pub batch_norm: bool,
    /// Width of the two hidden linear layers; 0 where there are none.
    pub hidden: usize,
    /// Number of categories; 0 where the network ends before the layer that makes them.
    pub classes: usize,
}

const A: [usize; 5] = [1, 1, 2, 2, 2];
const B: [usize; 5] = [2, 2, 2, 2, 2];
const D: [usize; 5] = [2, 2, 3, 3, 3];
const E: [usize; 5] = [2, 2, 4, 4, 4];

/// A network of torchvision's widths.
const fn wide(name: &'static str, depths: [usize; 5], batch_norm: bool) -> Arch {
    Arch {
        name,
        widths: [64, 128, 256, 512, 512],
        depths,
        batch_norm,
        hidden: 4096,
        classes: 1000,
    }
}

/// The same layers, narrow: for tests and for trying things out.
const fn tiny(name: &'static str, depths: [usize; 5], batch_norm: bool) -> Arch {
    Arch {
        widths: [4, 8, 16, 24, 24],
        hidden: 64,
        ..wide(name, depths, batch_norm)
    }
}

/// torchvision's `vgg19`: 143,667,240 parameters.
pub const VGG19: Arch = wide("vgg19", E, false);

/// VGG19's layers, narrow: for tests and for trying things out.
pub const VGG19_TINY: Arch = tiny("vgg19-tiny", E, false);

/// Every architecture that has a name: torchvision's eight, and each of them narrow.
pub const ALL: [Arch; 16] = [
    wide("vgg11", A, false),
    wide("vgg11_bn", A, true),
    wide("vgg13", B, false),
    wide("vgg13_bn", B, true),
    wide("vgg16", D, false),
    wide("vgg16_bn", D, true),
    VGG19,
    wide("vgg19_bn", E, true),
    tiny("vgg11-tiny", A, false),
    tiny("vgg11_bn-tiny", A, true),
    tiny("vgg13-tiny", B, false),
    tiny("vgg13_bn-tiny", B, true),
    tiny("vgg16-tiny", D, false),
    tiny("vgg16_bn-tiny", D, true),
    VGG19_TINY,
    tiny("vgg19_bn-tiny", E, true),
];

/// Side of the plane that the classifier takes.
pub(crate) const POOLED: usize = 7;

impl Arch {
    /// The architecture called `name`, with ImageNet's classes.
    ///
    /// # Errors
    /// [`Error::Usage`] for an unknown name.
    pub fn named(name: &str) -> Result<Self> {
        let found = ALL.into_iter().find(|arch| arch.name == name);
        found.ok_or_else(|| {
            Error::Usage(format!(
                "there is no architecture {name:?}: use vgg11, vgg13, vgg16 or vgg19, with batch norm vgg19_bn and so on, \
                 narrow vgg19-tiny and so on"
            ))
        })
    }

    /// The convolutions from the image to the planes that are averaged for the classifier.
    pub fn convolutions(&self) -> Vec<Layer> {
        let mut layers = Vec::new();
        let mut channels = 3;
        let mut index = 0;
        for (width, depth) in self.widths.into_iter().zip(self.depths) {
            for i in 0..depth {
                let pool = i == depth - 1;
                layers.push(Layer {
                    name: format!("features.{index}"),
                    weight: vec![width, channels, 3, 3],
                    norm: self.batch_norm.then(|| format!("features.{}", index + 1)),
                    relu: true,
                    pool,
                });
                channels = width;
                // A convolution, its batch norm and its ReLU, and a pool after the block's last.
                index += 2 + usize::from(self.batch_norm) + usize::from(pool);
            }
        }
        layers
    }

    /// The layers from the image to the logits, or to where the network ends.
    pub fn layers(&self) -> Vec<Layer> {
        let mut layers = self.convolutions();
        let mut linear = |name: &str, [outputs, inputs]: [usize; 2], relu| {
            layers.push(Layer {
                name: name.into(),
                weight: vec![outputs, inputs],
                norm: None,
                relu,
                pool: false,
            });
        };
        if self.hidden > 0 {
            linear("classifier.0", [self.hidden, self.pooled()], true);
            linear("classifier.3", [self.hidden, self.hidden], true);
        }
        if self.classes > 0 {
            let (name, inputs) = self.head();
            linear(name, [self.classes, inputs], false);
        }
        layers
    }

    /// The name and the inputs of the layer that makes the logits, whether the network has it or not.
    pub fn head(&self) -> (&'static str, usize) {
        match self.hidden {
            0 => ("classifier", self.pooled()),
            hidden => ("classifier.6", hidden),
        }
    }

    /// Numbers of an image that the classifier takes.
    fn pooled(&self) -> usize {
        self.widths[4] * POOLED * POOLED
    }

    /// The number of layers below the one that makes the logits, which a new head replaces.
    pub fn trunk(&self) -> usize {
        self.layers().len() - usize::from(self.classes > 0)
    }

    /// The layers of a network that is without its last where an adapter's head is in its place.
    pub fn below_head(&self, headless: bool) -> Vec<Layer> {
        let mut layers = self.layers();
        if headless {
            layers.truncate(self.trunk());
        }
        layers
    }

    /// Numbers that layer number `layer` takes for an image of `side`: C S S of a convolution, the columns of a linear
    /// layer, behind the last the classes, or what a head takes.
    pub fn row_len(&self, headless: bool, layer: usize, side: usize) -> usize {
        let layers = self.below_head(headless);
        match layers.get(layer) {
            None if headless || self.classes == 0 => self.head().1,
            None => self.classes,
            Some(found) if found.is_conv() => {
                let halvings = layers[..layer].iter().filter(|l| l.pool).count();
                found.weight[1] * (side >> halvings).pow(2)
            }
            Some(found) => found.weight[1],
        }
    }

    /// Numbers of the product of a linear layer's weight and what it takes of an image; `None` of any other.
    pub fn product_len(&self, headless: bool, layer: usize) -> Option<usize> {
        let layers = self.below_head(headless);
        let linear = layers.get(layer).filter(|layer| !layer.is_conv());
        linear.map(|layer| layer.weight[0])
    }

    /// The names of all modules as PyTorch lists them: of layers, of the containers around them, and of what has no
    /// numbers.
    pub fn modules(&self) -> Vec<String> {
        let groups = ["features", "avgpool", "classifier"].map(String::from);
        // A convolution comes with its ReLU and maybe a batch norm, and each block with its pool.
        let each = 2 + usize::from(self.batch_norm);
        let features = self.depths.iter().map(|depth| depth * each + 1).sum();
        // Three linear layers, the first two with ReLU and dropout.
        let classifier = if self.hidden > 0 { 7 } else { 0 };
        let inside = [("features", features), ("classifier", classifier)];
        let inside = inside
            .into_iter()
            .flat_map(|(group, count)| (0..count).map(move |index| format!("{group}.{index}")));
        groups.into_iter().chain(inside).collect()
    }

    /// Every parameter's name and shape in a file: `<layer>.weight` and `<layer>.bias`, and of a batch norm
    /// `running_mean` and `running_var` too.
    pub fn parameters(&self) -> Vec<(String, Shape)> {
        let layers = self.layers();
        layers.iter().flat_map(Layer::parameters).collect()
    }

    /// The names under which PyTorch counts the batches that a batch norm has seen, each a number that changes nothing.
    pub fn counters(&self) -> Vec<String> {
        let norms = self.convolutions().into_iter().filter_map(|l| l.norm);
        norms
            .map(|norm| format!("{norm}.num_batches_tracked"))
            .collect()
    }
}

/// How many of the layers at the start of `layers` are convolutions whose planes, `side` by `side` at the first, are more
/// numbers than their weights.
pub(crate) fn large_planes<'a>(layers: impl Iterator<Item = &'a Layer>, mut side: usize) -> usize {
    let large = layers.take_while(|layer| {
        let planes = layer.weight[..2]
            .iter()
            .max()
            .map_or(0, |c| c * side * side);
        side >>= usize::from(layer.pool);
        layer.is_conv() && planes > layer.weight.iter().product()
    });
    large.count()
}

#[cfg(test)]
mod tests {
    use super::{ALL, Arch, VGG19, large_planes};

    #[test]
    fn planes_are_large_as_long_as_they_outweigh_their_layer() {
        let large = |name: &str, side| {
            let layers = Arch::named(name).expect("it has a name").layers();
            large_planes(layers.iter(), side)
        };
        // At 224 through three pools.
        let sides = [64, 224, 448, 1024];
        assert_eq!(sides.map(|side| large("vgg19", side)), [3, 8, 9, 12]);
        assert_eq!(large("vgg11", 224), 4);
        assert_eq!(large("vgg19-tiny", 224), 12);
    }

    #[test]
    fn the_tables_are_torchvisions() {
        // torchvision's own counts of parameters, and where its last convolution stands.
        for (name, parameters, last) in [
            ("vgg11", 132_863_336, "features.18"),
            ("vgg11_bn", 132_868_840, "features.25"),
            ("vgg13", 133_047_848, "features.22"),
            ("vgg13_bn", 133_053_736, "features.31"),
            ("vgg16", 138_357_544, "features.28"),
            ("vgg16_bn", 138_365_992, "features.40"),
            ("vgg19", 143_667_240, "features.34"),
            ("vgg19_bn", 143_678_248, "features.49"),
        ] {
            let arch = Arch::named(name).expect("it has a name");
            let trained = arch.parameters().into_iter();
            let trained = trained.filter(|(name, _)| !name.contains("running"));
            let count: usize = trained.map(|(_, shape)| shape.len()).sum();
            assert_eq!(count, parameters, "{name}");
            let convs = arch.convolutions();
            assert_eq!(convs[convs.len() - 1].name, last);
            assert_eq!(
                arch.counters().len(),
                if arch.batch_norm { convs.len() } else { 0 }
            );
            assert_eq!(convs.iter().filter(|l| l.pool).count(), 5);
        }
        assert!(Arch::named("vgg12").is_err());
    }

    #[test]
    fn names_differ() {
        for (index, arch) in ALL.iter().enumerate() {
            assert!(ALL[..index].iter().all(|other| other.name != arch.name));
            assert_eq!(Arch::named(arch.name).expect("it has a name"), *arch);
        }
    }

    #[test]
    fn a_network_without_a_classifier_ends_with_its_planes() {
        let none = Arch {
            hidden: 0,
            classes: 0,
            ..VGG19
        };
        assert_eq!(none.layers(), none.convolutions());
        assert_eq!(none.head(), ("classifier", 25088));
        let linear = Arch { classes: 3, ..none };
        let layers = linear.layers();
        assert_eq!(layers.len(), 17);
        assert_eq!((&*layers[16].name, layers[16].relu), ("classifier", false));
        assert_eq!(layers[16].weight, [3, 25088]);
        let hidden = Arch {
            classes: 0,
            ..VGG19
        };
        assert_eq!(
            (hidden.layers().len(), hidden.head()),
            (18, ("classifier.6", 4096))
        );
    }

    #[test]
    fn vgg19s_layers_have_torchvisions_names() {
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
