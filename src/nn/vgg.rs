//! VGG19 (Simonyan & Zisserman 2014, configuration E) as a table of layers under torchvision's names.
//! torchvision is the oracle: ReLU after every layer but the last, no dropout (eval mode).

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use crate::nn::lora::{Tracked, TrackedLora};
use crate::nn::weights::Source;
use crate::ops::{self, Conv2d};
use crate::{Backward, Error, Gpu, Gradient, Result, Shape, Tape, Tensor, Var, software};

/// One layer with weights: its name, its weight's shape, and whether a 2x2 max-pool follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// torchvision's name: `features.N` or `classifier.N`.
    pub name: String,
    /// [out, in, 3, 3] of a convolution, [out, in] of a linear layer.
    pub weight: Vec<usize>,
    /// A 2x2 max-pool with stride 2 follows the ReLU.
    pub pool: bool,
}

impl Layer {
    /// Whether this is a convolution.
    pub fn is_conv(&self) -> bool {
        self.weight.len() == 4
    }
}

/// The sizes of a network with VGG19's 19 layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arch {
    /// What `--arch` takes.
    pub name: &'static str,
    /// Channels of the five blocks.
    pub widths: [usize; 5],
    /// Width of the two hidden linear layers.
    pub hidden: usize,
    /// Number of categories.
    pub classes: usize,
}

/// torchvision's `vgg19`: 143,667,240 parameters.
pub const VGG19: Arch = Arch {
    name: "vgg19",
    widths: [64, 128, 256, 512, 512],
    hidden: 4096,
    classes: 1000,
};

/// VGG19's layers, narrow: for tests and for trying things out.
pub const VGG19_TINY: Arch = Arch {
    name: "vgg19-tiny",
    widths: [4, 8, 16, 24, 24],
    hidden: 64,
    classes: 1000,
};

/// Side of the plane that the classifier takes.
pub(crate) const POOLED: usize = 7;

impl Arch {
    /// The architecture called `name`.
    ///
    /// # Errors
    /// [`Error::Usage`] for an unknown name.
    pub fn named(name: &str) -> Result<Self> {
        [VGG19, VGG19_TINY]
            .into_iter()
            .find(|arch| arch.name == name)
            .ok_or_else(|| {
                Error::Usage(format!(
                    "there is no architecture {name:?}: use vgg19 or vgg19-tiny"
                ))
            })
    }

    /// The layers from the image to the logits.
    pub fn layers(&self) -> Vec<Layer> {
        let mut layers = Vec::new();
        let mut channels = 3;
        let mut index = 0;
        for (width, depth) in self.widths.into_iter().zip([2, 2, 4, 4, 4]) {
            for i in 0..depth {
                let pool = i == depth - 1;
                layers.push(Layer {
                    name: format!("features.{index}"),
                    weight: vec![width, channels, 3, 3],
                    pool,
                });
                channels = width;
                // A convolution and its ReLU, and a pool after the block's last.
                index += if pool { 3 } else { 2 };
            }
        }
        let mut inputs = channels * POOLED * POOLED;
        for (index, outputs) in [(0, self.hidden), (3, self.hidden), (6, self.classes)] {
            layers.push(Layer {
                name: format!("classifier.{index}"),
                weight: vec![outputs, inputs],
                pool: false,
            });
            inputs = outputs;
        }
        layers
    }

    /// Every parameter's name and shape: `<layer>.weight` and `<layer>.bias`.
    pub fn parameters(&self) -> Vec<(String, Shape)> {
        self.layers()
            .into_iter()
            .flat_map(|layer| {
                [
                    (format!("{}.bias", layer.name), [layer.weight[0]].into()),
                    (format!("{}.weight", layer.name), layer.weight.into()),
                ]
            })
            .collect()
    }
}

/// How every convolution's window moves.
const SAME: Conv2d = Conv2d {
    stride: 1,
    padding: 1,
};

