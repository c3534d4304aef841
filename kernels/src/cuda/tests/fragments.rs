//! Which thread holds which element: instructions of the tensor cores against the tables of the PTX ISA, written here as
//! formulas of their own. Numbers are small integers, of which every sum is exact.

use super::super::{CudaDevice, Launched, Stage, Unit};
use super::{download, own_device, upload};
use crate::{DType, bf16, f16};

fn unit(elem: DType, defines: &[(&'static str, u32)]) -> Unit {
    defines.iter().fold(Unit::new("fragments", elem), |unit, &(name, value)| unit.define(name, value))
}

/// The bits of an integer as an element.
fn bits(elem: DType, x: i32) -> u32 {
    match elem {
        DType::F16 => f16::from_f32(x as f32).to_bits().into(),
        DType::BF16 => bf16::from_f32(x as f32).to_bits().into(),
        _ => (x as f32).to_bits(),
    }
}

/// Registers of `n` elements for each lane, given by their place in the matrix: two elements of 16 bits in one.
fn registers(elem: DType, lanes: usize, n: usize, value: impl Fn(usize, usize) -> i32) -> Vec<u32> {
    let per_register = 4 / elem.size_bytes();
    let of = |lane: usize, register: usize| {
        let element = |i: usize| bits(elem, value(lane, register * per_register + i)) << (16 * i);
        (0..per_register).map(element).fold(0, |all, bits| all | bits)
    };
    (0..lanes)
        .flat_map(|lane| (0..n / per_register).map(move |register| (lane, register)))
        .map(|(l, r)| of(l, r))
        .collect()
}

/// "Matrix Fragments for mma.m16n8k16 with floating point type": row and column of element `i` of a; k and column of b.
fn a_k16(lane: usize, i: usize) -> (usize, usize) {
    let (group, member) = (lane >> 2, lane % 4);
    let row = if matches!(i, 0..2 | 4..6) { group } else { group + 8 };
    (row, member * 2 + (i & 1) + if i < 4 { 0 } else { 8 })
}
fn b_k16(lane: usize, i: usize) -> (usize, usize) {
    (lane % 4 * 2 + (i & 1) + if i < 2 { 0 } else { 8 }, lane >> 2)
}

/// "Matrix Fragments for mma.m16n8k8", of `.tf32`.
fn a_k8(lane: usize, i: usize) -> (usize, usize) {
    let (group, member) = (lane >> 2, lane % 4);
    (if i == 0 || i == 2 { group } else { group + 8 }, if i < 2 { member } else { member + 4 })
}
fn b_k8(lane: usize, i: usize) -> (usize, usize) {
    (if i == 0 { lane % 4 } else { lane % 4 + 4 }, lane >> 2)
}

/// Row and column of element `i` of c and d, the same in both sections.
fn c_place(lane: usize, i: usize) -> (usize, usize) {
    (if i < 2 { lane >> 2 } else { (lane >> 2) + 8 }, lane % 4 * 2 + (i & 1))
}

type Table = fn(usize, usize) -> (usize, usize);

/// The shape and tables of one instruction: elements that a lane has of a and b, and where they belong.
struct Shape {
    a: (usize, Table),
    b: (usize, Table),
    depth: usize,
}

impl Shape {
    fn of(elem: DType) -> Shape {
        match elem {
            DType::F32 => Shape { a: (4, a_k8), b: (2, b_k8), depth: 8 },
            _ => Shape { a: (8, a_k16), b: (4, b_k16), depth: 16 },
        }
    }
}

/// What each block's registers of d hold after its product.
fn products(device: &CudaDevice, elem: DType, a: &[u32], b: &[u32]) -> Vec<f32> {
    let blocks = a.len() / 128;
    let start: Vec<f32> = (0..blocks * 128).map(|i| initial(i % 128 / 4, i % 4)).collect();
    let (a, b, d) = (upload(device, a), upload(device, b), upload(device, &start));
    let stage = Stage::new(device, unit(elem, &[]), "mma").blocks(blocks).threads(32);
    stage.param(a.address()).param(b.address()).param(d.address()).run().unwrap();
    download(&d, blocks * 128)
}

/// What d holds before: another number in each place.
fn initial(lane: usize, i: usize) -> f32 {
    let (row, col) = c_place(lane, i);
    (row * 8 + col) as f32 * 1000.0
}

/// Every place of a fragment alone: only there is one factor 1, the other factor has another number everywhere, so that
/// the result says which row, column and k the place belongs to.
#[test]
fn each_element_of_a_product_is_where_the_table_says() {
    let Some(device) = own_device() else { return };
    for elem in [DType::F16, DType::BF16, DType::F32] {
        let Shape { a: (a_len, a_place), b: (b_len, b_place), depth } = Shape::of(elem);
        let b_number = |(k, col): (usize, usize)| (k * 8 + col + 1) as i32;
        let a_number = |(row, k): (usize, usize)| (row * depth + k + 1) as i32;
        let of_a: Vec<(usize, usize)> = (0..32).flat_map(|lane| (0..a_len).map(move |i| (lane, i))).collect();
        let one_at = |at: (usize, usize), n| registers(elem, 32, n, |lane, i| i32::from((lane, i) == at));
        let a: Vec<u32> = of_a.iter().flat_map(|&at| one_at(at, a_len)).collect();
        let b = registers(elem, 32, b_len, |lane, i| b_number(b_place(lane, i)));
        let d = products(&device, elem, &a, &b.repeat(of_a.len()));
        check(&d, &of_a, |(lane, i), row, col| {
            let (at_row, k) = a_place(lane, i);
            if at_row == row { b_number((k, col)) } else { 0 }
        });
        let of_b: Vec<(usize, usize)> = (0..32).flat_map(|lane| (0..b_len).map(move |i| (lane, i))).collect();
        let b: Vec<u32> = of_b.iter().flat_map(|&at| one_at(at, b_len)).collect();
        let a = registers(elem, 32, a_len, |lane, i| a_number(a_place(lane, i)));
        let d = products(&device, elem, &a.repeat(of_b.len()), &b);
        check(&d, &of_b, |(lane, i), row, col| {
            let (k, at_col) = b_place(lane, i);
            if at_col == col { a_number((row, k)) } else { 0 }
        });
    }
}

/// Of each block, which had 1 at one place, d against what was there and what `added` says for a row and column.
fn check(d: &[f32], ones: &[(usize, usize)], added: impl Fn((usize, usize), usize, usize) -> i32) {
    for (block, &one) in ones.iter().enumerate() {
        for lane in 0..32 {
            for i in 0..4 {
                let (row, col) = c_place(lane, i);
                let want = initial(lane, i) + added(one, row, col) as f32;
                let got = d[(block * 32 + lane) * 4 + i];
                assert_eq!(got, want, "1 in lane {} element {}: d of lane {lane} element {i}", one.0, one.1);
            }
        }
    }
}

#[test]
fn loaded_fragments_are_where_the_table_says() {
    let Some(device) = own_device() else { return };
    // "ldmatrix": thread l gives row l % 8 of matrix l / 8; thread 4 g + t gets elements 2 t and 2 t + 1 of row g, or of
    // column g where it is transposed. Rows lie here in no order.
    let rows: Vec<u32> = (0..32).map(|lane| (lane * 37 + 11) % 128 * 8).collect();
    let x: Vec<u16> = (0..1024).map(|i| i * 3 + 1).collect();
    let (x_memory, rows_memory) = (upload(&device, &x), upload(&device, &rows));
    for (entry, is_transposed) in [("load_plain", false), ("load_transposed", true)] {
        let y = upload(&device, &[0u32; 128]);
        let stage = Stage::new(&device, unit(DType::F16, &[]), entry).threads(32);
        stage.param(x_memory.address()).param(rows_memory.address()).param(y.address()).run().unwrap();
        let y: Vec<u32> = download(&y, 128);
        for (place, got) in y.into_iter().enumerate() {
            let (lane, matrix) = (place / 4, place % 4);
            let at = |row: usize, col: usize| u32::from(x[rows[matrix * 8 + row] as usize + col]);
            let (group, pair) = (lane >> 2, lane % 4 * 2);
            let (low, high) = match is_transposed {
                false => (at(group, pair), at(group, pair + 1)),
                true => (at(pair, group), at(pair + 1, group)),
            };
            assert_eq!(got, low | high << 16, "{entry}: lane {lane}, matrix {matrix}");
        }
    }
}

#[test]
fn f32_rounds_to_tf32_with_ties_away_from_zero_and_products_drop_what_is_not_rounded() {
    let Some(device) = own_device() else { return };
    // One unit of the last place that tf32 keeps, at 1, is 2^-10.
    let unit_at_one = 2f32.powi(-10);
    let x = [1.0, 1.0 + unit_at_one / 2.0, -1.0 - unit_at_one / 2.0, 1.0 + unit_at_one * 0.49, 1.0 + unit_at_one * 1.5];
    let want = [1.0, 1.0 + unit_at_one, -1.0 - unit_at_one, 1.0, 1.0 + unit_at_one * 2.0];
    let special = [f32::MAX, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, -0.0, f32::MIN_POSITIVE];
    let mut all = x.to_vec();
    all.extend(special);
    all.resize(32, 0.0);
    let (x_memory, y) = (upload(&device, &all), upload(&device, &[0u32; 32]));
    let stage = Stage::new(&device, unit(DType::F32, &[]), "round_to_tf32").threads(32);
    stage.param(x_memory.address()).param(y.address()).run().unwrap();
    let y: Vec<f32> = download::<u32>(&y, 32).into_iter().map(f32::from_bits).collect();
    assert_eq!(y[..5], want);
    assert!(y[5] == f32::INFINITY && y[6] == f32::INFINITY && y[7] == f32::NEG_INFINITY && y[8].is_nan());
    assert!(y[9].to_bits() == (-0.0f32).to_bits() && y[10] == f32::MIN_POSITIVE);
    let below = f32::from_bits((1.0 + unit_at_one).to_bits() - 1);
    let d = products(&device, DType::F32, &[below.to_bits(); 128], &[1f32.to_bits(); 64]);
    assert_eq!(d[0], 8.0);
}

/// Where a matrix of a wgmma lies in shared memory: which way, in what pattern, and the two distances.
#[derive(Clone, Copy, Debug)]
struct Place {
    is_mn_major: bool,
    span: usize,
    leading: usize,
    stride: usize,
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Offsets {
    leading_bytes: u32,
    stride_bytes: u32,
    swizzle: u32,
    bytes: u32,
}

impl Place {
    /// Both ways to put the patterns of `rows` rows and 16 along k one after the other.
    fn all(is_mn_major: bool, rows: usize) -> Vec<Place> {
        let mut all = Vec::new();
        for span in [16, 32, 64, 128] {
            let pattern = span * 8;
            let in_mn = if is_mn_major { rows * 2 / span } else { rows / 8 };
            let in_k = if is_mn_major || span == 16 { 2 } else { 1 };
            for (along_mn, along_k) in [(pattern * in_k, pattern), (pattern, pattern * in_mn)] {
                // The leading offset is that of k without a pattern, and of rows or columns with one.
                let (leading, stride) = match (is_mn_major, span) {
                    (_, 16) => (along_k, along_mn),
                    (true, _) => (along_mn, along_k),
                    (false, _) => (48, along_mn),
                };
                all.push(Place { is_mn_major, span, leading, stride });
            }
        }
        all
    }

    /// "Canonical Layouts" with T = 8: the byte of an element, and then the swizzle, which adds the bits from 7 on to those
    /// from 4 on.
    fn byte_of(&self, mn: usize, k: usize) -> usize {
        let Place { is_mn_major, span, leading, stride } = *self;
        let at = match (is_mn_major, span) {
            (true, 16) => mn % 8 * 2 + mn / 8 * stride + k % 8 * 16 + k / 8 * leading,
            (true, _) => mn % (span / 2) * 2 + mn / (span / 2) * leading + k % 8 * span + k / 8 * stride,
            (false, 16) => mn % 8 * 16 + mn / 8 * stride + k % 8 * 2 + k / 8 * leading,
            (false, _) => mn % 8 * span + mn / 8 * stride + k * 2,
        };
        at ^ (((at >> 7) & (span / 16 - 1)) << 4)
    }

    /// Shared memory that holds the matrix, in words, and what its descriptor says.
    fn image(&self, elem: DType, rows: usize, number: impl Fn(usize, usize) -> i32) -> (Vec<u32>, Offsets) {
        let places = || (0..rows).flat_map(|mn| (0..16).map(move |k| (mn, k)));
        let end = places().map(|(mn, k)| self.byte_of(mn, k) + 2).max().unwrap().next_multiple_of(1024);
        let mut words = vec![u32::MAX; end / 4];
        let halves: &mut [u16] = bytemuck::cast_slice_mut(&mut words);
        for (mn, k) in places() {
            halves[self.byte_of(mn, k) / 2] = bits(elem, number(mn, k)) as u16;
        }
        let swizzle = [(16, 0), (128, 1), (64, 2), (32, 3)].into_iter().find(|&(span, _)| span == self.span).unwrap().1;
        let (leading_bytes, stride_bytes) = (self.leading as u32, self.stride as u32);
        (words, Offsets { leading_bytes, stride_bytes, swizzle, bytes: end as u32 })
    }
}

fn a_number(row: usize, k: usize) -> i32 {
    (row * 16 + k) as i32 % 251 - 100
}
fn b_number(col: usize, k: usize) -> i32 {
    (col * 13 + k * 7) as i32 % 241 - 90
}

/// One product of a warpgroup for every place of a and b, against the table of d.
fn warpgroup_products(elem: DType, cols: usize, a_is_mn_major: Option<bool>, b_is_mn_major: bool) {
    let Some(device) = own_device() else { return };
    let defines = [
        ("COLS", cols as u32),
        ("A_IN_REGISTERS", u32::from(a_is_mn_major.is_none())),
        ("A_MAJOR", u32::from(a_is_mn_major == Some(true))),
        ("B_MAJOR", u32::from(b_is_mn_major)),
        ("THREADS", 128),
    ];
    // "Register Fragments" of wgmma.mma_async.m64nNk16, figures of A and D: warp w has rows 16 w to 16 w + 15.
    let a_registers = registers(elem, 128, 8, |thread, i| {
        let (row, k) = a_k16(thread % 32, i);
        a_number(thread / 32 * 16 + row, k)
    });
    let start: Vec<f32> = (0..128 * cols / 2).map(|i| i as f32).collect();
    let a_places = a_is_mn_major.map_or(vec![None], |major| Place::all(major, 64).into_iter().map(Some).collect());
    let b_places = Place::all(b_is_mn_major, cols);
    for i in 0..a_places.len().max(b_places.len()) {
        let (a_place, b_place) = (a_places[i % a_places.len()], b_places[(i + i / 4) % b_places.len()]);
        let none = Offsets { leading_bytes: 0, stride_bytes: 0, swizzle: 0, bytes: 0 };
        let (a, a_at) = a_place.map_or((a_registers.clone(), none), |place| place.image(elem, 64, a_number));
        let (b, b_at) = b_place.image(elem, cols, b_number);
        let (a, b, d) = (upload(&device, &a), upload(&device, &b), upload(&device, &start));
        let launched = Launched {
            blocks: 1,
            threads: 128,
            shared_bytes: (a_at.bytes + b_at.bytes) as usize,
            cluster: 1,
            overlaps_previous: false,
        };
        let stage = Stage::new(&device, unit(elem, &defines), "warpgroup_product");
        let stage = stage.threads(launched.threads).shared_bytes(launched.shared_bytes);
        stage.param(a.address()).param(b.address()).param(d.address()).param(a_at).param(b_at).run().unwrap();
        for (place, got) in download::<f32>(&d, start.len()).into_iter().enumerate() {
            let (thread, i) = (place / (cols / 2), place % (cols / 2));
            let (row, col) = (thread / 32 * 16 + thread % 32 / 4 + 8 * (i / 2 % 2), i / 4 * 8 + thread % 4 * 2 + i % 2);
            let product: i32 = (0..16).map(|k| a_number(row, k) * b_number(col, k)).sum();
            let what =
                || format!("{elem}, {cols} columns, a {a_place:?}, b {b_place:?}: thread {thread}, register {i}");
            assert_eq!(got, start[place] + product as f32, "{}", what());
        }
    }
}

#[test]
fn a_warpgroup_multiplies_matrices_in_every_canonical_layout() {
    warpgroup_products(DType::BF16, 64, Some(false), false);
    warpgroup_products(DType::BF16, 64, Some(true), true);
    warpgroup_products(DType::F16, 128, Some(false), true);
    warpgroup_products(DType::F16, 192, Some(true), false);
}

#[test]
fn a_warpgroup_multiplies_registers() {
    warpgroup_products(DType::BF16, 128, None, true);
    warpgroup_products(DType::F16, 256, None, false);
}

#[test]
fn a_descriptor_has_its_fields_where_the_format_says() {
    let Some(device) = own_device() else { return };
    let defines = [("COLS", 64), ("A_IN_REGISTERS", 0), ("A_MAJOR", 0), ("B_MAJOR", 0), ("THREADS", 128)];
    for (start, leading, stride, swizzle) in [(0u32, 16u32, 1024u32, 1u32), (8192, 4096, 2048, 0), (1040, 272, 512, 3)]
    {
        let y = upload(&device, &[0u64; 3]);
        let stage = Stage::new(&device, unit(DType::BF16, &defines), "descriptor").threads(32).shared_bytes(10240);
        stage.param(y.address()).param(start).param(leading).param(stride).param(swizzle).run().unwrap();
        let [descriptor, address, advanced] = download::<u64>(&y, 3)[..] else { panic!("three words") };
        let field = |low: u32, bits: u32| (descriptor >> low) & ((1 << bits) - 1);
        let encoded = |x: u64| (x & 0x3ffff) >> 4;
        assert_eq!(address % 1024, u64::from(start) % 1024);
        assert_eq!(field(0, 14), encoded(address));
        assert_eq!(field(16, 14), encoded(leading.into()));
        assert_eq!(field(32, 14), encoded(stride.into()));
        assert_eq!(field(62, 2), u64::from(swizzle));
        assert_eq!((field(14, 2), field(30, 2), field(46, 16)), (0, 0, 0));
        assert_eq!(advanced & 0x3fff, encoded(address + 96));
    }
}
