// Arithmetic whose every operation is rounded by itself. WGSL lets a compiler fuse a product into a sum and reorder sums,
// and compilers do: without this, normal deviates differ from the host's in their last bits on lavapipe and SwiftShader,
// and on lavapipe the errors that pairs.wgsl computes vanish. An exclusive or with a zero that the compiler does not know
// keeps it from looking through one operation into the next.
// A kernel that includes this has a parameter `zero`, which is 0.

fn exact(x: f32) -> f32 { return bitcast<f32>(bitcast<u32>(x) ^ p.zero); }

fn mul(a: f32, b: f32) -> f32 { return exact(a * b); }
fn add(a: f32, b: f32) -> f32 { return exact(a + b); }
