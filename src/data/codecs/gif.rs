//! GIF: the first frame on its screen, as Pillow shows it. Around a frame that does not cover the screen lies
//! the transparent colour, or the first of the table where none is transparent; a frame that goes past the
//! screen makes it larger.

use gif::{ColorOutput, DecodeOptions, MemoryLimit};

use super::picture::{Lost, Picture, bounded, damaged};

pub(super) fn read(bytes: &[u8]) -> Result<Picture, String> {
    let damaged = |e: gif::DecodingError| damaged("GIF", e);
    let mut options = DecodeOptions::new();
    options.set_color_output(ColorOutput::Indexed);
    // What a frame may take is bounded below.
    options.set_memory_limit(MemoryLimit::Unlimited);
    let mut decoder = options.read_info(bytes).map_err(damaged)?;
    let frame = decoder.next_frame_info().map_err(damaged)?;
    let frame = frame.ok_or("the GIF holds no picture")?;
    let [left, top, across, down] =
        [frame.left, frame.top, frame.width, frame.height].map(usize::from);
    let transparent = frame.transparent;
    let width = (left + across).max(decoder.width().into());
    let height = (top + down).max(decoder.height().into());
    bounded(width as u32, height as u32)?;
    bounded(across as u32, down as u32)?;

    let colours = table(decoder.palette().unwrap_or_default());
    // Pillow calls a picture with a table of greys, or with none, grey, and grey starts black.
    let grey = (0..=255).zip(&colours).all(|(i, colour)| *colour == [i; 3]);
    let around = transparent.filter(|_| !grey).unwrap_or(0);
    let mut indices = vec![0; decoder.buffer_size()];
    decoder.read_into_buffer(&mut indices).map_err(damaged)?;
    let lost = Lost {
        transparent: transparent.is_some_and(|t| indices.contains(&t)),
        more: matches!(decoder.next_frame_info(), Ok(Some(_))),
        ..Lost::default()
    };
    let mut rgb = colours[usize::from(around)].repeat(width * height);
    for (y, row) in indices.chunks_exact(across).enumerate() {
        for (x, &index) in row.iter().enumerate() {
            let at = ((top + y) * width + left + x) * 3;
            rgb[at..at + 3].copy_from_slice(&colours[usize::from(index)]);
        }
    }
    Ok(Picture {
        rgb,
        width: width as u32,
        height: height as u32,
        exif: None,
        lost,
    })
}

/// The colour of each index: black past the table's end, greys where there is no table.
fn table(palette: &[u8]) -> [[u8; 3]; 256] {
    std::array::from_fn(|i| match palette.get(3 * i..3 * i + 3) {
        Some(colour) => [colour[0], colour[1], colour[2]],
        None if palette.is_empty() => [i as u8; 3],
        None => [0; 3],
    })
}
