//! The forward pass: which layers run how, with what LoRAs, and what is kept for the gradient. torchvision is the oracle:
//! ReLU after every layer but the last, no dropout (eval mode).

use std::ops::Range;

use super::adapter::Factors;
use super::arch::{Layer, POOLED};
use super::checkpoint::recomputed;
use super::convolve::{SAME, pool};
use super::lora::LoraFactors;
use super::vgg::{Held, Loaded, Vgg, Weight};
use crate::autograd::{Tape, Var};
use crate::error::{Error, Result};
use crate::ops;
use crate::tensor::Tensor;

impl Vgg {
    /// The logits of images: [N, 3, H, W], H and W from 32 (in the software family H = W) -> [N, classes]. Records
    /// nothing on the tape.
    ///
    /// # Errors
    /// [`Error::Shape`] for other input, [`Error::Memory`] where an activation does not fit a binding.
    pub fn forward(&self, tape: &mut Tape, images: &Var) -> Result<Var> {
        self.forward_from(tape, images, 0, None, &Factors::default(), false)
    }

    /// The same with an adapter: its LoRAs on the layers, and the branch from the pixels where it has one.
    ///
    /// # Errors
    /// As [`Vgg::forward`], and [`Error::Shape`] where the branch is for images of another size.
    pub fn adapted(&self, tape: &mut Tape, images: &Var, adapter: &Factors) -> Result<Var> {
        let logits = self.forward_from(tape, images, 0, None, adapter, false)?;
        adapter.branch(tape, &logits, images)
    }

    /// The logits from what `layer` takes, with the LoRAs and the head of `adapter`: rows [N, `row_len`] or, of a convolution, planes
    /// [N, C, H, W]. `product` is [`Vgg::product`] of the same, where it is known. With `checkpoint`, no more is kept for
    /// the gradient than what each block of convolutions takes: the rest is computed again when its gradient is.
    ///
    /// # Errors
    /// As [`Vgg::forward`].
    pub fn forward_from(
        &self,
        tape: &mut Tape,
        x: &Var,
        layer: usize,
        product: Option<&Var>,
        adapter: &Factors,
        checkpoint: bool,
    ) -> Result<Var> {
        let y = self.pass(tape, x, layer..self.depth(), product, adapter, checkpoint)?;
        adapter.head(tape, y, self.headless)
    }

    /// Layers `range` with the memory in mind. In the software family large planes go an image at a time, which needs the
    /// least; small ones and the linear layers take all images, so that their weights are read once.
    fn pass(
        &self,
        tape: &mut Tape,
        x: &Var,
        range: Range<usize>,
        product: Option<&Var>,
        adapter: &Factors,
        checkpoint: bool,
    ) -> Result<Var> {
        let convs = self.convs().min(range.end);
        let (mut x, mut start) = (x.clone(), range.start);
        let small = match &self.layers.get(start).filter(|_| self.software.is_some()) {
            Some(Loaded { layer, .. }) if layer.is_conv() => {
                let side = side_of(&x.tensor, layer.weight[1]);
                self.small_planes(start, side).min(range.end)
            }
            _ => start,
        };
        if start < small && !x.is_tracked() {
            let mut rows = Vec::new();
            for image in 0..x.tensor.shape()[0] {
                let x = Var::frozen(&x.tensor.rows(image..image + 1)?);
                let adapter = adapter.starting_at(image);
                let y = self.convolutions(tape, &x, start..small, &adapter, checkpoint)?;
                rows.push(in_rows(tape, &y)?);
            }
            x = ops::concat(tape, &rows)?;
            start = small;
        }
        if start < convs {
            x = self.convolutions(tape, &x, start..convs, adapter, checkpoint)?;
            start = convs;
        }
        self.run(tape, &x, start..range.end, product, adapter)
    }

    /// What a linear `layer` makes of its input without its LoRA and bias, which no step changes: [N, `row_len`] ->
    /// [N, outputs]. `None` for a convolution and past the last layer.
    ///
    /// # Errors
    /// What the device reported.
    pub fn product(&self, x: &Tensor, layer: usize) -> Result<Option<Tensor>> {
        if self.layers.get(layer).is_none_or(|l| l.layer.is_conv()) {
            return Ok(None);
        }
        let y = self.multiply(&mut Tape::new(), layer, &Var::frozen(x))?;
        Ok(Some(y.tensor))
    }

    /// The product of `x` and the frozen weight of layer `index`, which is neither in planes nor in tiles.
    fn multiply(&self, tape: &mut Tape, index: usize, x: &Var) -> Result<Var> {
        let Loaded { layer, held, .. } = &self.layers[index];
        let Held::Rows { weight, .. } = held else {
            return Err(released(layer));
        };
        match weight {
            Weight::Plain(weight) => product(tape, layer, x, &Var::frozen(weight)),
            Weight::Matrix(weight, cuts) => ops::linear_frozen(tape, x, weight, *cuts),
            Weight::Tiles(_) => unreachable!("what is in tiles comes with its bias"),
        }
    }

