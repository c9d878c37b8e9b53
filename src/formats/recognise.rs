//! Which network a file's tensors make: the names and the shapes tell.

use std::collections::BTreeMap;

use super::entry::shown;
use crate::nn::Arch;
use crate::nn::arch::{ALL, Layer};

/// The shapes of a file's tensors by torchvision's names.
pub(super) type Shapes = BTreeMap<String, Vec<usize>>;

/// The first convolution, which every VGG has.
const FIRST: &str = "features.0.weight";

/// The network that tensors of these shapes make, or what they are instead, as a sentence that follows the file's name.
pub(super) fn recognise(shapes: &Shapes) -> Result<Arch, String> {
    if let Some(problem) = prefixed(shapes) {
        return Err(problem);
    }
    let convs = convolutions(shapes);
    let family: Vec<Arch> = ALL
        .into_iter()
        .filter(|arch| places(&arch.convolutions()).eq(convs.keys().copied()))
        .filter(|arch| arch.batch_norm == shapes.contains_key("features.1.running_mean"))
        .collect();
    let Some(full) = family.first() else {
        return Err(no_vgg(shapes));
    };
    let fits = |arch: &&Arch| {
        let layers = arch.convolutions();
        layers
            .iter()
            .zip(convs.values())
            .all(|(layer, shape)| layer.weight == **shape)
    };
    let Some(arch) = family.iter().find(fits) else {
        let widths: Vec<String> = convs.values().map(|shape| shape[0].to_string()).collect();
        return Err(format!(
            "holds a {} with layers of {} channels, which is none that there is: {} or {}",
            full.name,
            widths.join(", "),
            full.name,
            family[family.len() - 1].name
        ));
    };
    let outputs = |layer: &str| {
        let shape = shapes.get(&format!("{layer}.weight"));
        shape.and_then(|shape| shape.first()).copied().unwrap_or(0)
    };
    let hidden = outputs("classifier.0");
    let trunk = Arch {
        hidden,
        classes: 0,
        ..*arch
    };
    Ok(Arch {
        classes: outputs(trunk.head().0),
        ..trunk
    })
}

/// What is wrong where tensors of these shapes are plainly another network than `arch`.
pub(super) fn another_network(arch: Arch, shapes: &Shapes) -> Option<String> {
    if let Some(problem) = prefixed(shapes) {
        return Some(problem);
    }
    let found = match recognise(shapes) {
        Ok(found) => found,
        // A layer of another shape is told of by its name.
        Err(_) if shapes.contains_key(FIRST) => return None,
        Err(problem) => return Some(problem),
    };
    if found.name != arch.name && arch.layers() != found.layers() {
        return Some(format!(
            "holds a {}, and {} is asked for",
            found.name, arch.name
        ));
    }
    if found.classes == 0 && arch.classes > 0 {
        return Some(format!(
            "holds no {}: this base has no classifier. Train one for classes of your own",
            arch.head().0
        ));
    }
    (found.classes != arch.classes && found.hidden == arch.hidden).then(|| {
        format!(
            "has a head of {} outputs ({}.weight), and {} are asked for",
            found.classes,
            found.head().0,
            arch.classes
        )
    })
}

/// The prefix that the names have, where they would fit without it.
fn prefixed(shapes: &Shapes) -> Option<String> {
    let mut prefixes = shapes.keys().filter_map(|name| name.strip_suffix(FIRST));
    let prefix = prefixes.find(|prefix| prefix.ends_with('.'))?;
    (!shapes.contains_key(FIRST)).then(|| {
        format!(
            "names its parameters with the prefix {prefix:?}. Save them without it: {{k.removeprefix({prefix:?}): v for k, v \
             in state_dict.items() if k.startswith({prefix:?})}}"
        )
    })
}

/// The 3x3 convolutions under `features` by their place there.
fn convolutions(shapes: &Shapes) -> BTreeMap<usize, &Vec<usize>> {
    let convs = shapes.iter().filter_map(|(name, shape)| {
        let place = name.strip_prefix("features.")?.strip_suffix(".weight")?;
        let place = place.parse().ok()?;
        matches!(shape[..], [_, _, 3, 3]).then_some((place, shape))
    });
    convs.collect()
}

fn places(layers: &[Layer]) -> impl Iterator<Item = usize> {
    let places = layers
        .iter()
        .filter_map(|layer| layer.name.split('.').next_back());
    places.filter_map(|place| place.parse().ok())
}

