//! What is exported, and what the file says of it to people and to programs.

use serde_json::{Value, json};

use super::proto::{ModelProto, OperatorSetIdProto, StringStringEntryProto};
use crate::data::Transform;
use crate::data::image::{DEVIATION, MEAN};
use crate::formats::merged::Merged;
use crate::nn::Identity;

/// The version of the file format, and that of the operators: of 2021, with all that VGG needs, so that old runtimes read
/// them too.
const IR_VERSION: i64 = 8;
const OPSET: i64 = 17;

/// What an exported network takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Input {
    /// f32 [N, 3, side, side], normalised as torchvision's networks take it.
    #[default]
    Floats,
    /// u8 [N, side, side, 3], RGB as decoders give it; the network normalises.
    Bytes,
}

/// What is exported.
#[derive(Clone, Copy, Debug)]
pub struct Export<'a> {
    /// The network; the branch from the pixels, where it is adapted, becomes a part of the graph.
    pub merged: Merged<'a>,
    /// How images are made for it.
    pub transform: Transform,
    /// Which base that is.
    pub base: &'a Identity,
    /// What the network takes.
    pub input: Input,
}

impl Export<'_> {
    /// The file but for its graph.
    pub(super) fn model(&self) -> ModelProto {
        ModelProto {
            ir_version: Some(IR_VERSION),
            opset_import: vec![OperatorSetIdProto {
                domain: Some(String::new()),
                version: Some(OPSET),
            }],
            producer_name: Some("goldfish".into()),
            producer_version: Some(env!("CARGO_PKG_VERSION").into()),
            doc_string: Some(self.explanation()),
            graph: None,
            metadata_props: self.notes(),
        }
    }

    /// What a person has to know to use the file.
    fn explanation(&self) -> String {
        let (side, resized) = (self.transform.size, self.transform.resized());
        let pixels = match self.input {
            Input::Floats => format!(
                "scale to 0..1, subtract the mean {MEAN:?} and divide by the deviation {DEVIATION:?} of each channel, as \
                 planes: float [N, 3, {side}, {side}]"
            ),
            Input::Bytes => format!("as they are: uint8 [N, {side}, {side}, 3]"),
        };
        let adapted = match self.adapted().is_empty() {
            true => "",
            false => " with an adapter",
        };
        format!(
            "{}{adapted}, written by goldfish. Input `image`: RGB, the shorter side resized to {resized} (bilinear, \
             antialiased, as Pillow does), the middle {side} x {side} cropped; {pixels}. Outputs: `logits` and \
             `probabilities`, float [N, {}]; the metadata's `classes` is the list of their names as JSON.",
            self.base.name,
            self.merged.classes.len()
        )
    }

    /// The modules that are not as in the base.
    fn adapted(&self) -> Vec<&str> {
        let Merged { arch, adapter, .. } = &self.merged;
        let loras = adapter.loras.iter().map(|(name, _)| &**name);
        loras
            .chain(adapter.head.as_ref().map(|_| arch.head().0))
            .collect()
    }

    /// The same for programs: every value is JSON.
    fn notes(&self) -> Vec<StringStringEntryProto> {
        // serde_json writes an f32 by its shortest digits, and its `Value` as the f64 that it is.
        let floats = |values: [f32; 3]| serde_json::to_string(&values).expect("numbers");
        let text = |value: Value| value.to_string();
        let mut notes = vec![
            ("goldfish", text(json!(env!("CARGO_PKG_VERSION")))),
            ("base", text(json!(self.base))),
            ("arch", text(json!(self.merged.arch.name))),
            ("adapted", text(json!(self.adapted()))),
            ("classes", text(json!(self.merged.classes.names()))),
            ("resize", text(json!(self.transform.resized()))),
            ("crop", text(json!(self.transform.size))),
            ("interpolation", text(json!("bilinear"))),
            ("antialias", text(json!(true))),
        ];
        match self.input {
            Input::Floats => notes.extend([
                ("input", text(json!("floats"))),
                ("mean", floats(MEAN)),
                ("std", floats(DEVIATION)),
            ]),
            Input::Bytes => notes.push(("input", text(json!("bytes")))),
        }
        let notes = notes
            .into_iter()
            .map(|(key, value)| StringStringEntryProto {
                key: Some(key.into()),
                value: Some(value),
            });
        notes.collect()
    }
}
