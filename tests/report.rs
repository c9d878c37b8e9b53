//! A run's page, as a browser shows it: Debian's `chromium`, driven through its pipe.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use goldfish::data::{Classes, ImageStore, Transform};
use goldfish::nn::{Adapter, Loading, Vgg};
use goldfish::train::judged::{self, Answer, Judged};
use goldfish::train::{SIDE, look};
use libtest_mimic::Trial;
use predicates::str::contains;
use serde_json::{Value, json};

use crate::browser::Browser;
use crate::cli::{TINY, dataset, goldfish, stdout, train};
use crate::parity::{NARROW, narrow_numbers};
use crate::support::{
    error, fixture, gpu, gpu_trial, illustrations, pictures, says, slashed, trial,
};

pub fn trials() -> Vec<Trial> {
    let browser = Browser::path();
    if browser.is_none() {
        eprintln!("report: no chromium here, so no page is opened in one");
    }
    let none = browser.is_none();
    vec![
        trial("report::a_browser_shows_a_page_of_hostile_names", hostile).with_ignored_flag(none),
        trial("report::a_run_of_little_has_a_page_of_little", little),
        trial("report::pictures_come_wrongest_first_and_so_many", bounded),
        gpu_trial("report::the_network_is_seen_to_look", looking),
        gpu_trial("report::a_network_looks_where_pytorch_says", oracle),
        gpu_trial("report::a_run_leaves_what_was_said_of_each_picture", left),
        gpu_trial("report::a_new_head_has_no_verdict_before", unheard),
    ]
}

/// Classes and files whose names would be more than names, with an address that nobody may ask for.
fn names(address: &str) -> [String; 3] {
    [
        format!("<img src=http://{address}/a>"),
        format!("\"'><script src=http://{address}/b></script>"),
        "Grün & <b>\u{202e}fett".into(),
    ]
}

/// A run's folder with everything in it.
fn run(folder: &Path, names: &[String; 3]) -> PathBuf {
    // Not every system has these in a name.
    let run = folder.join(if cfg!(windows) { "a run" } else { "a <b>run" });
    fs::create_dir_all(&run).expect("a folder");
    pictures(folder, "shown", &[(60, 40), (40, 64), (50, 50), (32, 80)]);
    let odd = match cfg!(windows) {
        true => "&amp;.png",
        false => "</title><script>alert(1)<!--&amp;.png",
    };
    fs::rename(
        folder.join("shown/3.png"),
        folder.join(format!("shown/{}", odd.replace('/', ""))),
    )
    .expect("renamed");
    let classes = Classes::own(names.to_vec()).expect("names that a list can have");
    let one = |path: &str, label: usize, before: [f32; 3], after: [f32; 3]| Judged {
        path: format!("../shown/{path}"),
        label,
        category: names[label].clone(),
        before: Some(Answer::new(&before, label, &classes)),
        after: Answer::new(&after, label, &classes),
    };
    let judged = [
        one("0.png", 0, [0.0, 1.0, 0.0], [3.0, 1.0, 0.0]),
        one("1.png", 1, [0.0, 2.0, 0.0], [5.0, 1.0, 0.0]),
        one("2.png", 2, [0.0, 2.0, 0.0], [0.5, 1.0, 0.0]),
        one(&odd.replace('/', ""), 2, [0.0, 0.0, 1.0], [0.5, 1.0, 1.25]),
        one("gone.png", 0, [0.0, 0.0, 1.0], [9.5, 1.0, 1.0]),
    ];
    judged::write(&run, &judged).expect("it is written");
    let mut metrics = String::new();
    for step in 1..=40 {
        let (epoch, loss) = ((step + 9) / 10, 2.0 / f64::from(step));
        metrics += &format!(
            "{}\n",
            json!({"step": step, "epoch": epoch, "loss": loss, "lr": 0.001})
        );
        if step % 10 == 0 {
            let score = json!({"count": 5, "loss": loss + 0.1, "top1": 0.2 * f64::from(epoch), "top5": 1.0});
            metrics += &format!(
                "{}\n",
                json!({"epoch": epoch, "step": step, "train_loss": loss, "lr": 0.001, "validation": score})
            );
        }
    }
    fs::write(run.join("metrics.jsonl"), metrics).expect("it is written");
    let timing: Vec<String> = (1..=4)
        .map(|e| {
            json!({"step": e * 10, "epoch": e, "unix": 1e9, "seconds": 30.0 * f64::from(e)})
                .to_string()
                + "\n"
        })
        .collect();
    fs::write(run.join("timing.jsonl"), timing.concat()).expect("it is written");
    let settings = format!(
        "arch = \"vgg19\"\nimage_size = 32\nepochs = 4\ndata = {0}\n[run]\ndevice = {0}\nended = \"complete\"\nbest_epoch = 3\n",
        Value::from(names[1].clone())
    );
    fs::write(run.join("run.toml"), settings).expect("it is written");
    // A branch of rank 2 for images of 32.
    let numbers = |count: usize| -> Vec<u8> {
        let value = |i: usize| ((i * 7919 % 1000) as f32 / 500.0 - 1.0).to_le_bytes();
        (0..count).flat_map(value).collect()
    };
    let (a, b) = (numbers(2 * 3 * 32 * 32), numbers(3 * 2));
    let view = |shape: &[usize], data| {
        safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.to_vec(), data)
    };
    let tensors = [
        (
            "base_model.model.pixels.lora_A.weight",
            view(&[2, 3 * 32 * 32], &a).expect("it fits"),
        ),
        (
            "base_model.model.pixels.lora_B.weight",
            view(&[3, 2], &b).expect("it fits"),
        ),
    ];
    let file = safetensors::serialize(tensors, None).expect("a file");
    fs::write(run.join("adapter_model.safetensors"), file).expect("it is written");
    run
}

