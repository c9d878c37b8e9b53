//! What is kept of a device, and for which it is not.

use std::path::Path;

use super::{Kept, Tuning, engine, read, write};

fn kept(driver: &str, engine: &str) -> Kept {
    Kept {
        device: "a card".into(),
        driver: driver.into(),
        processor: String::new(),
        engine: engine.into(),
        choices: [("site".into(), "choice".into())].into(),
    }
}

#[test]
fn what_was_kept_is_read_again_and_not_for_another_driver_processor_or_other_kernels() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("below").join("card.json");
    assert_eq!(read(&file, &kept("1", "a")), Ok(None));
    write(&file, &kept("1", "a")).expect("written");
    assert_eq!(read(&file, &kept("1", "a")), Ok(Some(kept("1", "a"))));
    let elsewhere = Kept {
        processor: "another".into(),
        ..kept("1", "a")
    };
    for (other, what) in [
        (kept("2", "a"), "driver"),
        (kept("1", "b"), "kernels"),
        (elsewhere, "processor"),
    ] {
        let problem = read(&file, &other).expect_err(what);
        assert!(problem.contains(what), "{problem}");
    }
    // As it was before the kernels had a version.
    let text = r#"{"device":"a card","driver":"1","choices":{}}"#;
    std::fs::write(&file, text).expect("written");
    let problem = read(&file, &kept("1", "a")).expect_err("no version");
    assert!(problem.contains("kernels"), "{problem}");
}

#[test]
fn the_version_is_of_the_package_and_its_kernels() {
    let version = engine();
    let (package, hash) = version.split_once(' ').expect("two words");
    assert_eq!(package, env!("CARGO_PKG_VERSION"));
    assert!(
        hash.len() == 16 && hash.chars().all(|c| c.is_ascii_hexdigit()),
        "{hash}"
    );
    assert_eq!(engine(), version);
}

#[test]
fn a_file_is_read_once_and_what_others_add_stays() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("x.json");
    let fresh = Kept {
        choices: [].into(),
        ..kept("1", "a")
    };
    let tuning = Tuning::new(&file, true);
    assert_eq!(tuning.kept(fresh.clone()), fresh);
    write(&file, &kept("1", "a")).expect("written");
    // It was not there when it was read.
    assert_eq!(tuning.clone().kept(fresh.clone()), fresh);
    let own = Kept {
        choices: [("another".into(), "mine".into())].into(),
        ..fresh.clone()
    };
    tuning.add(&own).expect("written");
    assert_eq!(tuning.kept(fresh.clone()), own);
    let both = Tuning::new(&file, true).kept(fresh).choices;
    let words = |(site, choice): (&String, &String)| format!("{site} {choice}");
    let both: Vec<String> = both.iter().map(words).collect();
    assert_eq!(both, ["another mine", "site choice"]);
    // Another device takes neither.
    let other = kept("2", "a");
    assert_eq!(tuning.kept(other.clone()), other);
}

#[test]
fn what_is_no_file_is_not_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let problem = read(folder.path(), &kept("1", "a")).expect_err("a folder");
    assert!(problem.contains("no regular file"), "{problem}");
    #[cfg(unix)]
    {
        let endless = read(Path::new("/dev/zero"), &kept("1", "a"));
        assert!(endless.is_err(), "{endless:?}");
    }
}

#[test]
fn a_damaged_file_is_told_of() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("x.json");
    for text in ["", "{", "[]", r#"{"device":1}"#] {
        std::fs::write(&file, text).expect("written");
        assert!(read(&file, &kept("1", "a")).is_err(), "{text}");
    }
}
