//! Brightness, contrast, saturation and hue of 8-bit pictures, as torchvision's v2 transforms change those of a tensor of
//! `uint8` (`torchvision/transforms/v2/functional/_color.py` of 0.29): in f32, cut off to whole levels after each change.

/// One change of a picture's colours.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Adjustment {
    /// Times a factor: `adjust_brightness`.
    Brightness(f64),
    /// Away from the mean grey by a factor, towards it below 1: `adjust_contrast`.
    Contrast(f64),
    /// Each pixel away from its own grey by a factor: `adjust_saturation`.
    Saturation(f64),
    /// Round the circle of hues by a share between -0.5 and 0.5: `adjust_hue`.
    Hue(f64),
}

impl Adjustment {
    /// Changes interleaved RGB.
    pub fn apply(self, rgb: &mut [u8]) {
        match self {
            Adjustment::Brightness(factor) => {
                let factor = factor as f32;
                let table: [u8; 256] = std::array::from_fn(|x| (x as f32 * factor) as u8);
                rgb.iter_mut().for_each(|x| *x = table[usize::from(*x)]);
            }
            Adjustment::Contrast(factor) => {
                // Sums of whole levels: exact in any order.
                let sum: u64 = pixels(rgb).map(|pixel| grey(pixel) as u64).sum();
                let mean = sum as f32 / (rgb.len() / 3).max(1) as f32;
                let table: [u8; 256] = std::array::from_fn(|x| blend(x as u8, mean, factor));
                rgb.iter_mut().for_each(|x| *x = table[usize::from(*x)]);
            }
            Adjustment::Saturation(factor) => {
                for pixel in pixels_mut(rgb) {
                    let grey = grey(pixel);
                    *pixel = pixel.map(|x| blend(x, grey, factor));
                }
            }
            Adjustment::Hue(factor) => {
                let factor = factor as f32;
                for pixel in pixels_mut(rgb) {
                    *pixel = turned(*pixel, factor);
                }
            }
        }
    }
}

fn pixels(rgb: &[u8]) -> impl Iterator<Item = &[u8; 3]> {
    rgb.as_chunks().0.iter()
}

fn pixels_mut(rgb: &mut [u8]) -> impl Iterator<Item = &mut [u8; 3]> {
    rgb.as_chunks_mut().0.iter_mut()
}

/// `a * b + c` rounded once, as PyTorch's vectors have it: a product of two f32 is exact in f64.
fn fused(a: f32, b: f32, c: f32) -> f32 {
    (f64::from(a) * f64::from(b) + f64::from(c)) as f32
}

/// A pixel's grey, a whole level.
fn grey(&[r, g, b]: &[u8; 3]) -> f32 {
    let red = f32::from(r) * 0.2989;
    fused(f32::from(b), 0.114, fused(f32::from(g), 0.587, red)).floor()
}

/// `x` and `other` mixed: `_blend`.
fn blend(x: u8, other: f32, factor: f64) -> u8 {
    fused(other, (1.0 - factor) as f32, f32::from(x) * factor as f32) as u8
}

/// A pixel with its hue turned, through HSV and back: `_rgb_to_hsv`, `_hsv_to_rgb`.
fn turned(pixel: [u8; 3], factor: f32) -> [u8; 3] {
    let [r, g, b] = pixel.map(|x| f32::from(x) * (1.0 / 255.0f64) as f32);
    let (least, most) = (r.min(g).min(b), r.max(g).max(b));
    let range = most - least;
    let (saturation, divisor) = match range {
        0.0 => (0.0, 1.0),
        _ => (range / most, range),
    };
    let [from_r, from_g, from_b] = [r, g, b].map(|x| (most - x) / divisor);
    let sixths = if most == r {
        from_b - from_g
    } else if most == g {
        from_r + 2.0 - from_b
    } else {
        from_g + 4.0 - from_r
    };
    let hue = (sixths * (1.0 / 6.0f64) as f32 + 1.0) % 1.0;
    // The remainder has the sign of the divisor, as Python's: it may round to 1, which is red again.
    let hue = match (hue + factor) % 1.0 {
        below if below < 0.0 => below + 1.0,
        above => above,
    };
    let sector = (hue * 6.0).floor();
    let within = hue * 6.0 - sector;
    let (part, rest) = (saturation * within, 1.0 - saturation);
    let level = |x: f32| ((x * most).clamp(0.0, 1.0) * 255.999) as u8;
    let (v, p) = ((most * 255.999) as u8, level(rest));
    let (q, t) = (level(1.0 - part), level(part + rest));
    match sector as u32 % 6 {
        0 => [v, t, p],
        1 => [q, v, p],
        2 => [p, v, t],
        3 => [p, q, v],
        4 => [t, p, v],
        _ => [v, p, q],
    }
}
