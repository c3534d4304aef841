//! Hopper's barriers, copies and products together: a small product of matrices as its kernels do it, the same with one
//! mistake each, copies of every kind, and what the compiler makes of all wrappers.

use super::super::{Architecture, CudaDevice, Stage, Swizzle, TensorMap, Tiled, Unit, compile, nvrtc};
use super::{download, own_device, present, upload};
use crate::{DType, Result, Rng, bf16, f16};

/// A product of random matrices by `hopper_pipeline.cu`.
#[derive(Clone, Copy)]
struct Product {
    elem: DType,
    b_is_mn_major: bool,
    m: usize,
    n: usize,
    k: usize,
    mistake: &'static str,
}

const PLAIN: Product = Product { elem: DType::BF16, b_is_mn_major: false, m: 64, n: 128, k: 512, mistake: "NONE" };

/// An element's bits and its value.
fn number(elem: DType, rng: &mut Rng) -> (u16, f64) {
    let x = rng.uniform() * 2.0 - 1.0;
    match elem {
        DType::F16 => (f16::from_f32(x).to_bits(), f16::from_f32(x).to_f64()),
        _ => (bf16::from_f32(x).to_bits(), bf16::from_f32(x).to_f64()),
    }
}

fn matrix(device: &CudaDevice, address: u64, dtype: DType, shape: [usize; 2], tile: [usize; 2]) -> TensorMap {
    let (strides, swizzle) = (&[shape[1], 1], Swizzle::Bytes128);
    device.tensor_map(Tiled { address, dtype, shape: &shape, strides, tile: &tile, swizzle }).unwrap()
}

impl Product {
    fn unit(&self) -> Unit {
        let unit = Unit::new("hopper_pipeline", self.elem).define("THREADS", 256u32).define("MIN_BLOCKS", 1u32);
        unit.define("MISTAKE", self.mistake).define("B_IS_MN_MAJOR", u32::from(self.b_is_mn_major))
    }

    /// c, and how far it is from the host's product at most, in units of what rounding may do.
    fn run(&self) -> Option<Result<(Vec<f32>, f64)>> {
        let device = own_device()?;
        let Product { elem, m, n, k, .. } = *self;
        let mut rng = Rng::seed(7);
        let (a, b): (Vec<_>, Vec<_>) = (
            (0..m * k).map(|_| number(elem, &mut rng)).collect(),
            (0..k * n).map(|_| number(elem, &mut rng)).collect(),
        );
        let bits = |values: &[(u16, f64)]| values.iter().map(|x| x.0).collect::<Vec<_>>();
        let (a_memory, b_memory) = (upload(&device, &bits(&a)), upload(&device, &bits(&b)));
        let c_memory = upload(&device, &vec![f32::NAN; m * n]);
        let a_map = matrix(&device, a_memory.address(), elem, [m, k], [64, 64]);
        let b_map = match self.b_is_mn_major {
            true => matrix(&device, b_memory.address(), elem, [k, n], [64, 64]),
            false => matrix(&device, b_memory.address(), elem, [n, k], [128, 64]),
        };
        let c_map = matrix(&device, c_memory.address(), DType::F32, [m, n], [64, 32]);
        let (col_tiles, steps) = (n.div_ceil(128), k.div_ceil(64));
        let stage = Stage::new(&device, self.unit(), "pipeline").blocks(m.div_ceil(64) * col_tiles).threads(256);
        let stage = stage.shared_bytes(3 * (64 + 128) * 64 * 2 + 64 * 128 * 4).param(a_map).param(b_map).param(c_map);
        let launched = stage.param(col_tiles as u32).param(steps as u32).run();
        let c: Vec<f32> = download(&c_memory, m * n);
        let at = |row: usize, col: usize, i: usize| {
            let b_at = if self.b_is_mn_major { i * n + col } else { col * k + i };
            a[row * k + i].1 * b[b_at].1
        };
        let error = |place: usize| {
            let terms = || (0..k).map(|i| at(place / n, place % n, i));
            // Each of the k additions rounds by 2^-24 of a partial sum, which the absolute terms bound.
            let bound = terms().map(f64::abs).sum::<f64>() * k as f64 * 2f64.powi(-24);
            (f64::from(c[place]) - terms().sum::<f64>()).abs() / bound
        };
        let worst = (0..m * n).map(error).fold(0.0, |worst, error| if error <= worst { worst } else { error });
        Some(launched.map(|()| (c, worst)))
    }
}

