//! JPEG: the file's segments are walked first, for the decoder makes grey rows of what is missing and wrong
//! colours of some samplings; then it runs in its strict mode.

use image::metadata::Orientation;
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::picture::{Lost, Picture, bounded, damaged, rgb};

pub(super) fn read(bytes: &[u8]) -> Result<Picture, String> {
    let (frame, bytes) = first_picture(bytes)?;
    frame.check()?;
    let (colours, channels) = match frame.sampling.len() {
        1 => (ColorSpace::Luma, 1),
        _ => (ColorSpace::RGB, 3),
    };
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(usize::MAX)
        .set_max_height(usize::MAX)
        .jpeg_set_max_scans(usize::MAX)
        .jpeg_set_out_colorspace(colours);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    let samples = decoder.decode().map_err(|e| damaged("JPEG", e))?;
    let exif = decoder.exif();
    Ok(Picture {
        rgb: rgb(samples, channels),
        width: frame.width.into(),
        height: frame.height.into(),
        exif: exif.and_then(|exif| Orientation::from_exif_chunk(exif)),
        lost: Lost {
            inks: frame.sampling.len() == 4,
            ..Lost::default()
        },
    })
}

/// What a start of frame says.
struct Frame {
    /// The marker's low half: 0 baseline, 1 extended, 2 progressive.
    process: u8,
    precision: u8,
    width: u16,
    height: u16,
    /// Horizontal and vertical sampling of each component.
    sampling: Vec<[u8; 2]>,
    /// Components in the first scan.
    scanned: u8,
}

impl Frame {
    fn parse(process: u8, segment: &[u8]) -> Option<Self> {
        let [precision, h1, h0, w1, w0, components, sampling @ ..] = segment else {
            return None;
        };
        let sampling = sampling.chunks_exact(3).map(|c| [c[1] >> 4, c[1] & 15]);
        let sampling: Vec<[u8; 2]> = sampling.take(usize::from(*components)).collect();
        (sampling.len() == usize::from(*components)).then_some(Frame {
            process,
            precision: *precision,
            width: u16::from_be_bytes([*w1, *w0]),
            height: u16::from_be_bytes([*h1, *h0]),
            sampling,
            scanned: 0,
        })
    }

    /// Refuses what the decoder does not read, or reads wrongly.
    fn check(&self) -> Result<(), String> {
        let refuse = |what: String| Err(format!("{what} is not read: save it as PNG"));
        match self.process {
            0..=2 => {}
            9.. => return refuse("a JPEG with arithmetic coding".into()),
            3 => return refuse("a lossless JPEG".into()),
            _ => return refuse("a hierarchical JPEG".into()),
        }
        if self.precision != 8 {
            return refuse(format!("a JPEG of {} bits a sample", self.precision));
        }
        if !matches!(self.sampling.len(), 1 | 3 | 4) {
            return refuse(format!("a JPEG of {} components", self.sampling.len()));
        }
        bounded(self.width.into(), self.height.into())?;
        let most = [0, 1].map(|axis| self.sampling.iter().map(|s| s[axis]).max().unwrap_or(1));
        let fits = |s: &[u8; 2]| (0..2).all(|axis| s[axis] > 0 && most[axis] % s[axis] == 0);
        // The decoder takes every component for as wide as the first one at most, and 3 for damage.
        if self.sampling.len() > 1
            && (!self.sampling.iter().all(fits) || self.sampling[0][0] < most[0] || most[0] == 3)
        {
            let names = self.sampling.iter().map(|[h, v]| format!("{h}x{v}"));
            let names: Vec<String> = names.collect();
            return refuse(format!("a JPEG sampled {}", names.join(", ")));
        }
        // With sampled components the decoder puts the blocks of such scans in the wrong places.
        if self.process < 2 && usize::from(self.scanned) < self.sampling.len() && most != [1, 1] {
            return refuse("a sequential JPEG in several scans".into());
        }
        Ok(())
    }
}

/// The frame's description, and the file from its start to the first end of image without what stands
/// between the segments, which Pillow passes over too.
fn first_picture(bytes: &[u8]) -> Result<(Frame, Vec<u8>), String> {
    const EARLY: &str = "the JPEG ends early or is damaged: its end is missing";
    let mut picture = bytes[..2].to_vec();
    let mut frame: Option<Frame> = None;
    let mut scan = None;
    let mut at = 2;
    loop {
        // To the next marker: 0xff, any more of them, and a byte that is neither stuffing nor a restart.
        let gap = bytes
            .get(at..)
            .and_then(|b| b.iter().position(|&b| b == 0xff));
        let start = at + gap.ok_or(EARLY)?;
        let fill = bytes[start..].iter().position(|&b| b != 0xff);
        let code = start + fill.ok_or(EARLY)?;
        at = code + 1;
        let marker = bytes[code];
        match marker {
            0x00 | 0x01 | 0xd0..=0xd8 => continue,
            0xd9 => {
                let (Some(frame), Some(scan)) = (frame, scan) else {
                    return Err("the JPEG holds no picture".into());
                };
                picture.extend(&bytes[scan..at]);
                return Ok((frame, picture));
            }
            _ => {}
        }
        let length = bytes.get(at..at + 2).ok_or(EARLY)?;
        let end = at + usize::from(u16::from_be_bytes([length[0], length[1]])).max(2);
        let segment = bytes.get(at + 2..end).ok_or(EARLY)?;
        at = end;
        match marker {
            0xc4 | 0xc8 | 0xcc => {}
            0xc0..=0xcf if frame.is_none() => {
                let parsed = Frame::parse(marker & 15, segment);
                frame = Some(parsed.ok_or("the JPEG is damaged (its frame header is too short)")?);
            }
            0xda if scan.is_none() => {
                scan = Some(code - 1);
                if let (Some(frame), Some(&components)) = (&mut frame, segment.first()) {
                    frame.scanned = components;
                }
            }
            _ => {}
        }
        if scan.is_none() {
            picture.extend(&bytes[code - 1..end]);
        }
    }
}
