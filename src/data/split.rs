//! Which images are learned from and which are kept to see what was learned: a share of every class, or k parts.
//!
//! What is chosen depends on the labels, their order and the seed alone. Each class has a stream of random numbers of its
//! own, so that one more image of a class changes nothing in what is chosen of the others, but for the rounding of the
//! whole.

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::random::Stream;

/// Splits the images `labels` into those to train with and those to validate with, about `share` of all and of every
/// class, each in the order of the labels.
///
/// The images to validate with are `share` of all to the nearest whole number, and those of a class its share rounded up
/// or down, the largest rest up first. A class of two or more has at least one on either side, and a class of one has it
/// in training; where many classes are that small, more than the share is validated with.
///
/// # Errors
/// [`Error::Setting`] `val_split` where `share` does not lie between 0 and 1; [`Error::Usage`] where no class has two
/// images.
pub fn split(labels: &[u32], share: f64, seed: u64) -> Result<(Vec<usize>, Vec<usize>)> {
    // So written that it refuses what is no number.
    if !(share > 0.0 && share < 1.0) {
        return Err(Error::setting(
            "val_split",
            format!("must lie between 0 and 1, both excluded, found {share}"),
        ));
    }
    let classes = shuffled(labels, seed, "validation split");
    let counts = shares(&classes, share, labels.len());
    let mut validates = vec![false; labels.len()];
    for (images, count) in classes.iter().zip(counts) {
        images[..count].iter().for_each(|&i| validates[i] = true);
    }
    let (validation, training): (Vec<usize>, Vec<usize>) =
        (0..labels.len()).partition(|&i| validates[i]);
    match validation.is_empty() {
        true => Err(too_few("to validate with a share of them")),
        false => Ok((training, validation)),
    }
}

/// Splits the images `labels` into `k` parts to validate with in turn, while the others are trained with, each in the
/// order of the labels.
///
/// Of any class, and of all, the sizes of two parts differ by at most one. An image that is its class's only one is in
/// no part: it is always trained with.
///
/// # Errors
/// [`Error::Setting`] `kfold` where `k` is less than 2 or more than there are images in the parts; [`Error::Usage`] where
/// no class has two images.
pub fn folds(labels: &[u32], k: usize, seed: u64) -> Result<Vec<Vec<usize>>> {
    let mut classes = shuffled(labels, seed, "folds");
    classes.retain(|images| images.len() > 1);
    let images = classes.iter().map(Vec::len).sum();
    if images == 0 {
        return Err(too_few("to validate with parts of them"));
    }
    if !(2..=images).contains(&k) {
        let problem = format!(
            "must lie between 2 and {images}, the images of classes with two or more, found {k}"
        );
        return Err(Error::setting("kfold", problem));
    }
    let mut folds = vec![Vec::new(); k];
    // Dealt like cards: where one class ends, the next goes on.
    for (turn, image) in classes.into_iter().flatten().enumerate() {
        folds[turn % k].push(image);
    }
    folds.iter_mut().for_each(|fold| fold.sort_unstable());
    Ok(folds)
}

fn too_few(what: &str) -> Error {
    Error::Usage(format!(
        "no class has two images, and it takes two of a class {what}"
    ))
}

/// The images of each class, in the order of the labels' numbers, shuffled.
fn shuffled(labels: &[u32], seed: u64, name: &str) -> Vec<Vec<usize>> {
    let mut classes = BTreeMap::<u32, Vec<usize>>::new();
    for (image, &label) in labels.iter().enumerate() {
        classes.entry(label).or_default().push(image);
    }
    let shuffle = |(label, images): (u32, Vec<usize>)| {
        let order = Stream::new(seed, &format!("{name} {label}")).permutation(images.len());
        order.into_iter().map(|at| images[at]).collect()
    };
    classes.into_iter().map(shuffle).collect()
}

