//! What an exported network computes, as ONNX's nodes under torchvision's names of layers.

use super::export::{Export, Input};
use super::proto::attribute_proto::AttributeType;
use super::proto::tensor_proto::DataType;
use super::proto::tensor_shape_proto::{Dimension, dimension};
use super::proto::{
    AttributeProto, GraphProto, NodeProto, TensorProto, TensorShapeProto, TypeProto,
    ValueInfoProto, type_proto,
};
use crate::data::image::{DEVIATION, MEAN};
use crate::nn::arch::{Layer, POOLED};
use crate::nn::lora::PIXELS;
use crate::tensor::{Shape, Tensor};

/// A graph, and the weights that belong into it in the order that they are written in.
pub(super) struct Network {
    pub graph: GraphProto,
    pub weights: Vec<Weight>,
}

/// A weight by name.
pub(super) enum Weight {
    /// A parameter of a layer.
    Layer(Layer, String, Shape),
    /// A factor of the branch from the pixels.
    Branch(String, Tensor),
}

impl Weight {
    pub fn name(&self) -> &str {
        match self {
            Weight::Layer(_, name, _) | Weight::Branch(name, _) => name,
        }
    }

    pub fn shape(&self) -> &Shape {
        match self {
            Weight::Layer(_, _, shape) => shape,
            Weight::Branch(_, factor) => factor.shape(),
        }
    }
}

impl Network {
    /// From `image` to `logits` and `probabilities`.
    pub fn new(export: &Export) -> Self {
        let mut network = Network {
            graph: GraphProto {
                name: Some(export.merged.arch.name.into()),
                ..GraphProto::default()
            },
            weights: Vec::new(),
        };
        let side = export.transform.size as i64;
        let classes = export.merged.classes.len() as i64;
        let (kind, dims) = match export.input {
            Input::Floats => (DataType::Float, [3, side, side]),
            Input::Bytes => (DataType::Uint8, [side, side, 3]),
        };
        network.graph.input = vec![value("image", kind, &dims)];
        network.graph.output = vec![
            value("logits", DataType::Float, &[classes]),
            value("probabilities", DataType::Float, &[classes]),
        ];
        let image = match export.input {
            Input::Floats => "image".to_string(),
            Input::Bytes => network.normalised(),
        };
        let branch = export.merged.adapter.get(PIXELS);
        let layers = export.merged.layers();
        let mut x = image.clone();
        let mut plane = export.transform.size;
        for (index, layer) in layers.iter().enumerate() {
            let last = index + 1 == layers.len();
            if layer.is_conv() {
                x = network.convolution(layer, &x);
                plane >>= usize::from(layer.pool);
                continue;
            }
            if index > 0 && layers[index - 1].is_conv() {
                let pooled = network.pooled(&x, plane);
                x = network.node("Flatten", "flatten", &[&pooled], vec![int("axis", 1)]);
            }
            let name = match (last, branch.is_some()) {
                (true, false) => "logits".to_string(),
                (true, true) => format!("{}/answer", layer.name),
                _ => layer.name.clone(),
            };
            x = network.linear(layer, &x, &name);
            if layer.relu {
                x = network.node("Relu", &format!("{name}/relu"), &[&x], vec![]);
            }
        }
        if let Some(lora) = branch {
            let (a, b) = ("pixels.lora_A.weight", "pixels.lora_B.weight");
            network
                .weights
                .push(Weight::Branch(a.into(), lora.a.clone()));
            network
                .weights
                .push(Weight::Branch(b.into(), lora.b.clone()));
            let flat = network.node("Flatten", "pixels", &[&image], vec![int("axis", 1)]);
            let turned = || int("transB", 1);
            let hidden = network.node("Gemm", "pixels/lora_A", &[&flat, a], vec![turned()]);
            let scale = float("alpha", lora.scale());
            network.node("Gemm", "logits", &[&hidden, b, &x], vec![scale, turned()]);
        }
        network.node(
            "Softmax",
            "probabilities",
            &["logits"],
            vec![int("axis", 1)],
        );
        network
    }

    /// A node of one output, which is called `name`.
    fn node(
        &mut self,
        operator: &str,
        name: &str,
        inputs: &[&str],
        attribute: Vec<AttributeProto>,
    ) -> String {
        self.graph.node.push(NodeProto {
            input: inputs.iter().map(|input| input.to_string()).collect(),
            output: vec![name.into()],
            name: Some(format!("{name}/{operator}")),
            op_type: Some(operator.into()),
            attribute,
        });
        name.into()
    }

    /// A small tensor that stands in the graph.
    fn constant(&mut self, name: &str, dims: &[i64], values: &[f32]) -> String {
        self.graph.initializer.push(TensorProto {
            dims: dims.to_vec(),
            data_type: Some(DataType::Float as i32),
            name: Some(name.into()),
            raw_data: Some(bytemuck::cast_slice(values).to_vec()),
        });
        name.into()
    }