#[test]
fn a_pipeline_of_copies_and_products_agrees_with_the_host() {
    let uneven = Product { m: 150, n: 200, k: 136, ..PLAIN };
    for elem in [DType::BF16, DType::F16] {
        for b_is_mn_major in [false, true] {
            for shape in [uneven, PLAIN, Product { k: 64, ..PLAIN }] {
                let Some(result) = (Product { elem, b_is_mn_major, ..shape }).run() else { return };
                let (c, worst) = result.unwrap();
                assert!(worst <= 1.0, "{elem}, {b_is_mn_major}, k {}: {worst}, {:?}", shape.k, &c[..4]);
            }
        }
    }
}

/// The error must have all of these parts.
#[track_caller]
fn assert_reported(mistake: &'static str, parts: &[&str]) {
    let Some(result) = (Product { mistake, ..PLAIN }).run() else { return };
    let error = match result {
        Ok((_, worst)) => panic!("{mistake}: no error, and a result that is off by {worst}"),
        Err(error) => error.to_string(),
    };
    for part in parts {
        assert!(error.contains(part), "{mistake}: {part:?} is not in {error}");
    }
}

/// There may be an error; if not, the result must be wrong, and NaN where nothing valid was there to be read.
#[track_caller]
fn assert_wrong(mistake: &'static str, b_is_mn_major: bool, is_nan: bool) {
    let Some(Ok((c, worst))) = (Product { mistake, b_is_mn_major, ..PLAIN }).run() else { return };
    let far = worst.is_nan() || worst > 1000.0;
    assert!(far && (!is_nan || c.iter().any(|c| c.is_nan())), "{mistake}: {worst}, {:?}", &c[..4]);
}

#[test]
fn a_missing_wait_for_a_copy_is_seen() {
    assert_wrong("NO_FULL_WAIT", false, true);
    assert_wrong("NO_EMPTY_WAIT", false, true);
    assert_reported("OTHER_PARITY", &["deadlock", "an mbarrier at", "hopper_pipeline.cu:"]);
}

#[test]
fn another_count_of_bytes_is_seen() {
    assert_reported(
        "MORE_BYTES",
        &["deadlock", "an mbarrier at", "hopper_pipeline.cu:", "0 of 1 arrivals and 16 bytes"],
    );
    assert_reported("FEWER_BYTES", &["deadlock", "an mbarrier at", "hopper_pipeline.cu:", "and -16 bytes"]);
    assert_reported("TOO_MANY_ARRIVALS", &["more threads arrive at an mbarrier than its phase waits for at"]);
}

#[test]
fn a_try_without_end_is_seen() {
    assert_reported("ENDLESS_TRY", &["livelock", "hopper_pipeline.cu:"]);
}

#[test]
fn a_wrong_descriptor_gives_a_wrong_product() {
    assert_wrong("SWAPPED_OFFSETS", false, false);
    assert_wrong("SWAPPED_OFFSETS", true, false);
    assert_wrong("OTHER_SWIZZLE", false, false);
    assert_wrong("OTHER_SWIZZLE", true, false);
    let outside = Product { mistake: "OUTSIDE_SHARED", b_is_mn_major: true, ..PLAIN };
    let Some(result) = outside.run() else { return };
    assert!(result.unwrap_err().to_string().contains("a matrix descriptor leads out of shared memory"));
}

#[test]
fn a_product_that_is_not_waited_for_is_seen() {
    assert_reported("NO_WGMMA_WAIT", &["without having waited for its matrix products"]);
    assert_reported("NO_WGMMA_FENCE", &["wgmma uses registers without wgmma_fence before", "hopper_pipeline.cu:"]);
    assert_reported("NO_STORE_WAIT", &["without having waited for its bulk stores"]);
}

#[test]
fn a_warpgroup_that_is_not_whole_is_seen() {
    assert_reported("HALF_A_WARPGROUP", &["the warps of a warpgroup have not all done the same"]);
    assert_reported("ODD_REGISTERS", &["setmaxnreg takes 24 to 256 registers", "hopper_pipeline.cu:"]);
    assert_reported("ONE_WARP_LESS", &["deadlock", "hopper_pipeline.cu:"]);
}