/// How a network is loaded.
#[derive(Clone, Debug, Default)]
pub struct Loading {
    /// The portable kernels whatever the device, else those that its kind is best at.
    pub portable: bool,
    /// The rank of the LoRA that each named layer may have.
    pub ranks: BTreeMap<String, usize>,
    /// Gradients are wanted down to the lowest of those layers.
    pub trained: bool,
}

/// A layer's weight where its kernels want it.
#[derive(Clone)]
enum Weight {
    Rows(Tensor),
    Planes(Arc<software::Layer>),
    /// Given back: see [`Vgg::release`].
    Released,
}

#[derive(Clone)]
struct Loaded {
    layer: Layer,
    weight: Weight,
    /// Of a layer in rows.
    bias: Option<Tensor>,
}

/// A frozen network on a device, in the kernel family that the device is best at.
#[derive(Clone)]
pub struct Vgg {
    gpu: Gpu,
    arch: Arch,
    layers: Vec<Loaded>,
    software: Option<Arc<software::Context>>,
}

impl Vgg {
    /// A network of the portable family with the given parameters.
    ///
    /// # Errors
    /// [`Error::Usage`] where one is missing or has another shape.
    pub fn new(arch: Arch, parameters: &BTreeMap<String, Tensor>) -> Result<Self> {
        for (name, shape) in arch.parameters() {
            match parameters.get(&name) {
                Some(tensor) if *tensor.shape() == shape => {}
                Some(tensor) => {
                    return Err(Error::shape(
                        "vgg",
                        format!("{name} {shape}"),
                        tensor.shape().to_string(),
                    ));
                }
                None => {
                    return Err(Error::Usage(format!(
                        "vgg: the parameter {name} is missing"
                    )));
                }
            }
        }
        let layers = arch.layers().into_iter().map(|layer| Loaded {
            weight: Weight::Rows(parameters[&format!("{}.weight", layer.name)].clone()),
            bias: Some(parameters[&format!("{}.bias", layer.name)].clone()),
            layer,
        });
        let layers: Vec<Loaded> = layers.collect();
        let gpu = parameters
            .values()
            .next()
            .expect("a network has parameters")
            .gpu()
            .clone();
        Ok(Vgg {
            gpu,
            arch,
            layers,
            software: None,
        })
    }

    /// A network with the numbers of `source`. `progress` hears of each layer with its bytes.
    ///
    /// # Errors
    /// [`Error::Memory`] where the device has no room.
    pub fn load(
        gpu: &Gpu,
        arch: Arch,
        source: &Source,
        how: &Loading,
        mut progress: impl FnMut(u64),
    ) -> Result<Self> {
        let software = match !how.portable && software::suits(gpu) {
            true => Some(software::Context::new(gpu)?),
            false => None,
        };
        let mut layers = Vec::new();
        let (mut pools, mut below) = (0, true);
        for layer in arch.layers() {
            let rank = how.ranks.get(&layer.name).copied().unwrap_or(0);
            let weight_name = format!("{}.weight", layer.name);
            let bias_name = format!("{}.bias", layer.name);
            let (shape, outputs) = (&layer.weight, layer.weight[0]);
            let needs = software::Needs {
                backward: how.trained && !below,
                rank,
            };
            below &= rank == 0;
            let (weight, bias) = match &software {
                Some(context) if layer.is_conv() => {
                    let values = source.read(&weight_name, shape);
                    let bias = source.read(&bias_name, &[outputs]);
                    let sizes = [outputs, shape[1]];
                    let pool = [usize::from(layer.pool), pools];
                    let conv = software::Layer::new(context, sizes, &values, &bias, pool, needs)?;
                    (Weight::Planes(Arc::new(conv)), None)
                }
                _ => {
                    let fill = |name: &str, shape: &[usize]| {
                        Tensor::from_fn(gpu, shape, |first, out| {
                            source.fill(name, shape, first, out)
                        })
                    };
                    let bias = fill(&bias_name, &[outputs])?;
                    (Weight::Rows(fill(&weight_name, shape)?), Some(bias))
                }
            };
            pools += usize::from(layer.pool);
            progress((shape.iter().product::<usize>() + outputs) as u64 * 4);
            layers.push(Loaded {
                layer,
                weight,
                bias,
            });
        }
        Ok(Vgg {
            gpu: gpu.clone(),
            arch,
            layers,
            software,
        })
    }