    /// Bytes to what the first layer takes, in the order in which the program computes it.
    fn normalised(&mut self) -> String {
        let planes = self.node(
            "Transpose",
            "planes",
            &["image"],
            vec![ints("perm", &[0, 3, 1, 2])],
        );
        let kind = int("to", DataType::Float as i64);
        let floats = self.node("Cast", "floats", &[&planes], vec![kind]);
        let most = self.constant("white", &[1], &[255.0]);
        let mean = self.constant("mean", &[1, 3, 1, 1], &MEAN);
        let deviation = self.constant("std", &[1, 3, 1, 1], &DEVIATION);
        let scaled = self.node("Div", "scaled", &[&floats, &most], vec![]);
        let centred = self.node("Sub", "centred", &[&scaled, &mean], vec![]);
        self.node("Div", "normalised", &[&centred, &deviation], vec![])
    }

    /// The parameters of a layer as further inputs.
    fn parameters(&mut self, layer: &Layer) -> [String; 2] {
        let (weight, bias) = (
            format!("{}.weight", layer.name),
            format!("{}.bias", layer.name),
        );
        for (name, dims) in [(&weight, &layer.weight[..]), (&bias, &layer.weight[..1])] {
            let shape = Shape::from(dims);
            self.weights
                .push(Weight::Layer(layer.clone(), name.clone(), shape));
        }
        [weight, bias]
    }

    /// A convolution with its ReLU and its pool.
    fn convolution(&mut self, layer: &Layer, x: &str) -> String {
        let [weight, bias] = self.parameters(layer);
        let how = vec![ints("kernel_shape", &[3, 3]), ints("pads", &[1, 1, 1, 1])];
        let y = self.node("Conv", &layer.name, &[x, &weight, &bias], how);
        let y = self.node("Relu", &format!("{}/relu", layer.name), &[&y], vec![]);
        if !layer.pool {
            return y;
        }
        let how = vec![ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2])];
        self.node("MaxPool", &format!("{}/pool", layer.name), &[&y], how)
    }

    fn linear(&mut self, layer: &Layer, x: &str, name: &str) -> String {
        let [weight, bias] = self.parameters(layer);
        let how = vec![int("transB", 1)];
        self.node("Gemm", name, &[x, &weight, &bias], how)
    }

    /// Planes of `side` as planes of [`POOLED`]: means over windows that overlap where the side is no multiple, or is
    /// smaller, as products with the matrix that has each window's share of each row.
    fn pooled(&mut self, x: &str, side: usize) -> String {
        if side == POOLED {
            return x.into();
        }
        if side.is_multiple_of(POOLED) {
            let each = (side / POOLED) as i64;
            let how = vec![
                ints("kernel_shape", &[each, each]),
                ints("strides", &[each, each]),
            ];
            return self.node("AveragePool", "avgpool", &[x], how);
        }
        let share = windows(side);
        let turned: Vec<f32> = (0..side)
            .flat_map(|row| share.chunks(side).map(move |window| window[row]))
            .collect();
        let dims = [POOLED as i64, side as i64];
        let down = self.constant("avgpool.down", &dims, &share);
        let across = self.constant("avgpool.across", &[dims[1], dims[0]], &turned);
        let rows = self.node("MatMul", "avgpool/rows", &[&down, x], vec![]);
        self.node("MatMul", "avgpool", &[&rows, &across], vec![])
    }
}

/// [POOLED, side]: cell i has its share of rows `floor(i side / POOLED)` up to `ceil((i + 1) side / POOLED)`.
fn windows(side: usize) -> Vec<f32> {
    let mut share = vec![0.0; POOLED * side];
    for (cell, row) in share.chunks_mut(side).enumerate() {
        let window = cell * side / POOLED..((cell + 1) * side).div_ceil(POOLED);
        let each = 1.0 / window.len() as f32;
        row[window].fill(each);
    }
    share
}

/// An input or output of N images.
fn value(name: &str, kind: DataType, dims: &[i64]) -> ValueInfoProto {
    let images = dimension::Value::DimParam("N".into());
    let dims = dims.iter().map(|&n| dimension::Value::DimValue(n));
    let dims = std::iter::once(images).chain(dims);
    let shape = TensorShapeProto {
        dim: dims.map(|value| Dimension { value: Some(value) }).collect(),
    };
    ValueInfoProto {
        name: Some(name.into()),
        r#type: Some(TypeProto {
            value: Some(type_proto::Value::TensorType(type_proto::Tensor {
                elem_type: Some(kind as i32),
                shape: Some(shape),
            })),
        }),
        doc_string: None,
    }
}

fn attribute(name: &str, kind: AttributeType) -> AttributeProto {
    AttributeProto {
        name: Some(name.into()),
        r#type: Some(kind as i32),
        ..AttributeProto::default()
    }
}

fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        i: Some(value),
        ..attribute(name, AttributeType::Int)
    }
}

fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto {
        f: Some(value),
        ..attribute(name, AttributeType::Float)
    }
}

fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto {
        ints: values.to_vec(),
        ..attribute(name, AttributeType::Ints)
    }
}
