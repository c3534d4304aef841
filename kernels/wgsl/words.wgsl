// Outputs y of which a word holds one, two or four elements: an invocation writes whole words, so that no two write one.

// Writes elements first to first + 3 of `len`; first is a multiple of 4.
fn store_four(first: u32, len: u32, elements: array<Value_y, 4>) {
    var values = elements;
    for (var word = 0u; word < 4u / LANES_y; word++) {
        let at = first + word * LANES_y;
        if (at < len) {
            var lanes: Values_y;
            for (var lane = 0u; lane < LANES_y; lane++) {
                lanes[lane] = values[word * LANES_y + lane];
            }
            store_word_y(at / LANES_y, pack_y(lanes));
        }
    }
}
