//! What the optimisers are checked with: three steps each, and clipping, against their definitions in f64.

use super::clip::clip_norm;
use super::optimizer::{Optimizer, Rule, Settings};
use crate::autograd::{Gradient, Var};
use crate::check::{Case, Input};
use crate::error::Result;
use crate::tensor::Tensor;

/// Every optimiser's cases for the self-test.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = vec![dense(300, ADAM), dense(301, ADAM)];
    let sizes = [
        (2, 3, 132),
        (5, 11, 40_000),
        (9, 3, 40),
        (7, 33, 10),
        (9, 33, 10),
    ];
    cases.extend(sizes.map(|size| outer(size, ADAM)));
    cases.extend([dense(300, ADAMW), dense(301, ADAMW)]);
    cases.extend([(5, 11, 4_000), (7, 33, 10)].map(|size| outer(size, ADAMW)));
    for (momentum, nesterov) in [(0.0, false), (0.9, false), (0.9, true)] {
        let sgd = Settings {
            momentum,
            nesterov,
            ..SGD
        };
        cases.push(dense(301, sgd));
    }
    cases.push(outer((5, 11, 132), SGD));
    // A norm that is too large, one that is not, and one summed of several runs.
    cases.extend([(300, 3.0), (301, 1e3), (9_001, 5.0)].map(|(n, most)| clip(n, most)));
    cases
}

const LR: f64 = 0.05;
const ADAM: Settings = Settings {
    rule: Rule::Adam,
    betas: [0.9, 0.999],
    eps: 1e-8,
    weight_decay: 0.01,
    momentum: 0.0,
    nesterov: false,
};
const ADAMW: Settings = Settings {
    rule: Rule::AdamW,
    weight_decay: 0.4,
    ..ADAM
};
const SGD: Settings = Settings {
    rule: Rule::Sgd,
    ..ADAM
};

/// A rule and what is not usual of it, for the name of a case.
fn title(settings: &Settings) -> (&'static str, &'static str) {
    match settings.rule {
        Rule::Adam => ("adam", ""),
        Rule::AdamW => ("adamw", ""),
        Rule::Sgd if settings.nesterov => ("sgd", " with Nesterov's momentum"),
        Rule::Sgd if settings.momentum > 0.0 => ("sgd", " with momentum"),
        Rule::Sgd => ("sgd", ""),
    }
}

/// A parameter after three steps on one gradient.
fn reference(settings: Settings, p: f64, dp: f64) -> f64 {
    let [beta1, beta2] = settings.betas;
    let (lr, decay) = (LR, settings.weight_decay);
    let (mut p, mut m, mut v) = (p, 0.0, 0.0);
    for t in 1..=3 {
        let mut g = dp;
        match settings.rule {
            Rule::AdamW => p *= 1.0 - lr * decay,
            Rule::Adam | Rule::Sgd => g += decay * p,
        }
        if settings.rule == Rule::Sgd {
            m = settings.momentum * m + g;
            p -= lr
                * match settings.nesterov {
                    true => g + settings.momentum * m,
                    false => m,
                };
            continue;
        }
        m = beta1 * m + (1.0 - beta1) * g;
        v = beta2 * v + (1.0 - beta2) * g * g;
        let m_hat = m / (1.0 - beta1.powi(t));
        let v_hat: f64 = v / (1.0 - beta2.powi(t));
        p -= lr * m_hat / (v_hat.sqrt() + settings.eps);
    }
    p
}

fn three_steps(settings: &Settings, p: &Tensor, gradient: Gradient) -> Result<Var> {
    let mut p = [p.clone()];
    let mut optimizer = Optimizer::new(settings, LR);
    for _ in 0..3 {
        optimizer.step(&mut p, std::slice::from_ref(&gradient))?;
    }
    Ok(Var::frozen(&p[0]))
}

fn dense(n: usize, settings: Settings) -> Case {
    let (op, how) = title(&settings);
    Case::new(
        op,
        format!("[{n}] three steps{how}"),
        [Input::normal([n]), Input::normal([n])],
        move |_, v| three_steps(&settings, &v[0].tensor, v[1].tensor.clone().into()),
        move |v| {
            let both = v[0].iter().zip(&v[1]);
            both.map(|(&p, &dp)| reference(settings, p, dp)).collect()
        },
    )
    .forward_only()
}

/// On one outer product of `n` rows, the parameter as [rows, columns].
fn outer((n, rows, columns): (usize, usize, usize), settings: Settings) -> Case {
    let (op, how) = title(&settings);
    Case::new(
        op,
        format!("[{rows}, {columns}] outer product of {n}, three steps{how}"),
        [
            Input::normal([rows, columns]),
            Input::normal([n, rows]),
            Input::normal([n, columns]),
        ],
        move |_, v| {
            let gradient = Gradient::Outer {
                left: v[1].tensor.clone(),
                right: v[2].tensor.clone(),
                alpha: 0.5,
            };
            three_steps(&settings, &v[0].tensor, gradient)
        },
        move |v| {
            let gradient = product(&v[1], &v[2], [n, rows, columns], 0.5);
            let both = v[0].iter().zip(&gradient);
            both.map(|(&p, &dp)| reference(settings, p, dp)).collect()
        },
    )
    .forward_only()
}

/// `alpha left^T right`.
fn product(left: &[f64], right: &[f64], [n, rows, columns]: [usize; 3], alpha: f64) -> Vec<f64> {
    let element = |i: usize| {
        let term = |n: usize| left[n * rows + i / columns] * right[n * columns + i % columns];
        alpha * (0..n).map(term).sum::<f64>()
    };
    (0..rows * columns).map(element).collect()
}

/// What becomes of a gradient of `n` beside an outer product, where the norm of both may be `most`.
fn clip(n: usize, most: f64) -> Case {
    let size = [2, 3, 5];
    let [few, rows, columns] = size;
    Case::new(
        "clip",
        format!("[{n}] beside [{rows}, {columns}] to {most}"),
        [
            Input::normal([n]),
            Input::normal([few, rows]),
            Input::normal([few, columns]),
        ],
        move |_, v| {
            let gradients = [
                v[0].tensor.clone().into(),
                Gradient::Outer {
                    left: v[1].tensor.clone(),
                    right: v[2].tensor.clone(),
                    alpha: 2.0,
                },
            ];
            let clipped = clip_norm(&gradients, most)?;
            Ok(Var::frozen(&clipped[0].dense()?))
        },
        move |v| {
            let outer = product(&v[1], &v[2], size, 2.0);
            let squares = v[0].iter().chain(&outer).map(|x| x * x);
            let factor = most / (squares.sum::<f64>().sqrt() + 1e-6);
            let factor = if factor > 1.0 { 1.0 } else { factor };
            v[0].iter().map(|x| x * factor).collect()
        },
    )
    .forward_only()
}
