// tile.wgsl for a frozen left factor: its numbers stay as they are stored, which may be halves, until they are put.
#import snippets/tile.wgsl
#import stored

alias LeftLoads = array<Stored, LEFT_LOADS>;
alias RightLoads = array<vec4f, RIGHT_LOADS>;

// What was fetched becomes the tiles.
fn put_tiles(lane: u32, left: ptr<function, LeftLoads>, right: ptr<function, RightLoads>) {
    // unroll
    for (var i = 0u; i < LEFT_LOADS; i++) {
        let line = lane / LEFT + i * LEFT_LINES;
        if LEFT_LINES <= DEPTH || line < DEPTH {
            put_left(line, lane % LEFT, stored((*left)[i]));
        }
    }
    // unroll
    for (var i = 0u; i < RIGHT_LOADS; i++) {
        let line = lane / RIGHT + i * RIGHT_LINES;
        if RIGHT_LINES <= DEPTH || line < DEPTH {
            put_right(line, lane % RIGHT, (*right)[i]);
        }
    }
}