#[test]
fn barriers_that_are_not_what_they_seem_are_seen() {
    assert_reported("NO_INIT", &["an mbarrier is used that was not initialised", "hopper_pipeline.cu:"]);
    assert_reported("TWO_INITS", &["initialised again without having been invalidated", "hopper_pipeline.cu:"]);
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Places {
    from: [i32; 4],
    to: [i32; 4],
    rank: u32,
    bytes: u32,
}

/// Places of an array of this shape, outermost dim first.
fn places(shape: &[usize]) -> Vec<Vec<i64>> {
    let at = |mut linear: usize| {
        let mut place = vec![0; shape.len()];
        for dim in (0..shape.len()).rev() {
            (place[dim], linear) = ((linear % shape[dim]) as i64, linear / shape[dim]);
        }
        place
    };
    (0..shape.iter().product()).map(at).collect()
}

/// The linear place in an array of this shape, if it lies within.
fn linear(place: &[i64], shape: &[usize]) -> Option<usize> {
    let inside = place.iter().zip(shape).all(|(&at, &size)| at >= 0 && at < size as i64);
    inside.then(|| place.iter().zip(shape).fold(0, |linear, (&at, &size)| linear * size + at as usize))
}

/// Copies a box from `from` on, as it lies in shared memory, and on to `to`: places are outermost first, and may lie
/// outside.
fn copy_box(shape: &[usize], tile: &[usize], from: &[i64], to: &[i64], swizzle: Swizzle) {
    let Some(device) = own_device() else { return };
    let n: usize = shape.iter().product();
    let x: Vec<f32> = (0..n).map(|i| i as f32 + 1.0).collect();
    let (x_memory, y_memory) = (upload(&device, &x), upload(&device, &vec![-1f32; n]));
    let bytes = tile.iter().product::<usize>() * 4;
    let raw = upload(&device, &vec![-2f32; bytes / 4]);
    let strides: Vec<usize> = (0..shape.len()).map(|dim| shape[dim + 1..].iter().product()).collect();
    let map = |address| {
        device.tensor_map(Tiled { address, dtype: DType::F32, shape, strides: &strides, tile, swizzle }).unwrap()
    };
    let innermost_first = |place: &[i64]| {
        let mut all = [0; 4];
        place.iter().rev().enumerate().for_each(|(i, &at)| all[i] = at as i32);
        all
    };
    let (rank, bytes) = (shape.len() as u32, bytes as u32);
    let copied = Places { from: innermost_first(from), to: innermost_first(to), rank, bytes };
    let stage = Stage::new(&device, Unit::new("hopper_copies", DType::F32), "copy_box");
    let stage = stage.threads(64).shared_bytes(bytes as usize).param(map(x_memory.address()));
    stage.param(map(y_memory.address())).param(raw.address()).param(copied).run().unwrap();
    let raw: Vec<f32> = download(&raw, bytes as usize / 4);
    let mut want = vec![-1f32; n];
    let (row_bytes, span) = (tile[tile.len() - 1] * 4, swizzle.span_bytes());
    for (i, place) in places(tile).iter().enumerate() {
        let moved = |start: &[i64]| place.iter().zip(start).map(|(a, b)| a + b).collect::<Vec<_>>();
        let value = linear(&moved(from), shape).map_or(0.0, |at| x[at]);
        // Row r of a pattern puts its piece c at c ^ r, c ^ r / 2 or c ^ r / 4: with rows of 128, 64 or 32 bytes.
        let (row, byte) = (i * 4 / row_bytes, i * 4 % row_bytes);
        let piece = if span == 0 { byte / 16 } else { (byte / 16) ^ (row * span / 128 % (span / 16)) };
        assert_eq!(raw[(row * row_bytes + piece * 16 + byte % 16) / 4], value, "{swizzle:?} {tile:?} {place:?}");
        if let Some(at) = linear(&moved(to), shape) {
            want[at] = value;
        }
    }
    assert_eq!(download::<f32>(&y_memory, n), want, "{swizzle:?} {tile:?}");
}

#[test]
fn boxes_are_copied_with_zeros_outside_and_in_their_pattern() {
    for (swizzle, cols) in [(Swizzle::None, 12), (Swizzle::Bytes32, 8), (Swizzle::Bytes64, 16), (Swizzle::Bytes128, 32)]
    {
        copy_box(&[30, 40], &[16, cols], &[3, 4], &[14, 8], swizzle);
        copy_box(&[30, 40], &[16, cols], &[-5, 35], &[20, -3], swizzle);
        copy_box(&[5, 9, 36], &[3, 8, cols], &[3, -2, 6], &[-1, 4, 30], swizzle);
        copy_box(&[3, 4, 5, 36], &[2, 3, 4, cols], &[1, 2, 3, 1], &[2, -1, 3, -4], swizzle);
    }
}

#[test]
fn pieces_are_copied_through_shared_memory() {
    let Some(device) = own_device() else { return };
    let x: Vec<u32> = (0..640).map(|i| i * 7 + 1).collect();
    let (x_memory, y_memory) = (upload(&device, &x), upload(&device, &[0u32; 640]));
    let unit = Unit::new("hopper_copies", DType::F32);
    let stage = Stage::new(&device, unit, "copy_pieces").blocks(10).threads(32);
    stage.param(x_memory.address()).param(y_memory.address()).run().unwrap();
    assert_eq!(download::<u32>(&y_memory, 640), x);
}

#[test]
fn threads_meet_at_named_barriers_and_in_the_cluster() {
    let Some(device) = own_device() else { return };
    let y = upload(&device, &[0u32; 128]);
    let unit = Unit::new("hopper_copies", DType::F32);
    Stage::new(&device, unit, "meetings").threads(128).param(y.address()).run().unwrap();
    assert_eq!(download::<u32>(&y, 128), [41; 128]);
}

#[test]
fn a_map_that_the_hardware_would_refuse_is_an_error_that_says_why() {
    let Some(device) = own_device() else { return };
    let (shape, strides, tile): (&[usize], &[usize], &[usize]) = (&[100, 64], &[64, 1], &[16, 64]);
    let good = Tiled { address: 4096, dtype: DType::BF16, shape, strides, tile, swizzle: Swizzle::Bytes128 };
    let error = |tensor| device.tensor_map(tensor).unwrap_err().to_string();
    assert!(device.tensor_map(good).is_ok());
    assert!(error(Tiled { address: 4104, ..good }).contains("starts at a multiple of 16 bytes, got 0x1008"));
    assert!(error(Tiled { strides: &[60, 1], ..good }).contains("strides are multiples of 16 bytes"));
    assert!(error(Tiled { strides: &[64, 2], ..good }).contains("the innermost is 1, got [64, 2]"));
    assert!(error(Tiled { tile: &[16, 32], ..good }).contains("64 bytes in a row of the box, expected 128"));
    assert!(error(Tiled { tile: &[300, 64], ..good }).contains("1 to 256 elements along each dim, got [300, 64]"));
    assert!(error(Tiled { shape: &[0, 64], ..good }).contains("sizes are 1 to 2^32, got [0, 64]"));
    assert!(error(Tiled { shape: &[64], strides: &[1], tile: &[64], ..good }).contains("expected 2 to 4 alike"));
}

#[test]
fn wrappers_compile_for_hopper_without_a_warning() {
    if present("nvrtc", nvrtc::present()).is_none() {
        return;
    }
    let mut units = Vec::new();
    for elem in [DType::BF16, DType::F16] {
        for cols in [64u32, 128, 192, 256] {
            let unit = Unit::new("hopper_wrappers", elem).define("THREADS", 256u32).define("MIN_BLOCKS", 1u32);
            units.push(unit.define("COLS", cols));
        }
        units.push((Product { elem, ..PLAIN }).unit());
        units.push((Product { elem, b_is_mn_major: true, ..PLAIN }).unit());
    }
    units.push(Unit::new("hopper_copies", DType::F32));
    for unit in units {
        let compiled = compile(&unit, Architecture { number: 90 }).unwrap();
        // Notes like C7508 and C7510 say that setmaxnreg is ignored or that products wait for each other.
        let is_clean = !compiled.log.contains("warning") && !compiled.log.contains("(C7");
        let spills = compiled.log.matches(" 0 bytes spill stores, 0 bytes spill loads").count();
        assert!(
            is_clean && spills == compiled.log.matches("spill stores").count(),
            "{}: {}",
            unit.label(),
            compiled.log
        );
    }
    // Without any of it, the headers compile for what has not got it.
    let unit = Unit::new("fragments", DType::F16);
    for number in [80, 100] {
        assert!(compile(&unit, Architecture { number }).is_ok());
    }
}