fn page(run: &Path, more: &[&str]) -> String {
    let mut command = goldfish(run.parent().expect("a folder above"));
    command.arg("report").arg(run).args(more);
    command.assert().success().stdout(contains("report.html"));
    fs::read_to_string(run.join("report.html")).expect("a page")
}

fn hostile() {
    let folder = tempfile::tempdir().expect("a folder");
    // Nobody may call here.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("it can be asked");
    let names = names(&listener.local_addr().expect("an address").to_string());
    let run = run(folder.path(), &names);
    page(&run, &["--look", "0"]);
    let mut browser = Browser::open(&run.join("report.html"), [1200, 900]);
    let ask = |browser: &mut Browser, what: &str| browser.evaluate(what);
    let count = |browser: &mut Browser, what: &str| {
        browser
            .evaluate(&format!("document.querySelectorAll({what:?}).length"))
            .as_u64()
            .expect("a number")
    };
    // Pictures come as they are scrolled to.
    ask(
        &mut browser,
        "document.querySelectorAll('img').forEach(i => i.loading = 'eager')",
    );
    ask(
        &mut browser,
        "Promise.all([...document.images].map(i => i.decode())).then(() => true)",
    );
    assert_eq!(count(&mut browser, ".card"), 5);
    assert_eq!(count(&mut browser, ".card img"), 4, "one file is gone");
    assert_eq!(count(&mut browser, ".factors img"), 2 + 3);
    let decoded = ask(
        &mut browser,
        "[...document.images].every(i => i.complete && i.naturalWidth > 0)",
    );
    assert_eq!(decoded, true);
    assert_eq!(count(&mut browser, ".chart svg"), 4);
    let drawn = "[...document.querySelectorAll('.curve')].map(c => c.getBBox().width > 20)";
    let drawn = ask(&mut browser, drawn);
    assert_eq!(drawn.as_array().map(Vec::len), Some(5));
    assert!(
        drawn.as_array().expect("a list").iter().all(|d| d == true),
        "{drawn}"
    );
    // The classes' names stand there as text.
    let said = ask(
        &mut browser,
        "[...document.querySelectorAll('#classes tbody th')].map(t => t.textContent)",
    );
    for name in &names[..2] {
        assert!(
            said.as_array()
                .expect("a list")
                .contains(&name.as_str().into()),
            "{said}"
        );
    }
    assert_eq!(count(&mut browser, "script"), 0);
    assert_eq!(ask(&mut browser, "document.title"), "a <b>run – goldfish");
    // A filter shows what it says.
    ask(&mut browser, "document.getElementById('show-lost').click()");
    let shown = "[...document.querySelectorAll('.card')].filter(c => c.offsetParent).length";
    assert_eq!(ask(&mut browser, shown), 1);
    let wide = "document.documentElement.scrollWidth <= innerWidth";
    assert_eq!(ask(&mut browser, wide), true);
    assert_eq!(browser.complaints(), Vec::<String>::new());
    // On a phone nothing stands out of the page.
    let mut phone = Browser::open(&run.join("report.html"), [360, 740]);
    assert_eq!(ask(&mut phone, "innerWidth"), 360);
    assert_eq!(ask(&mut phone, wide), true);
    assert_eq!(phone.complaints(), Vec::<String>::new());
    drop((browser, phone));
    let caller = listener.accept();
    assert!(caller.is_err(), "a request left the page: {caller:?}");
}

