//! Names as they are shown.

/// Whether a character is seen as what it is: it steers no terminal, turns nothing beside it around, is not without width and
/// ends no line. The joiners U+200C and U+200D are letters' own in Persian, Hindi and emoji.
pub fn is_shown(c: char) -> bool {
    let odd = matches!(
        c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
    );
    !odd && !c.is_control()
}
