//! Tables as CSV, for other programs.

use std::borrow::Cow;

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

/// A cell of text. Spreadsheets run what begins as a formula does, whoever named a folder so: it has a `'` before it, which
/// they take for the sign of a text. A number is no formula.
pub fn text(cell: &str) -> Cow<'_, str> {
    let formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r']);
    match formula && cell.len() > 1 && !cell.parse().is_ok_and(f64::is_finite) {
        true => format!("'{cell}").into(),
        false => cell.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::text;

    #[test]
    fn no_text_is_a_formula() {
        for formula in [
            "=1+1",
            "+cmd|' /C calc'!A0",
            "-2+3",
            "@SUM(A1)",
            "\t=1",
            "\r=1",
            "-inf",
            "+nan",
        ] {
            assert_eq!(text(formula), format!("'{formula}"));
        }
        for plain in ["tench", "a=b", "-1", "+2.5", "-", "", "'quoted'"] {
            assert_eq!(text(plain), plain);
        }
    }
}