    /// Some of the convolutions, and what flattens the last one's result.
    fn convolutions(
        &self,
        tape: &mut Tape,
        x: &Var,
        range: Range<usize>,
        adapter: &Factors,
        checkpoint: bool,
    ) -> Result<Var> {
        if !checkpoint {
            return self.run(tape, x, range, None, adapter);
        }
        let mut x = self.enter(tape, x, range.start)?;
        let mut start = range.start;
        while start < range.end {
            // A block ends with its pool.
            let block = self.layers[start..].iter().take_while(|l| !l.layer.pool);
            let end = (start + block.count() + 1).min(range.end);
            x = recomputed(tape, self.clone(), &x, start..end, adapter.clone())?;
            start = end;
        }
        Ok(x)
    }

    /// Layers `range`, from what the first takes to what the one after the last takes.
    pub(super) fn run(
        &self,
        tape: &mut Tape,
        x: &Var,
        range: Range<usize>,
        product: Option<&Var>,
        adapter: &Factors,
    ) -> Result<Var> {
        let mut x = self.enter(tape, x, range.start)?;
        for index in range.clone() {
            let product = product.filter(|_| index == range.start);
            let Loaded { layer, held, .. } = &self.layers[index];
            let lora = adapter.get(&layer.name);
            x = match (held, product) {
                (Held::Planes(conv), _) => self.convolve(tape, index, conv, &x, lora)?,
                (
                    Held::Rows {
                        weight: Weight::Tiles(conv),
                        ..
                    },
                    None,
                ) => self.convolve_rows(tape, index, conv, &x, lora)?,
                (Held::Rows { bias, .. }, None) => {
                    let product = self.multiply(tape, index, &x)?;
                    self.finish(tape, index, &x, &product, &Var::frozen(bias), lora)?
                }
                (Held::Rows { bias, .. } | Held::Bias(bias), Some(product)) => {
                    self.finish(tape, index, &x, product, &Var::frozen(bias), lora)?
                }
                (Held::Bias(_), None) | (Held::Released, _) => return Err(released(layer)),
            };
            if index + 1 == self.convs() {
                x = flatten(tape, &x)?;
            }
        }
        Ok(x)
    }

    /// `x` as layer `layer` of this family takes it.
    fn enter(&self, tape: &mut Tape, x: &Var, layer: usize) -> Result<Var> {
        let Some(Loaded {
            layer: first, held, ..
        }) = self.layers.get(layer)
        else {
            return Ok(x.clone());
        };
        if !first.is_conv() {
            return Ok(x.clone());
        }
        let (shape, channels) = (x.tensor.shape().clone(), first.weight[1]);
        let planes = matches!(held, Held::Planes(_));
        let side = side_of(&x.tensor, channels);
        let fits = match shape.rank() {
            4 => shape[1] == channels && (!planes || shape[2] == shape[3]),
            2 => side * side * channels == shape[1],
            _ => false,
        };
        if !fits || (layer == 0 && shape.row_len() < 3 * 32 * 32) {
            let expected = match planes {
                true => format!("[N, {channels}, S, S], images with S from 32"),
                false => format!("[N, {channels}, H, W], images with H and W from 32"),
            };
            return Err(Error::shape("vgg", expected, shape.to_string()));
        }
        if planes && x.tensor.texture().is_none() {
            return ops::to_planes(tape, x, channels);
        }
        match shape.rank() {
            4 => Ok(x.clone()),
            _ => ops::reshape(tape, x, [shape[0], channels, side, side]),
        }
    }

    /// Layer `index` in rows from the product of `x` and the frozen weight, with ReLU and pool, before what flattens.
    fn finish(
        &self,
        tape: &mut Tape,
        index: usize,
        x: &Var,
        product: &Var,
        bias: &Var,
        lora: Option<&LoraFactors>,
    ) -> Result<Var> {
        let layer = &self.layers[index].layer;
        let mut y = product.clone();
        match lora {
            Some(lora) if layer.is_conv() => {
                let y = ops::bias(tape, &y, bias)?;
                return self.adapt(tape, index, x, &y, lora);
            }
            Some(lora) => {
                let x = lora.dropped(tape, x)?;
                y = ops::low_rank(tape, &y, &x, [&lora.a, &lora.b], lora.scale)?;
            }
            None => {}
        }
        y = match layer.relu {
            true => ops::bias_relu(tape, &y, bias)?,
            false => ops::bias(tape, &y, bias)?,
        };
        pool(tape, layer, y)
    }