/// How many images of each class are validated with, by largest remainders.
fn shares(classes: &[Vec<usize>], share: f64, images: usize) -> Vec<usize> {
    let wanted = |class: &Vec<usize>| share * class.len() as f64;
    let most = |class: &Vec<usize>| class.len() - 1;
    let mut counts: Vec<usize> = classes
        .iter()
        .map(|class| (wanted(class) as usize).max(1).min(most(class)))
        .collect();
    let total = (share * images as f64).round() as usize;
    let mut left = total.saturating_sub(counts.iter().sum());
    // What each class lacks of its share; the sort keeps the order of the classes where two lack the same.
    let lacks = |at: usize| wanted(&classes[at]) - counts[at] as f64;
    let mut order: Vec<(f64, usize)> = (0..classes.len()).map(|at| (lacks(at), at)).collect();
    order.retain(|&(lack, _)| lack > 0.0);
    order.sort_by(|a, b| b.0.total_cmp(&a.0));
    for (_, at) in order {
        if left > 0 && counts[at] < most(&classes[at]) {
            counts[at] += 1;
            left -= 1;
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{folds, split};
    use crate::random::Stream;

    /// Labels of `classes` classes of 1 to `most` images, in mixed order; the numbers of the labels have gaps.
    fn labels(seed: u64, classes: u32, most: u64) -> Vec<u32> {
        let stream = Stream::new(seed, "labels");
        let size = |class: u32| 1 + u64::from(stream.word(u64::from(class))) % most;
        let sorted: Vec<u32> = (0..classes)
            .flat_map(|class| (0..size(class)).map(move |_| class * 7 + 3))
            .collect();
        let order = stream.permutation(sorted.len());
        order.into_iter().map(|at| sorted[at]).collect()
    }

    fn counts(labels: &[u32], images: &[usize]) -> BTreeMap<u32, usize> {
        let mut counts = BTreeMap::new();
        for &image in images {
            *counts.entry(labels[image]).or_default() += 1;
        }
        counts
    }

    fn all(labels: &[u32]) -> BTreeMap<u32, usize> {
        counts(labels, &(0..labels.len()).collect::<Vec<usize>>())
    }

    #[test]
    fn a_share_of_every_class_is_validated_with() {
        for seed in 0..60 {
            let (classes, most) = (1 + seed as u32 % 13, 2 + seed % 5 * 40);
            let labels = labels(seed, classes, most);
            let share = [0.01, 0.1, 0.2, 0.25, 0.5, 0.9, 0.99][seed as usize % 7];
            let Ok((training, validation)) = split(&labels, share, seed) else {
                assert!(all(&labels).values().all(|&n| n == 1), "{labels:?}");
                continue;
            };
            let mut both = [&training[..], &validation].concat();
            assert!(training.is_sorted() && validation.is_sorted());
            both.sort_unstable();
            assert!(both.into_iter().eq(0..labels.len()), "each once, {seed}");
            let (trained, validated) = (counts(&labels, &training), counts(&labels, &validation));
            let mut bound = false;
            for (label, n) in all(&labels) {
                let found = validated.get(&label).copied().unwrap_or(0);
                assert!(trained.contains_key(&label), "{label} {seed}");
                assert_eq!(found > 0, n > 1, "{label} {seed}");
                let wanted = share * n as f64;
                let forced = found == 1 || found == n - 1;
                assert!(
                    forced || (found as f64 - wanted).abs() < 1.0,
                    "{found} of {n}"
                );
                bound |= forced;
            }
            let total = (share * labels.len() as f64).round() as usize;
            assert!(bound || validation.len() == total, "{share} {seed}");
        }
    }

    #[test]
    fn the_whole_is_rounded_once_and_not_class_by_class() {
        // Ten classes of 7: a tenth is 0.7 of each and 7 of all; a fifth 1.4 and 14.
        let labels: Vec<u32> = (0..70).map(|i| i % 10).collect();
        let of = |share| split(&labels, share, 5).expect("a split").1;
        assert_eq!(of(0.2).len(), 14);
        let mut found: Vec<usize> = counts(&labels, &of(0.2)).into_values().collect();
        found.sort_unstable();
        assert_eq!(found, [1, 1, 1, 1, 1, 1, 2, 2, 2, 2]);
        // One of each at least, though a tenth is less.
        assert_eq!(of(0.1).len(), 10);
        assert_eq!(of(0.999).len(), 60);
    }

    #[test]
    fn a_seed_decides_and_other_classes_do_not() {
        let labels = labels(3, 5, 60);
        let of = |labels: &[u32], seed| split(labels, 0.3, seed).expect("a split").1;
        assert_eq!(of(&labels, 1), of(&labels, 1));
        assert_ne!(of(&labels, 1), of(&labels, 2));
        assert_ne!(
            folds(&labels, 3, 1).expect("parts"),
            folds(&labels, 3, 2).expect("parts")
        );
        // A class behind the others takes nothing from them that the rounding does not.
        let more: Vec<u32> = labels.iter().copied().chain([99; 10]).collect();
        let (before, after) = (of(&labels, 1), of(&more, 1));
        let moved = before.iter().filter(|image| !after.contains(image)).count();
        assert!(moved <= 5, "{moved} of {}", before.len());
        assert_eq!(counts(&more, &after)[&99], 3);
    }

    #[test]
    fn parts_are_as_large_as_each_other_in_every_class() {
        for seed in 0..60 {
            let labels = labels(seed, 1 + seed as u32 % 9, 2 + seed % 4 * 20);
            let k = 2 + seed as usize % 9;
            let folded: usize = all(&labels).values().filter(|&&n| n > 1).sum();
            let Ok(folds) = folds(&labels, k, seed) else {
                assert!(folded < k, "{seed}");
                continue;
            };
            assert_eq!(folds.len(), k);
            let mut images: Vec<usize> = folds.concat();
            images.sort_unstable();
            let lonely = |image: &usize| all(&labels)[&labels[*image]] == 1;
            let expected = (0..labels.len()).filter(|image| !lonely(image));
            assert!(images.into_iter().eq(expected), "each once, {seed}");
            let spread = |sizes: Vec<usize>| {
                let (least, most) = (sizes.iter().min(), sizes.iter().max());
                most.copied().unwrap_or(0) - least.copied().unwrap_or(0)
            };
            assert!(spread(folds.iter().map(Vec::len).collect()) <= 1, "{seed}");
            for (label, n) in all(&labels) {
                let of = |fold: &Vec<usize>| counts(&labels, fold).get(&label).copied();
                let sizes: Vec<usize> = folds.iter().map(|fold| of(fold).unwrap_or(0)).collect();
                assert!(spread(sizes.clone()) <= 1, "{sizes:?}");
                // Some are left to learn from, whichever part is validated with.
                assert!(sizes.iter().all(|&size| size < n), "{sizes:?} of {n}");
            }
        }
    }

    #[test]
    fn what_cannot_be_split_is_refused_with_the_reason() {
        let labels = [0, 0, 1, 1, 2];
        for share in [0.0, 1.0, -0.2, 20.0, f64::NAN, f64::INFINITY] {
            let error = split(&labels, share, 0).expect_err("no share").to_string();
            assert!(error.starts_with("val_split must lie between"), "{error}");
        }
        for k in [0, 1, 5, usize::MAX] {
            let error = folds(&labels, k, 0).expect_err("no parts").to_string();
            assert!(
                error.starts_with("kfold must lie between 2 and 4"),
                "{error}"
            );
        }
        assert!(folds(&labels, 4, 0).is_ok());
        for labels in [&[][..], &[0], &[0, 1, 2]] {
            assert!(split(labels, 0.5, 0).is_err() && folds(labels, 2, 0).is_err());
        }
    }
}
