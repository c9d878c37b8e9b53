//! Names as they are shown.

/// Whether a character is seen as what it is: it steers no terminal, turns nothing beside it around, is not without width and
/// ends no line.
pub fn is_shown(c: char) -> bool {
    let odd = matches!(
        c,
        '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}'
    );
    !odd && !c.is_control()
}
