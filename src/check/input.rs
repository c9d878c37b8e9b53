//! The numbers that a case feeds its op, from a seeded stream.

use crate::random::Stream;
use crate::tensor::Shape;

/// Random data for one input of a case.
#[derive(Clone, Debug)]
pub struct Input {
    pub(super) shape: Shape,
    scale: f64,
    kind: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Normal,
    AwayFromZero,
    Distinct,
}

impl Input {
    /// Standard normal numbers.
    pub fn normal(shape: impl Into<Shape>) -> Self {
        Input {
            shape: shape.into(),
            scale: 1.0,
            kind: Kind::Normal,
        }
    }

    /// Distinct numbers, 0.01 apart, in random order.
    pub fn distinct(shape: impl Into<Shape>) -> Self {
        Input {
            kind: Kind::Distinct,
            ..Self::normal(shape)
        }
    }

    /// The same with every element at least 0.1 from zero.
    pub fn away_from_zero(self) -> Self {
        Input {
            kind: Kind::AwayFromZero,
            ..self
        }
    }

    /// The same, larger.
    pub fn times(self, scale: f64) -> Self {
        Input { scale, ..self }
    }

    pub(super) fn data(&self, stream: Stream) -> Vec<f32> {
        let mut data = vec![0.0; self.shape.len()];
        match self.kind {
            Kind::Normal => stream.fill_normal(0, self.scale, &mut data),
            Kind::AwayFromZero => {
                stream.fill_normal(0, self.scale, &mut data);
                data.iter_mut().for_each(|x| *x += 0.1f32.copysign(*x));
            }
            Kind::Distinct => {
                let middle = data.len() as f32 / 2.0;
                let order = stream.permutation(data.len());
                data.iter_mut()
                    .zip(order)
                    .for_each(|(x, i)| *x = (i as f32 - middle) * 0.01);
            }
        }
        data
    }
}