fn no_vgg(shapes: &Shapes) -> String {
    const SHOWN: usize = 3;
    let convs = convolutions(shapes);
    if shapes.contains_key(FIRST) && !convs.is_empty() {
        let places: Vec<String> = convs.keys().map(usize::to_string).collect();
        return format!(
            "is of no VGG that there is (11, 13, 16 or 19 layers, with batch norm or without): its 3x3 convolutions are \
             features.{}",
            places.join(", ")
        );
    }
    let first: Vec<String> = shapes.keys().take(SHOWN).map(|name| shown(name)).collect();
    match first.is_empty() {
        true => "holds no VGG: it has no tensors".into(),
        false => format!(
            "holds no VGG: its first tensors are {}. Name the weights of a VGG11, 13, 16 or 19",
            first.join(", ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::{Shapes, another_network, recognise};
    use crate::nn::Arch;
    use crate::nn::arch::{ALL, VGG19, VGG19_TINY};

    fn shapes(arch: Arch) -> Shapes {
        let parameters = arch.parameters().into_iter();
        parameters
            .map(|(name, shape)| (name, shape.dims().to_vec()))
            .collect()
    }

    #[test]
    fn every_network_is_recognised_whatever_its_classifier() {
        for arch in ALL {
            for (hidden, classes) in [
                (arch.hidden, 1000),
                (arch.hidden, 3),
                (17, 2),
                (17, 0),
                (0, 5),
                (0, 0),
            ] {
                let arch = Arch {
                    hidden,
                    classes,
                    ..arch
                };
                assert_eq!(recognise(&shapes(arch)), Ok(arch));
                assert_eq!(another_network(arch, &shapes(arch)), None);
            }
        }
    }

    #[test]
    fn timms_linear_layers_as_convolutions_are_recognised() {
        let mut timms = shapes(VGG19);
        timms.insert("classifier.0.weight".into(), vec![4096, 512, 7, 7]);
        timms.insert("classifier.3.weight".into(), vec![4096, 4096, 1, 1]);
        assert_eq!(recognise(&timms), Ok(VGG19));
    }

    #[test]
    fn what_is_no_vgg_is_named() {
        let of = |names: &[&str]| -> Shapes {
            names
                .iter()
                .map(|name| (name.to_string(), vec![8, 3, 3, 3]))
                .collect()
        };
        let says = |shapes: &Shapes| recognise(shapes).expect_err("no VGG");
        let resnet = says(&of(&[
            "conv1.weight",
            "bn1.weight",
            "fc.bias",
            "layer1.0.conv1.weight",
        ]));
        assert!(
            resnet.contains("bn1.weight, conv1.weight, fc.bias"),
            "{resnet}"
        );
        assert!(says(&of(&[])).contains("no tensors"));
        assert!(says(&of(&["x.features.0.weight"])).contains("\"x.\""));
        // AlexNet's convolutions lie where no VGG's do.
        let alexnet = says(&of(&[
            "features.0.weight",
            "features.3.weight",
            "features.6.weight",
        ]));
        assert!(alexnet.contains("features.0, 3, 6"), "{alexnet}");
        let mut wider = shapes(VGG19);
        wider.insert("features.0.weight".into(), vec![65, 3, 3, 3]);
        assert!(
            says(&wider).contains("vgg19 with layers of 65, 64, 128"),
            "{}",
            says(&wider)
        );
        let mut deep = shapes(VGG19);
        deep.remove("features.34.weight");
        assert!(says(&deep).contains("no VGG that there is"));
    }

    #[test]
    fn another_network_is_named_with_the_one_that_is_asked_for() {
        let says =
            |asked: Arch, found: Arch| another_network(asked, &shapes(found)).expect("another");
        let bn = Arch::named("vgg19_bn").expect("it has a name");
        assert_eq!(says(VGG19, bn), "holds a vgg19_bn, and vgg19 is asked for");
        assert_eq!(
            says(VGG19, VGG19_TINY),
            "holds a vgg19-tiny, and vgg19 is asked for"
        );
        let ten = Arch {
            classes: 10,
            ..VGG19
        };
        assert!(says(VGG19, ten).contains("a head of 10 outputs (classifier.6.weight)"));
        let none = Arch {
            hidden: 0,
            classes: 0,
            ..VGG19
        };
        assert!(says(VGG19, none).contains("no classifier"));
    }
}