    /// The logits with every parameter tracked as the caller did, in the portable family: for tests of the gradients.
    ///
    /// # Errors
    /// As [`Vgg::forward`].
    pub fn forward_with(
        &self,
        tape: &mut Tape,
        images: &Var,
        parameter: impl Fn(&str) -> Var,
    ) -> Result<Var> {
        let mut x = self.enter(tape, images, 0)?;
        for index in 0..self.depth() {
            let layer = &self.layers[index].layer;
            let weight = parameter(&format!("{}.weight", layer.name));
            let bias = parameter(&format!("{}.bias", layer.name));
            let product = product(tape, layer, &x, &weight)?;
            x = self.finish(tape, index, &x, &product, &bias, None)?;
            if index + 1 == self.convs() {
                x = flatten(tape, &x)?;
            }
        }
        Ok(x)
    }

    /// What `layer` takes, of normalised images [N, 3, side, side] on the host: [N, `row_len`]. An image's numbers do not
    /// depend on the other images, to the bit.
    ///
    /// # Errors
    /// As [`Vgg::forward`].
    pub fn prefix(&self, pixels: &[f32], side: usize, layer: usize) -> Result<Vec<f32>> {
        self.adapted_prefix(pixels, side, layer, &Factors::default())
    }

    /// The same with the LoRAs of `adapter` on the layers below.
    ///
    /// # Errors
    /// As [`Vgg::forward`].
    pub fn adapted_prefix(
        &self,
        pixels: &[f32],
        side: usize,
        layer: usize,
        adapter: &Factors,
    ) -> Result<Vec<f32>> {
        let image = 3 * side * side;
        if side < 32 || pixels.is_empty() || !pixels.len().is_multiple_of(image) {
            return Err(Error::shape(
                "vgg",
                "whole images of at least 32 x 32 pixels",
                format!("{} numbers, side {side}", pixels.len()),
            ));
        }
        let n = pixels.len() / image;
        let images = Tensor::from_slice(&self.gpu, [n, 3, side, side], pixels)?;
        self.lower(&images, layer, adapter)?.to_vec()
    }

    /// What `layer` takes, of normalised images [N, 3, side, side] that are on the device: [N, `row_len`] there too.
    ///
    /// # Errors
    /// As [`Vgg::forward`], and [`Error::Shape`] where the images are smaller than 32 x 32 or, for the first layer, more than
    /// one binding holds.
    pub fn below(&self, images: &Tensor, layer: usize, adapter: &Factors) -> Result<Tensor> {
        let shape = images.shape();
        if shape.rank() != 4 || shape[1] != 3 || shape[2] != shape[3] || shape[2] < 32 {
            return Err(Error::shape(
                "vgg",
                "[N, 3, side, side], sides of at least 32",
                shape.to_string(),
            ));
        }
        let rows = self.lower(images, layer, adapter)?;
        if rows.shape().rank() == 2 {
            return Ok(rows);
        }
        // In one part, or it cannot be looked at as rows.
        rows.buffer("vgg")?;
        let shape = [rows.shape()[0], rows.shape().row_len()];
        Ok(rows.reshaped(shape))
    }

    /// What `layer` takes of images, in rows or as they came.
    fn lower(&self, images: &Tensor, layer: usize, adapter: &Factors) -> Result<Tensor> {
        let mut tape = Tape::new();
        let images = Var::frozen(images);
        let y = self.pass(&mut tape, &images, 0..layer, None, adapter, false)?;
        Ok(in_rows(&mut tape, &y)?.tensor)
    }

    /// The base's logits: [`Vgg::prefix`] to the end.
    ///
    /// # Errors
    /// As [`Vgg::forward`].
    pub fn logits(&self, pixels: &[f32], side: usize) -> Result<Vec<f32>> {
        self.prefix(pixels, side, self.depth())
    }
}

/// The side of square planes of so many channels, which may be rows.
fn side_of(x: &Tensor, channels: usize) -> usize {
    (x.shape().row_len() / channels).isqrt()
}

fn released(layer: &Layer) -> Error {
    Error::Usage(format!("vgg: {} was released", layer.name))
}

/// The product of `x` and a weight in rows.
fn product(tape: &mut Tape, layer: &Layer, x: &Var, weight: &Var) -> Result<Var> {
    match layer.is_conv() {
        true => ops::conv2d(tape, x, weight, SAME),
        false => ops::linear(tape, x, weight),
    }
}

/// A tensor in planes as rows [N, C S S]; one in rows as it is.
fn in_rows(tape: &mut Tape, x: &Var) -> Result<Var> {
    match x.tensor.texture() {
        Some(_) => ops::to_rows(tape, x, x.tensor.shape()[2]),
        None => Ok(x.clone()),
    }
}

/// The last planes as the classifier's rows.
fn flatten(tape: &mut Tape, x: &Var) -> Result<Var> {
    if x.tensor.texture().is_some() {
        return ops::to_rows(tape, x, POOLED);
    }
    let pooled = ops::adaptive_avg_pool2d(tape, x, POOLED)?;
    let shape = pooled.tensor.shape().clone();
    ops::reshape(tape, &pooled, [shape[0], shape.row_len()])
}
