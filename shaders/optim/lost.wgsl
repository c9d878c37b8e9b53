// What every optimiser tells of the numbers that it makes.

// Whether some of four numbers is NaN or infinite.
fn is_lost(p: vec4f) -> bool {
    return any((bitcast<vec4u>(p) & vec4u(0x7f800000u)) == vec4u(0x7f800000u));
}
