//! Which modules an adapter is for: names, groups and patterns, ranks and alphas by name.

use crate::error::{Error, Result};
use crate::nn::arch::Arch;
use crate::nn::lora::{PIXELS, Target};

/// The target that stands for a new last layer.
pub const HEAD: &str = "head";

/// Names to choose modules by, and what each gets.
///
/// ```
/// use goldfish::nn::{Choice, arch::VGG19};
///
/// let choice = Choice {
///     targets: vec!["classifier".into(), "features.34".into()],
///     rank: 4,
///     ..Choice::default()
/// };
/// assert_eq!(choice.resolve(VGG19, 224)?.len(), 4);
/// # Ok::<(), goldfish::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Choice {
    /// `pixels`, `classifier`, `features`, `all` (every layer), torchvision's names, or patterns with `*` and `?`; with a
    /// head [`HEAD`] too, which adds nothing to it.
    pub targets: Vec<String>,
    /// The last layer is a new head, trained whole: no LoRA is for it.
    pub head: bool,
    /// The rank of those that no pattern names.
    pub rank: usize,
    /// `lora_alpha` of those that no pattern names; `None` is the module's rank, a scale of 1.
    pub alpha: Option<f64>,
    /// Ranks by name or pattern, the last that fits counts.
    pub ranks: Vec<(String, usize)>,
    /// Alphas by name or pattern.
    pub alphas: Vec<(String, f64)>,
}

impl Default for Choice {
    /// The tutorial's: the branch from the pixels, rank 10.
    fn default() -> Self {
        Choice {
            targets: vec![PIXELS.into()],
            head: false,
            rank: 10,
            alpha: None,
            ranks: Vec::new(),
            alphas: Vec::new(),
        }
    }
}

impl Choice {
    /// The chosen modules in the network's order, the branch from the pixels first. `side` is that of the images.
    ///
    /// # Errors
    /// [`Error::Setting`] where there are no targets, or the head is one and there is none, [`Error::Usage`] naming what fits no convolution or linear layer, with the list of those that there are.
    pub fn resolve(&self, arch: Arch, side: usize) -> Result<Vec<Target>> {
        let mut layers = arch.layers();
        if self.head {
            layers.truncate(arch.trunk());
        }
        self.check_head(arch)?;
        let mut modules = vec![(PIXELS.to_string(), vec![arch.classes, 3 * side * side])];
        modules.extend(layers.into_iter().map(|l| (l.name, l.weight)));
        let names: Vec<&str> = modules.iter().map(|(name, _)| name.as_str()).collect();
        let known = |pattern: &str| match names.iter().any(|name| chooses(pattern, name)) {
            true => Ok(()),
            false => Err(Error::Usage(format!(
                "{pattern:?} names no convolution or linear layer; there are {}, and the groups classifier, \
                 features and all",
                names.join(", ")
            ))),
        };
        if self.targets.is_empty() {
            return Err(Error::setting("targets", "name nothing to adapt"));
        }
        let loras = || self.targets.iter().filter(|target| *target != HEAD);
        loras().try_for_each(|t| known(t))?;
        self.ranks.iter().try_for_each(|(p, _)| known(p))?;
        self.alphas.iter().try_for_each(|(p, _)| known(p))?;
        let chosen = modules
            .into_iter()
            .filter(|(name, _)| loras().any(|pattern| chooses(pattern, name)));
        let targets = chosen.map(|(module, weight)| {
            let rank = last(&self.ranks, &module).unwrap_or(self.rank);
            let alpha = last(&self.alphas, &module).or(self.alpha);
            Target {
                alpha: alpha.unwrap_or(rank as f64),
                module,
                weight,
                rank,
            }
        });
        Ok(targets.collect())
    }
}

impl Choice {
    /// Refuses to adapt a head that is not there, or one that is trained whole.
    fn check_head(&self, arch: Arch) -> Result<()> {
        let named = |name: &str| self.targets.iter().any(|target| target == name);
        let (last, _) = arch.head();
        if self.head && named(last) {
            return Err(Error::setting(
                "targets",
                format!(
                    "name {last}, which is the new last layer and trained whole: {HEAD} stands for it"
                ),
            ));
        }
        if !self.head && named(HEAD) {
            return Err(Error::setting(
                "targets",
                format!(
                    "name {HEAD}, a new last layer for classes of one's own, and these are the base's: {last} is its last layer"
                ),
            ));
        }
        Ok(())
    }
}