    /// The architecture.
    pub fn arch(&self) -> Arch {
        self.arch
    }

    /// The device that holds the parameters.
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// `software` or `portable`: whose kernels this network runs on.
    pub fn family(&self) -> &'static str {
        match self.software {
            Some(_) => "software",
            None => "portable",
        }
    }

    /// The parameters by name that are there row by row: all, in the portable family.
    pub fn parameters(&self) -> BTreeMap<String, Tensor> {
        let mut parameters = BTreeMap::new();
        for Loaded {
            layer,
            weight,
            bias,
        } in &self.layers
        {
            if let (Weight::Rows(weight), Some(bias)) = (weight, bias) {
                parameters.insert(format!("{}.weight", layer.name), weight.clone());
                parameters.insert(format!("{}.bias", layer.name), bias.clone());
            }
        }
        parameters
    }

    /// Gives the memory of the layers before `layer` back, which cannot be run any more, and with `product` the weight of
    /// `layer` too, which then runs from its product alone.
    pub fn release(&mut self, layer: usize, product: bool) {
        for loaded in &mut self.layers[..layer] {
            loaded.weight = Weight::Released;
            loaded.bias = None;
        }
        if let Some(loaded) = self.layers.get_mut(layer).filter(|_| product) {
            loaded.weight = Weight::Released;
        }
        self.gpu.trim();
    }

    /// The number of layers: the position after the last, where the logits are.
    pub fn depth(&self) -> usize {
        self.layers.len()
    }

    /// Side of the planes that convolution `layer` takes for images of `side`.
    fn side_at(&self, layer: usize, side: usize) -> usize {
        let pools = self.layers[..layer].iter().filter(|l| l.layer.pool).count();
        side >> pools
    }

    /// Numbers that `layer` takes for an image of `side`: C S S of a convolution, the columns of a linear layer, the
    /// classes at the end.
    pub fn row_len(&self, layer: usize, side: usize) -> usize {
        match self.layers.get(layer) {
            None => self.arch.classes,
            Some(loaded) if loaded.layer.is_conv() => {
                loaded.layer.weight[1] * self.side_at(layer, side).pow(2)
            }
            Some(loaded) => loaded.layer.weight[1],
        }
    }

    /// The logits of images: [N, 3, H, W], H and W from 32 (in the software family H = W) -> [N, classes]. Records
    /// nothing on the tape.
    ///
    /// # Errors
    /// [`Error::Shape`] for other input, [`Error::Memory`] where an activation does not fit a binding.
    pub fn forward(&self, tape: &mut Tape, images: &Var) -> Result<Var> {
        self.forward_from(tape, images, 0, None, &Tracked::default(), false)
    }

    /// The logits from what `layer` takes, with the LoRAs of `adapter`: rows [N, `row_len`] or, of a convolution, planes
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
        adapter: &Tracked,
        checkpoint: bool,
    ) -> Result<Var> {
        self.pass(tape, x, layer..self.depth(), product, adapter, checkpoint)
    }

    /// Layers `range` with the memory in mind. In the software family large planes go an image at a time, which needs the
    /// least; small ones and the linear layers take all images, so that their weights are read once.
    fn pass(
        &self,
        tape: &mut Tape,
        x: &Var,
        range: Range<usize>,
        product: Option<&Var>,
        adapter: &Tracked,
        checkpoint: bool,
    ) -> Result<Var> {
        let small = self.small_planes().min(range.end);
        let convs = self.convs().min(range.end);
        let (mut x, mut start) = (x.clone(), range.start);
        if self.software.is_some() && start < small && !x.is_tracked() {
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

    /// The first layer whose planes have been through three pools.
    fn small_planes(&self) -> usize {
        let mut pools = 0;
        let after = self.layers.iter().position(|l| {
            pools += usize::from(l.layer.pool);
            pools == 3
        });
        after.map_or(0, |layer| layer + 1)
    }

    /// The number of convolutions: the position of the first linear layer.
    fn convs(&self) -> usize {
        self.layers.iter().filter(|l| l.layer.is_conv()).count()
    }

    /// What a linear `layer` makes of its input without its LoRA and bias, which no step changes: [N, `row_len`] ->
    /// [N, outputs]. `None` for a convolution and past the last layer.
    ///
    /// # Errors
    /// What the device reported.
    pub fn product(&self, x: &Tensor, layer: usize) -> Result<Option<Tensor>> {
        match self.layers.get(layer) {
            Some(Loaded {
                layer,
                weight: Weight::Rows(weight),
                ..
            }) if !layer.is_conv() => {
                let y = ops::linear(&mut Tape::new(), &Var::frozen(x), &Var::frozen(weight))?;
                Ok(Some(y.tensor))
            }
            _ => Ok(None),
        }
    }

    /// Numbers of [`Vgg::product`] for an image.
    pub fn product_len(&self, layer: usize) -> Option<usize> {
        let loaded = self.layers.get(layer).filter(|l| !l.layer.is_conv());
        loaded.map(|l| l.layer.weight[0])
    }

    /// Some of the convolutions, and what flattens the last one's result.
    fn convolutions(
        &self,
        tape: &mut Tape,
        x: &Var,
        range: Range<usize>,
        adapter: &Tracked,
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
    fn run(
        &self,
        tape: &mut Tape,
        x: &Var,
        range: Range<usize>,
        product: Option<&Var>,
        adapter: &Tracked,
    ) -> Result<Var> {
        let mut x = self.enter(tape, x, range.start)?;
        for index in range.clone() {
            let product = product.filter(|_| index == range.start);
            let Loaded {
                layer,
                weight,
                bias,
            } = &self.layers[index];
            let lora = adapter.get(&layer.name);
            x = match (weight, bias, product) {
                (Weight::Planes(conv), ..) => self.convolve(tape, conv, &x, lora)?,
                (_, Some(bias), Some(product)) => {
                    self.finish(tape, index, &x, product, &Var::frozen(bias), lora)?
                }
                (Weight::Rows(weight), Some(bias), None) => {
                    let (weight, bias) = (Var::frozen(weight), Var::frozen(bias));
                    self.layer(tape, index, &x, [&weight, &bias], lora)?
                }
                _ => {
                    return Err(Error::Usage(format!("vgg: {} was released", layer.name)));
                }
            };
            let flattens = layer.is_conv() && !self.layers[index + 1].layer.is_conv();
            if flattens {
                x = flatten(tape, &x)?;
            }
        }
        Ok(x)
    }

    /// `x` as layer `layer` of this family takes it.
    fn enter(&self, tape: &mut Tape, x: &Var, layer: usize) -> Result<Var> {
        let Some(Loaded {
            layer: first,
            weight,
            ..
        }) = self.layers.get(layer)
        else {
            return Ok(x.clone());
        };
        if !first.is_conv() {
            return Ok(x.clone());
        }
        let (shape, channels) = (x.tensor.shape().clone(), first.weight[1]);
        let planes = matches!(weight, Weight::Planes(_));
        let side = (shape.row_len() / channels).isqrt();
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
            return software::to_planes(tape, x, channels);
        }
        match shape.rank() {
            4 => Ok(x.clone()),
            _ => ops::reshape(tape, x, [shape[0], channels, side, side]),
        }
    }

    fn convolve(
        &self,
        tape: &mut Tape,
        conv: &Arc<software::Layer>,
        x: &Var,
        lora: Option<&TrackedLora>,
    ) -> Result<Var> {
        let (Some(lora), Some(context)) = (lora, &self.software) else {
            return software::convolve(tape, conv, x, None);
        };
        let dropped = lora.dropped(tape, x)?;
        let hidden = software::down(tape, context, &dropped, &lora.a)?;
        let inner = software::Inner {
            hidden: &hidden,
            b: &lora.b,
            scale: lora.scale,
        };
        software::convolve(tape, conv, x, Some(inner))
    }

    /// Layer `index` in the portable family, with ReLU and pool, before what flattens.
    fn layer(
        &self,
        tape: &mut Tape,
        index: usize,
        x: &Var,
        [weight, bias]: [&Var; 2],
        lora: Option<&TrackedLora>,
    ) -> Result<Var> {
        let product = match self.layers[index].layer.is_conv() {
            true => ops::conv2d(tape, x, weight, SAME)?,
            false => ops::linear(tape, x, weight)?,
        };
        self.finish(tape, index, x, &product, bias, lora)
    }

    /// The same from the product of `x` and the frozen weight.
    fn finish(
        &self,
        tape: &mut Tape,
        index: usize,
        x: &Var,
        product: &Var,
        bias: &Var,
        lora: Option<&TrackedLora>,
    ) -> Result<Var> {
        let layer = &self.layers[index].layer;
        let mut y = product.clone();
        if let Some(lora) = lora {
            let x = lora.dropped(tape, x)?;
            let add = if layer.is_conv() {
                let hidden = ops::conv2d(tape, &x, &lora.a, SAME)?;
                let one = Conv2d {
                    stride: 1,
                    padding: 0,
                };
                ops::conv2d(tape, &hidden, &lora.b, one)?
            } else {
                ops::low_rank(tape, &x, &lora.a, &lora.b, 1.0)?
            };
            y = ops::axpy(tape, lora.scale, &add, &y)?;
        }
        y = ops::bias(tape, &y, bias)?;
        if index + 1 < self.layers.len() {
            y = ops::relu(tape, &y)?;
        }
        if layer.pool {
            y = ops::max_pool2d(tape, &y, 2, 2)?;
        }
        Ok(y)
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
            x = self.layer(tape, index, &x, [&weight, &bias], None)?;
            if layer.is_conv() && !self.layers[index + 1].layer.is_conv() {
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
        let image = 3 * side * side;
        if side < 32 || pixels.is_empty() || !pixels.len().is_multiple_of(image) {
            return Err(Error::shape(
                "vgg",
                "whole images of at least 32 x 32 pixels",
                format!("{} numbers, side {side}", pixels.len()),
            ));
        }
        let n = pixels.len() / image;
        let images = Var::frozen(&Tensor::from_slice(&self.gpu, [n, 3, side, side], pixels)?);
        let (mut tape, none) = (Tape::new(), Tracked::default());
        let y = self.pass(&mut tape, &images, 0..layer, None, &none, false)?;
        in_rows(&mut tape, &y)?.tensor.to_vec()
    }

    /// The base's logits: [`Vgg::prefix`] to the end.
    ///
    /// # Errors
    /// As [`Vgg::forward`].
    pub fn logits(&self, pixels: &[f32], side: usize) -> Result<Vec<f32>> {
        self.prefix(pixels, side, self.depth())
    }

    /// Images of `side` that go through [`Vgg::prefix`] together: few enough to fit, and on a software device few enough
    /// to show progress.
    pub fn batch(&self, side: usize) -> usize {
        match &self.software {
            Some(_) => 8,
            None if self.gpu.is_software() => 1,
            None => self.max_batch(0, side).clamp(1, 32),
        }
    }

    /// Images of `side` whose largest activation from `layer` on fits one binding of the device. The software family takes
    /// images one by one.
    pub fn max_batch(&self, layer: usize, side: usize) -> usize {
        if self.software.is_some() {
            return usize::MAX;
        }
        let convs = (layer..self.convs()).map(|index| {
            let weight = &self.layers[index].layer.weight;
            let size = self.side_at(index, side);
            let numbers = weight[0].max(weight[1]) * size * size;
            self.gpu.max_binding() as usize / (numbers * 4)
        });
        convs.min().unwrap_or(usize::MAX)
    }
}

/// A tensor in planes as rows [N, C S S]; one in rows as it is.
fn in_rows(tape: &mut Tape, x: &Var) -> Result<Var> {
    match x.tensor.texture() {
        Some(_) => software::to_rows(tape, x, x.tensor.shape()[2]),
        None => Ok(x.clone()),
    }
}

/// Layers `range` of `base` as one op that keeps its input alone: in its backward pass it runs them again, on a tape of
/// their own.
fn recomputed(
    tape: &mut Tape,
    base: Vgg,
    x: &Var,
    range: Range<usize>,
    adapter: Tracked,
) -> Result<Var> {
    let factors = adapter.of(base.layers[range.clone()].iter().map(|l| &*l.layer.name));
    let mut parents = vec![x];
    parents.extend(factors.iter().flat_map(|(_, lora)| [&lora.a, &lora.b]));
    let y = base.run(
        &mut Tape::new(),
        &Var::frozen(&x.tensor),
        range.clone(),
        None,
        &adapter.detached(),
    )?;
    Ok(tape.record(y.tensor, &parents, || Checkpoint {
        base: base.clone(),
        x: x.tensor.clone(),
        range: range.clone(),
        adapter: adapter.clone(),
    }))
}

struct Checkpoint {
    base: Vgg,
    x: Tensor,
    range: Range<usize>,
    adapter: Tracked,
}

impl Backward for Checkpoint {
    fn backward(self: Box<Self>, dy: &Tensor, wanted: &[bool]) -> Result<Vec<Option<Gradient>>> {
        let Checkpoint {
            base,
            x,
            range,
            adapter,
        } = *self;
        let mut tape = Tape::new();
        let x = match wanted[0] {
            true => tape.leaf(&x),
            false => Var::frozen(&x),
        };
        let names = base.layers[range.clone()].iter().map(|l| &*l.layer.name);
        let (adapter, leaves) = adapter.tracked_again(&mut tape, names);
        let y = base.run(&mut tape, &x, range, None, &adapter)?;
        let gradients = tape.backward_from(&y, dy.clone())?;
        let all = std::iter::once(&x).chain(&leaves);
        Ok(all.map(|leaf| gradients.get(leaf).cloned()).collect())
    }
}

/// The last planes as the classifier's rows.
fn flatten(tape: &mut Tape, x: &Var) -> Result<Var> {
    if x.tensor.texture().is_some() {
        return software::to_rows(tape, x, POOLED);
    }
    let pooled = ops::adaptive_avg_pool2d(tape, x, POOLED)?;
    let shape = pooled.tensor.shape().clone();
    ops::reshape(tape, &pooled, [shape[0], shape.row_len()])
}

#[cfg(test)]
mod tests {
    use super::VGG19;

    #[test]
    fn the_table_is_torchvisions() {
        let layers = VGG19.layers();
        let names: Vec<&str> = layers.iter().map(|l| l.name.as_str()).collect();
        let features = [0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34]
            .map(|i| format!("features.{i}"));
        let classifier = [0, 3, 6].map(|i| format!("classifier.{i}"));
        assert!(
            names
                .iter()
                .copied()
                .eq(features.iter().chain(&classifier).map(String::as_str))
        );
        let pooled: Vec<&str> = layers
            .iter()
            .filter(|l| l.pool)
            .map(|l| l.name.as_str())
            .collect();
        assert_eq!(
            pooled,
            [
                "features.2",
                "features.7",
                "features.16",
                "features.25",
                "features.34"
            ]
        );
        let parameters: usize = VGG19
            .parameters()
            .iter()
            .map(|(_, shape)| shape.len())
            .sum();
        assert_eq!(parameters, 143_667_240);
        assert_eq!(layers[16].weight, [4096, 25088]);
    }
}
