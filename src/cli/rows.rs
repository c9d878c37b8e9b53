//! Tables as CSV, for other programs.

use goldfish::{Error, Result};

/// What `fill` writes.
pub fn rows(fill: impl FnOnce(&mut csv::Writer<Vec<u8>>) -> csv::Result<()>) -> Result<String> {
    let failed = |e: String| Error::Usage(format!("the table cannot be written as CSV: {e}"));
    let mut writer = csv::WriterBuilder::new()
        .has_headers(false)
        .from_writer(Vec::new());
    fill(&mut writer).map_err(|e| failed(e.to_string()))?;
    let bytes = writer.into_inner().map_err(|e| failed(e.to_string()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
