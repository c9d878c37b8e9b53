//! How frozen weights are stored on a device.

/// How frozen weights are stored on the device. Sums and everything that is trained are f32 in either.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// As they are.
    #[default]
    F32,
    /// Rounded to half precision: half the memory, and cooperative matrices where the device has them.
    F16,
}

impl std::fmt::Display for Precision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Precision::F32 => "f32",
            Precision::F16 => "f16",
        })
    }
}

impl std::str::FromStr for Precision {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "f32" => Ok(Precision::F32),
            "f16" => Ok(Precision::F16),
            _ => Err(format!("the precision {text:?} is neither f32 nor f16")),
        }
    }
}

impl Precision {
    /// What declares a stored weight in front of a kernel.
    pub(crate) fn stored(self) -> &'static str {
        match self {
            Precision::F32 => include_str!("../shaders/stored_f32.wgsl"),
            Precision::F16 => include_str!("../shaders/stored_f16.wgsl"),
        }
    }
}
