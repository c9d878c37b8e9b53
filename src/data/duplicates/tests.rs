use super::join::{AXES, Pairs, Point, WIDTH, join};
use super::{Alike, Leak, Likeness, Print, groups, leaks};
use crate::data::resize;
use crate::random::Stream;

const SIDE: usize = 96;

/// A picture of smooth random colours.
fn picture(seed: u64) -> Vec<u8> {
    let stream = Stream::new(seed, "picture");
    let coarse: Vec<u8> = (0..8 * 8 * 3).map(|i| stream.word(i) as u8).collect();
    resize(&coarse, [8, 8], [SIDE, SIDE])
}

/// Every pair that is near.
#[derive(Default)]
struct All(Vec<(usize, usize)>);

impl Pairs for All {
    fn wanted(&self, _: usize, _: usize) -> bool {
        true
    }

    fn near(&mut self, a: usize, b: usize) {
        self.0.push((a, b));
    }
}

fn print(rgb: &[u8]) -> Print {
    Print::of(rgb, SIDE, SIDE)
}

fn mirrored(rgb: &[u8]) -> Vec<u8> {
    let rows = rgb.chunks_exact(SIDE * 3);
    rows.flat_map(|row| row.chunks_exact(3).rev().flatten().copied())
        .collect()
}

fn alike(likeness: Likeness, images: &[usize]) -> Alike {
    Alike {
        likeness,
        images: images.to_vec(),
    }
}

#[test]
fn copies_are_found_and_strangers_are_none() {
    let [a, b, c] = [1, 2, 3].map(picture);
    let smaller = Print::of(&resize(&a, [SIDE; 2], [40, 30]), 40, 30);
    let brighter: Vec<u8> = b.iter().map(|&s| 30 + (f64::from(s) * 0.7) as u8).collect();
    let prints = [
        print(&a),
        print(&b),
        smaller,
        print(&mirrored(&c)),
        print(&b),
        print(&brighter),
        print(&c),
        print(&picture(4)),
    ];
    assert_eq!(
        groups(&prints),
        [
            alike(Likeness::Same, &[1, 4]),
            alike(Likeness::Near, &[0, 2]),
            alike(Likeness::Near, &[1, 5]),
            alike(Likeness::Mirrored, &[3, 6]),
        ]
    );
    let strangers: Vec<Print> = (10..400).map(|seed| print(&picture(seed))).collect();
    assert_eq!(groups(&strangers), []);
}

#[test]
fn another_colour_is_another_picture() {
    let a = picture(1);
    let swapped: Vec<u8> = a.chunks(3).flat_map(|p| [p[2], p[0], p[1]]).collect();
    assert_eq!(groups(&[print(&a), print(&swapped)]), []);
}

#[test]
fn pictures_without_contrast_are_alike_by_their_colour() {
    let of = |colour: [u8; 3]| print(&colour.repeat(SIDE * SIDE));
    let mut grain = [90, 20, 60].repeat(SIDE * SIDE);
    grain.iter_mut().step_by(7).for_each(|s| *s += 1);
    let prints = [
        of([90, 20, 60]),
        of([90, 60, 20]),
        print(&grain),
        of([130, 130, 130]),
        of([130, 130, 130]),
        of([140, 140, 140]),
    ];
    assert!(prints[0].is_blank() && !print(&picture(1)).is_blank());
    assert_eq!(
        groups(&prints),
        [
            alike(Likeness::Same, &[3, 4]),
            alike(Likeness::Near, &[0, 2])
        ]
    );
}

#[test]
fn what_is_validated_with_is_found_among_what_is_trained_with() {
    let [a, b, c, d] = [1, 2, 3, 4].map(picture);
    let training = [print(&a), print(&b), print(&b), print(&c)];
    let smaller = Print::of(&resize(&c, [SIDE; 2], [48, 48]), 48, 48);
    let validation = [print(&d), print(&mirrored(&a)), smaller, print(&b)];
    let leak = |validation, training, likeness| Leak {
        validation,
        training,
        likeness,
    };
    assert_eq!(
        leaks(&training, &validation),
        [
            leak(1, 0, Likeness::Mirrored),
            leak(2, 3, Likeness::Near),
            leak(3, 1, Likeness::Same)
        ]
    );
}

#[test]
fn no_pair_is_missed_between_the_cells() {
    // Points in clusters that touch the cells' sides, more of them than are compared one by one.
    let stream = Stream::new(5, "points");
    let points: Vec<Point> = (0..600)
        .map(|image| {
            let mut at = [0.0; AXES];
            stream.fill_uniform(image * AXES, 0.2, &mut at[..7]);
            Point { at, image }
        })
        .collect();
    let mut all_pairs = All::default();
    join(&points, &points, &mut all_pairs);
    let mut found = all_pairs.0;
    found.sort_unstable();
    let near = |a: &Point, b: &Point| {
        let squares = a.at.iter().zip(&b.at).map(|(a, b)| (a - b).powi(2));
        squares.sum::<f32>() <= WIDTH * WIDTH
    };
    let all = points.iter().flat_map(|a| {
        let beside = points.iter().filter(move |b| near(a, b));
        beside.map(move |b| (a.image, b.image))
    });
    assert!(found.len() > 700 && all.eq(found));
}

#[test]
fn what_is_alike_stands_near() {
    // The bound on coordinates holds for noise on top of pictures, at the edge of what is alike.
    let mut seen = 0;
    for seed in 0..400 {
        let a = picture(seed);
        let stream = Stream::new(seed, "noise");
        let strength = seed % 40;
        let noisy = resize(&a, [SIDE; 2], [16; 2]);
        let noisy: Vec<u8> = noisy
            .iter()
            .enumerate()
            .map(|(i, &s)| {
                s.saturating_add(((u64::from(stream.word(i as u64)) * strength) >> 32) as u8)
            })
            .collect();
        let (a, b) = (print(&a), Print::of(&noisy, 16, 16));
        if a.is_like(&b, Likeness::Near) {
            let mut pairs = All::default();
            join(&[a.point(0)], &[b.point(1)], &mut pairs);
            assert_eq!(pairs.0, [(0, 1)], "{seed}");
            seen += 1;
        }
    }
    assert!((100..400).contains(&seen), "{seen}");
}

#[test]
fn a_print_comes_back_from_its_bytes() {
    for print in [print(&picture(7)), Print::of(&[9; 3 * 64], 8, 8)] {
        assert!(Print::from_bytes(&print.to_bytes()) == print);
        let mut bytes = print.to_bytes();
        bytes[31] ^= 1;
        assert!(Print::from_bytes(&bytes) != print, "the hash");
        bytes[31] ^= 1;
        bytes[799] ^= 1;
        assert!(Print::from_bytes(&bytes) != print, "the last sample");
    }
}