/// Of a run without validation, times and branch.
fn little() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = folder.path().join("run");
    fs::create_dir(&run).expect("a folder");
    fs::write(run.join("run.toml"), "arch = \"vgg19\"\n").expect("it is written");
    let mut command = goldfish(folder.path());
    command
        .args(["report", "run"])
        .assert()
        .code(3)
        .stderr(contains("metrics.jsonl"));
    let one = "{\"step\":1,\"epoch\":1,\"loss\":2.5,\"lr\":0.001}\n";
    fs::write(run.join("metrics.jsonl"), one).expect("it is written");
    let text = page(&run, &[]);
    assert!(text.contains("no validation pictures") && text.contains("<polyline"));
    let table = fs::read_to_string(run.join("metrics.csv")).expect("a table");
    assert_eq!(table.lines().count(), 2);
    assert!(run.join("events/train").exists());
    // What is no run says so.
    fs::write(run.join("run.toml"), "[").expect("it is written");
    goldfish(folder.path())
        .args(["report", "run"])
        .assert()
        .code(3)
        .stderr(contains("run.toml"));
    goldfish(folder.path())
        .args(["report", "nowhere"])
        .assert()
        .code(3);
}

fn bounded() {
    let folder = tempfile::tempdir().expect("a folder");
    let names = names("nowhere.invalid");
    let run = run(folder.path(), &names);
    let text = page(&run, &["--pictures", "3", "--look", "0"]);
    assert_eq!(text.matches("<article").count(), 3);
    assert!(
        text.contains("3 of 5 validation pictures"),
        "it says how many"
    );
    let at = |name: &str| {
        text.find(&format!("title=\"../shown/{name}\""))
            .expect("it is shown")
    };
    // The surest mistake, the other one, then the least sure of the rest.
    assert!(at("1.png") < at("2.png"));
    assert!(
        !text.contains("<script")
            && !text.contains("<img src=http")
            && text.contains("&lt;img src=")
    );
}

fn looking() {
    let folder = dataset();
    let at = folder.path();
    train(
        at,
        &["-o", "run", "--epochs", "2", "--targets", "classifier.6"],
    )
    .success();
    let classes = Classes::imagenet();
    let logits: Vec<f32> = (0..1000).map(|i| (i % 7) as f32).collect();
    let judged = ["goldfish/0.png", "goldfish/gone.png", "tench/0.png"].map(|path| Judged {
        path: format!("../data/{path}"),
        label: 1,
        category: classes.name(1),
        before: None,
        after: Answer::new(&logits, 1, &classes),
    });
    judged::write(&at.join("run"), &judged).expect("it is written");
    let text = page(&at.join("run"), &[]);
    assert_eq!(
        text.matches("<img class=\"seen\"").count(),
        2,
        "one file is gone"
    );
    assert!(text.contains("Grad-CAM"));
    let eval = goldfish(at)
        .args(["eval", "data"])
        .args(TINY)
        .assert()
        .success();
    assert!(stdout(&eval).contains("top-1"), "the base is as it was");
}

fn oracle() {
    let expected = &fixture("look.safetensors")["maps"];
    let files = ["bowl.png", "ink.gif", "pixels.bmp", "stamp.webp"];
    let paths = files.map(|name| illustrations().join("goldfish").join(name));
    let store = ImageStore::open(
        &paths,
        Transform { size: 224 },
        false,
        1 << 30,
        false,
        |_| Ok(()),
    );
    let (images, _) = store.expect("the illustrations");
    for portable in [false, true] {
        let how = Loading {
            portable,
            side: 224,
            ..Loading::default()
        };
        let network =
            Vgg::load(&gpu(), NARROW, &narrow_numbers(), &how, |_| Ok(())).expect("a network");
        let mut found = Vec::new();
        let adapter = Adapter::default();
        let classes = [3, 0, 7, 9];
        look(&network, &images, &adapter, &classes, |image, map| {
            assert_eq!((found.len(), map.len()), (image * SIDE * SIDE, SIDE * SIDE));
            found.extend(map.iter().copied());
            Ok(())
        })
        .expect("maps");
        // f32 through 19 layers and back.
        let error = error(&found, expected);
        assert!(error < 1e-4, "{error:.1e}");
        let wrong = look(&network, &images, &adapter, &[0, 0, 0, 10], |_, _| Ok(()));
        assert!(wrong.is_err(), "there is no class 10");
    }
}

