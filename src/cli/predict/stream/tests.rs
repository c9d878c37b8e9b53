//! Groups of pictures on ranks that are threads of this process; of each picture the position of its class is said.

use std::fs;
use std::path::PathBuf;

use image::RgbImage;

use super::*;
use goldfish::Error;

/// Numbers of an answer.
const LENGTH: usize = 3;

/// So many pictures, the first with one pixel a side and each a pixel larger than the one before; those at `bad` are none.
fn pictures(folder: &Path, count: usize, bad: &[usize]) -> Vec<PathBuf> {
    let picture = |n: usize| {
        let path = folder.join(format!("{n:03}.png"));
        match bad.contains(&n) {
            true => fs::write(&path, b"no picture").expect("a file"),
            false => {
                let pixel = image::Rgb([n as u8, 2 * n as u8, 0]);
                let side = n as u32 + 1;
                let picture = RgbImage::from_pixel(side, side, pixel);
                picture.save(&path).expect("a picture");
            }
        }
        path
    };
    (0..count).map(picture).collect()
}

/// What is shown on rank 0 of so many, and how each ended. With `most`, whoever reads leaves after so many.
fn shown(
    ranks: usize,
    paths: &[PathBuf],
    skip_bad: bool,
    most: usize,
) -> (Vec<String>, Vec<Result<()>>) {
    let on = |world: World| {
        let stream = Stream {
            origins: paths.iter().cloned().map(Origin::File).collect(),
            transform: Transform { size: 32 },
            exif: false,
            memory: 1 << 20,
            skip_bad,
            world,
        };
        let mut shown = Vec::new();
        let compute = |images: &Arc<ImageStore>, put: &mut Put| {
            (0..images.len()).try_for_each(|image| {
                let name = images.path(image).file_stem().unwrap_or_default();
                let number: f32 = name.to_string_lossy().parse().expect("a number");
                put(image, &[number, number / 7.0, -number])
            })
        };
        let ended = stream.each("test", LENGTH, compute, |_, what| {
            match what {
                Shown::LeftOut(bad) => shown.push(bad.reason.clone()),
                Shown::Answer(path, row) => shown.push(format!("{} {row:?}", path.display())),
            }
            match shown.len() < most {
                true => Ok(()),
                false => Err(Error::Usage("enough".into())),
            }
        });
        (shown, ended)
    };
    let (mut all, ended): (Vec<_>, Vec<_>) = World::on_threads(ranks, on).into_iter().unzip();
    assert!(all[1..].iter().all(Vec::is_empty));
    (all.swap_remove(0), ended)
}

#[test]
fn groups_are_all_there_is_and_those_of_a_round_are_even() {
    for ranks in 1..=5 {
        for images in 0..400 {
            let groups = groups(images, ranks, 12);
            let ends: Vec<usize> = groups.iter().map(|group| group.end).collect();
            let starts: Vec<usize> = groups.iter().map(|group| group.start).collect();
            assert_eq!(starts.first().copied().unwrap_or(0), 0);
            assert_eq!(ends.last().copied().unwrap_or(0), images);
            assert_eq!(
                starts.get(1..).unwrap_or(&[]),
                &ends[..ends.len().max(1) - 1]
            );
            for round in groups.chunks(ranks) {
                let longest = round[0].len();
                assert!(longest <= MOST);
                let full = round.iter().filter(|group| group.len() == longest);
                assert!(
                    full.count() + 1 >= round.len() || round.len() == ranks,
                    "{round:?}"
                );
            }
        }
    }
    // One process has the first results soon, and then as many at once as serve it best.
    let lengths: Vec<usize> = groups(200, 1, 12).iter().map(Range::len).collect();
    assert_eq!(lengths, [8, 16, 32, 64, 64, 16]);
    // Ranks do not send more than there is room for.
    assert!(
        groups(200, 2, ROOM / 4)
            .iter()
            .all(|group| group.len() <= 4)
    );
    assert!(
        groups(9, 2, usize::MAX)
            .iter()
            .all(|group| group.len() == 1)
    );
}

#[test]
fn all_is_shown_in_order_whoever_has_computed_it() {
    let folder = tempfile::tempdir().expect("a folder");
    for (count, bad) in [(1, &[][..]), (7, &[]), (7, &[0, 3, 6]), (40, &[9, 10, 39])] {
        let paths = pictures(folder.path(), count, bad);
        let (expected, ended) = shown(1, &paths, true, usize::MAX);
        assert!(ended.iter().all(Result::is_ok), "{ended:?}");
        assert_eq!(expected.len(), count);
        for ranks in 2..=4 {
            let (found, ended) = shown(ranks, &paths, true, usize::MAX);
            assert!(ended.iter().all(Result::is_ok), "{ended:?}");
            assert_eq!(found, expected);
        }
    }
}

#[test]
fn the_first_that_is_wrong_is_told_of_whoever_finds_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let paths = pictures(folder.path(), 30, &[11, 12, 29]);
    let said = |ranks: usize| -> String {
        let (_, ended) = shown(ranks, &paths, false, usize::MAX);
        let mut ended = ended.into_iter();
        let error = ended.next().and_then(Result::err).expect("an error");
        // The others were dismissed.
        assert!(ended.all(|ended| ended.is_ok()));
        format!("{error} {:?}", error.remedy())
    };
    let expected = said(1);
    assert!(expected.contains("011.png"), "{expected}");
    (2..=4).for_each(|ranks| assert_eq!(said(ranks), expected));

    let (_, ended) = shown(2, &pictures(folder.path(), 3, &[0, 1, 2]), true, usize::MAX);
    let error = ended.into_iter().next().and_then(Result::err);
    assert!(
        error
            .expect("an error")
            .to_string()
            .contains("000.png: this and every")
    );
}

#[test]
fn all_end_where_nobody_reads_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let paths = pictures(folder.path(), 200, &[]);
    for most in [1, 60] {
        let (shown, ended) = shown(3, &paths, false, most);
        assert_eq!(shown.len(), most);
        let well: Vec<bool> = ended.iter().map(Result::is_ok).collect();
        assert_eq!(well, [false, true, true]);
    }
}
