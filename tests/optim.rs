//! Optimisers: a run that is taken up again goes on with the same bits.

use std::collections::BTreeMap;

use goldfish::optim::Adam;
use goldfish::{Gradient, Shape, Tensor};
use libtest_mimic::Trial;

use crate::support::{gpu, gpu_trial, normal};

pub fn trials() -> Vec<Trial> {
    vec![gpu_trial(
        "optim::adam_goes_on_where_it_was",
        goes_on_where_it_was,
    )]
}

/// Few columns, a multiple of a quad's, an odd length: each is another kernel's.
const SHAPES: [[usize; 2]; 3] = [[33, 10], [3, 4000], [1, 301]];

fn parameters() -> Vec<Tensor> {
    let all = SHAPES.iter().enumerate();
    all.map(|(i, shape)| normal(&gpu(), 0, &format!("p {i}"), shape, 1.0))
        .collect()
}

/// A step's gradients: two outer products, and one whose numbers are there.
fn gradients(step: u64) -> Vec<Gradient> {
    let of = |what: &str, shape: [usize; 2]| normal(&gpu(), step, what, &shape, 0.1);
    let outer = |[rows, columns]: [usize; 2]| Gradient::Outer {
        left: of("left", [5, rows]),
        right: of("right", [5, columns]),
        alpha: 0.5,
    };
    vec![
        outer(SHAPES[0]),
        outer(SHAPES[1]),
        of("dense", SHAPES[2]).into(),
    ]
}

fn steps(adam: &mut Adam, parameters: &mut [Tensor], numbers: std::ops::Range<u64>) {
    for number in numbers {
        let step = adam.step(parameters, &gradients(number));
        step.expect("a step");
    }
}

fn numbers(tensors: &[Tensor]) -> Vec<Vec<f32>> {
    let all = tensors.iter().map(Tensor::to_vec);
    all.collect::<Result<_, _>>().expect("numbers")
}

fn bits(tensors: &[Tensor]) -> Vec<Vec<u32>> {
    let bits = |v: &Vec<f32>| v.iter().map(|x| x.to_bits()).collect();
    numbers(tensors).iter().map(bits).collect()
}

/// Stopped after two steps of five, and gone on with from what was read back.
fn goes_on_where_it_was() {
    let gpu = gpu();
    let (mut whole, mut expected) = (Adam::new(0.1), parameters());
    assert!(whole.state().1.is_empty(), "nothing before the first step");
    steps(&mut whole, &mut expected, 0..5);

    let (mut first, mut stopped) = (Adam::new(0.1), parameters());
    steps(&mut first, &mut stopped, 0..2);
    let (taken, state) = first.state();
    let saved: BTreeMap<String, Vec<f32>> = state
        .iter()
        .map(|(name, tensor)| (name.clone(), tensor.to_vec().expect("numbers")))
        .collect();
    let names: Vec<&str> = saved.keys().map(String::as_str).collect();
    let moments = ["exp_avg.0", "exp_avg.1", "exp_avg.2"];
    assert_eq!(names[..3], moments);
    assert_eq!((names[3], names[6]), ("exp_avg_sq.0", "lost"));
    let mut resumed: Vec<Tensor> = numbers(&stopped)
        .iter()
        .zip(SHAPES)
        .map(|(p, shape)| Tensor::from_slice(&gpu, shape, p).expect("a tensor"))
        .collect();

    let mut second = Adam::new(0.1);
    let mut given = Vec::new();
    second
        .restore(taken, &resumed, &mut |name, shape| {
            let tensor = Tensor::from_slice(&gpu, shape.clone(), &saved[name])?;
            given.push((name.to_string(), tensor.clone()));
            Ok(tensor)
        })
        .expect("it is whole");
    steps(&mut second, &mut resumed, 2..5);
    assert_eq!(second.steps, 5);
    assert!(bits(&resumed) == bits(&expected));
    assert_eq!(given.len(), saved.len());
    for (name, tensor) in given {
        let now = tensor.to_vec().expect("numbers");
        assert!(now == saved[&name], "{name} was given, not lent");
    }

    // What has another shape is refused, and changes nothing.
    let mut other = |_: &str, _: &Shape| Tensor::from_slice(&gpu, [2], &[1.0, 2.0]);
    let refused = second.restore(9, &resumed, &mut other);
    let text = refused.expect_err("another shape").to_string();
    assert!(
        text.starts_with("adam: expected exp_avg.0 of shape"),
        "{text}"
    );
    steps(&mut second, &mut resumed, 5..6);
    steps(&mut whole, &mut expected, 5..6);
    assert_eq!(second.steps, 6);
    assert!(bits(&resumed) == bits(&expected));
}