/// The answers in an evaluation by file name: what was said, and how surely.
fn answers(at: &Path, arguments: &[&str]) -> Vec<(String, Value, f64)> {
    let eval = goldfish(at)
        .args(["eval", "data", "--json"])
        .args(arguments)
        .assert()
        .success();
    let eval: Value = serde_json::from_str(&stdout(&eval)).expect("JSON");
    let images = eval["images"].as_array().expect("images").iter();
    let one = |image: &Value| {
        let path = image["path"].as_str().expect("a path").to_string();
        (
            path,
            image["said"].clone(),
            image["confidence"].as_f64().expect("a number"),
        )
    };
    images.map(one).collect()
}

fn left() {
    let folder = dataset();
    let at = folder.path();
    train(
        at,
        &[
            "-o", "run", "--epochs", "3", "--val", "data", "--lr", "0.01",
        ],
    )
    .success()
    .stderr(says("report   run/report.html"));
    let run = at.join("run");
    let judged = judged::read(&run)
        .expect("it is sound")
        .expect("it is there");
    for (which, arguments) in [
        (true, &["--adapter", "run/best"][..]),
        (false, &[&["--adapter", "none"][..], &TINY].concat()),
    ] {
        let expected = answers(at, arguments);
        assert_eq!((judged.len(), expected.len()), (5, 5));
        for (one, (path, said, confidence)) in judged.iter().zip(expected) {
            assert_eq!(one.path, format!("../{}", slashed(&path)));
            let answer = if which {
                Some(&one.after)
            } else {
                one.before.as_ref()
            };
            let answer = answer.expect("the base has the classes");
            assert_eq!(said, *answer.top[0].category);
            assert!((answer.verdict.confidence - confidence).abs() < 1e-6);
        }
    }
    let table = fs::read_to_string(run.join("metrics.csv")).expect("a table");
    assert_eq!(table.lines().count(), 1 + 3);
    for name in ["events/train", "events/validation"] {
        assert!(
            run.join(name).join("events.out.tfevents.goldfish").exists(),
            "{name}"
        );
    }
    let text = fs::read_to_string(run.join("report.html")).expect("a page");
    assert_eq!(text.matches("<article").count(), 5);
    assert!(text.contains("resident at most") && text.contains("<th scope=\"row\">device</th>"));
    let settings = fs::read_to_string(run.join("run.toml")).expect("settings");
    assert!(
        settings.contains("trained_on = [\"goldfish\", \"tench\"]")
            || settings.contains("trained_on = [\"tench\", \"goldfish\"]"),
        "{settings}"
    );
    // Of a run that goes on and is killed, nothing tells of the adapter that it had.
    let more = "train --resume run --epochs 100000 --save-every 1";
    let mut going = std::process::Command::new(env!("CARGO_BIN_EXE_goldfish"));
    going.current_dir(at).args(more.split(' '));
    let going = going.env("GOLDFISH_CACHE", at.join(".cache"));
    let mut going = going.spawn().expect("it starts");
    let begun = std::time::Instant::now();
    let stale = || ["validation.jsonl", "report.html"].map(|name| run.join(name).exists());
    while stale() != [false; 2] && begun.elapsed().as_secs() < 60 {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    going.kill().expect("killed");
    going.wait().expect("it ends");
    assert_eq!(stale(), [false; 2]);
}

fn unheard() {
    let folder = dataset();
    let at = folder.path();
    train(
        at,
        &[
            "-o",
            "run",
            "--epochs",
            "1",
            "--classes",
            "own",
            "--targets",
            "head",
            "--val",
            "data",
        ],
    )
    .success();
    let judged = judged::read(&at.join("run"))
        .expect("it is sound")
        .expect("it is there");
    assert!(judged.len() == 5 && judged.iter().all(|one| one.before.is_none()));
    // The page finds the pictures from wherever it is made.
    let text = page(&at.join("run"), &[]);
    assert_eq!(text.matches("<img class=\"seen\"").count(), 5);
    assert!(!text.contains("cannot be read any more") && !text.contains("put right"));
}