fn last<T: Copy>(pairs: &[(String, T)], name: &str) -> Option<T> {
    let fits = |(pattern, _): &&(String, T)| chooses(pattern, name);
    pairs.iter().rev().find(fits).map(|(_, value)| *value)
}

/// Whether a target, a group or a pattern means the module `name`.
pub fn chooses(pattern: &str, name: &str) -> bool {
    match pattern {
        "all" => name != PIXELS,
        "classifier" | "features" => name.split('.').next() == Some(pattern),
        _ => matches(pattern.as_bytes(), name.as_bytes()),
    }
}

/// `*` stands for any text, `?` for one character.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern, name) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => {
            matches(rest, name) || (!name.is_empty() && matches(pattern, &name[1..]))
        }
        ([b'?', rest @ ..], [_, name @ ..]) => matches(rest, name),
        ([p, rest @ ..], [n, name @ ..]) if p == n => matches(rest, name),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::arch::VGG19;

    fn choice(targets: &[&str]) -> Choice {
        Choice {
            targets: targets.iter().map(|t| t.to_string()).collect(),
            rank: 4,
            ..Choice::default()
        }
    }

    #[test]
    fn a_head_is_trained_whole_and_the_rest_by_loras() {
        let with_head = |targets: &[&str]| {
            let choice = Choice {
                head: true,
                ..choice(targets)
            };
            let targets = choice.resolve(VGG19, 224)?;
            Ok::<_, Error>(targets.into_iter().map(|t| t.module).collect::<Vec<_>>())
        };
        assert_eq!(
            with_head(&["classifier", "head"]).expect("they exist"),
            ["classifier.0", "classifier.3"]
        );
        assert!(with_head(&["head"]).expect("no LoRA").is_empty());
        let error = with_head(&["classifier.6"]).expect_err("trained whole");
        assert!(error.to_string().contains("trained whole"), "{error}");
        let error = choice(&["head"]).resolve(VGG19, 224).expect_err("no head");
        assert!(
            error.to_string().contains("classes of one's own"),
            "{error}"
        );
    }

    fn modules(targets: &[&str]) -> Vec<String> {
        let targets = choice(targets).resolve(VGG19, 224).expect("they exist");
        targets.into_iter().map(|t| t.module).collect()
    }

    #[test]
    fn groups_names_and_patterns_choose_in_the_networks_order() {
        assert_eq!(modules(&["pixels"]), ["pixels"]);
        assert_eq!(
            modules(&["classifier.6", "pixels"]),
            ["pixels", "classifier.6"]
        );
        assert_eq!(
            modules(&["classifier"]),
            ["classifier.0", "classifier.3", "classifier.6"]
        );
        assert_eq!(modules(&["features"]).len(), 16);
        assert_eq!(modules(&["all"]).len(), 19);
        assert_eq!(
            modules(&["features.3?", "*.6"]),
            ["features.30", "features.32", "features.34", "classifier.6"]
        );
    }

    #[test]
    fn what_is_no_layer_is_refused_with_those_that_are() {
        for wrong in ["features.1", "classifier.1", "avgpool", ""] {
            let error = choice(&["classifier.6", wrong])
                .resolve(VGG19, 224)
                .expect_err("no such layer")
                .to_string();
            assert!(error.contains(&format!("{wrong:?}")), "{error}");
            assert!(error.contains("features.34, classifier.0"), "{error}");
        }
        assert!(choice(&[]).resolve(VGG19, 224).is_err());
    }

    #[test]
    fn the_last_pattern_that_fits_counts() {
        let targets = Choice {
            ranks: vec![("features".into(), 2), ("features.34".into(), 8)],
            alphas: vec![("*.0".into(), 1.5)],
            ..choice(&["all"])
        };
        let targets = targets.resolve(VGG19, 224).expect("they exist");
        let of = |name: &str| targets.iter().find(|t| t.module == name).expect("there");
        assert_eq!((of("features.0").rank, of("features.0").alpha), (2, 1.5));
        assert_eq!((of("features.34").rank, of("features.34").alpha), (8, 8.0));
        assert_eq!(
            (of("classifier.6").rank, of("classifier.6").alpha),
            (4, 4.0)
        );
        assert_eq!(
            of("features.0").shapes(),
            [vec![2, 3, 3, 3], vec![64, 2, 1, 1]]
        );
        assert_eq!(of("classifier.6").shapes(), [vec![4, 4096], vec![1000, 4]]);
    }
}
