//! Which base a command takes, and what is known of it.

use std::fs;

use libtest_mimic::Trial;
use predicates::str::contains;
use safetensors::tensor::Dtype;

use crate::cli::goldfish;
use crate::files::{store, tiny};
use crate::server::{Reply, Server};
use crate::support::{gpu_trial, pictures};

pub fn trials() -> Vec<Trial> {
    vec![gpu_trial(
        "base::weights_are_looked_for_in_order_from_any_folder",
        order,
    )]
}

fn order() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |path: &str| folder.path().join(path);
    pictures(folder.path(), "new", &[(40, 40)]);
    fs::create_dir_all(at("other/weights")).expect("a folder");
    store(&at("model"), &tiny(), Dtype::F32);
    let file = fs::read(at("model")).expect("it is there");
    let predict = |variable: &str| {
        let mut command = goldfish(&at("other"));
        command.env("GOLDFISH_DATA", at("data"));
        if !variable.is_empty() {
            command.env("GOLDFISH_WEIGHTS", variable);
        }
        command.args(["predict", "../new", "--image-size", "32"]);
        command.args(["--arch", "vgg19-tiny"]);
        command
    };
    let says = |text: &str| contains(text.to_string());
    let nothing = says("goldfish weights fetch");
    predict("").assert().success().stderr(nothing);
    // In the user's data, as it was fetched.
    let server = Server::start(move |_, asked| Reply::file(asked, &file, "\"1\""));
    let mut fetch = goldfish(folder.path());
    fetch.env("GOLDFISH_DATA", at("data")).env("NO_PROXY", "*");
    fetch.args(["weights", "fetch", "vgg19-tiny", "--from"]);
    let url = format!("{}/model.safetensors", server.url);
    fetch.arg(url).assert().success();
    let fetched = at("data/weights/vgg19-tiny.safetensors");
    let taken = says(&format!("vgg19-tiny {}", fetched.display()));
    predict("").assert().success().stderr(taken);
    // In ./weights, whatever lies in the data.
    fs::copy(at("model"), at("other/weights/vgg19-tiny.safetensors")).expect("copied");
    let taken = says("vgg19-tiny weights/vgg19-tiny.safetensors");
    predict("").assert().success().stderr(taken);
    // By the environment: a file, a folder, a folder without, random numbers, a file that is not there.
    let model = at("model").display().to_string();
    let taken = says(&format!("vgg19-tiny {model}"));
    predict(&model).assert().success().stderr(taken);
    let taken = says(&format!("vgg19-tiny {}", fetched.display()));
    let data = at("data/weights").display().to_string();
    predict(&data).assert().success().stderr(taken);
    let taken = says("vgg19-tiny weights/vgg19-tiny.safetensors");
    predict("../new").assert().success().stderr(taken);
    let taken = says("vgg19-tiny random:7");
    predict("random:7").assert().success().stderr(taken);
    predict("gone")
        .assert()
        .code(3)
        .stderr(says("GOLDFISH_WEIGHTS names it"));
    predict("random:x")
        .assert()
        .code(2)
        .stderr(says("GOLDFISH_WEIGHTS"));
    // By the command line before all.
    let taken = says("vgg19-tiny random:8");
    let mut command = predict(&model);
    command
        .args(["--weights", "random:8"])
        .assert()
        .success()
        .stderr(taken);
    let taken = says(&format!("vgg19-tiny {}", fetched.display()));
    let mut command = predict(&model);
    command
        .args(["--weights", &data])
        .assert()
        .success()
        .stderr(taken);
    let mut command = predict(&model);
    let none = says("holds no weights of vgg19-tiny");
    command
        .args(["--weights", "../new"])
        .assert()
        .code(3)
        .stderr(none);
}
