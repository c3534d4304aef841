//! Copies, casts and fills, for every pair of dtypes that the device has.

use chainrule_kernels::copy::{cast, copy_into, fill};
use chainrule_kernels::{Buffer, DType, Device, View};

use super::device;

const DTYPES: [DType; 7] = [DType::Bool, DType::U8, DType::U32, DType::I32, DType::F16, DType::BF16, DType::F32];

/// The elements as f64, wherever they are.
fn values(buffer: &Buffer) -> Vec<f64> {
    let host: Vec<u8> = match buffer.dtype() {
        DType::Bool => bytemuck::cast_slice(&buffer.to_vec::<chainrule_kernels::Bool>().unwrap()).to_vec(),
        DType::U8 => buffer.to_vec::<u8>().unwrap(),
        DType::U32 => bytemuck::cast_slice(&buffer.to_vec::<u32>().unwrap()).to_vec(),
        DType::I32 => bytemuck::cast_slice(&buffer.to_vec::<i32>().unwrap()).to_vec(),
        DType::F16 => bytemuck::cast_slice(&buffer.to_vec::<chainrule_kernels::f16>().unwrap()).to_vec(),
        DType::BF16 => bytemuck::cast_slice(&buffer.to_vec::<chainrule_kernels::bf16>().unwrap()).to_vec(),
        _ => bytemuck::cast_slice(&buffer.to_vec::<f32>().unwrap()).to_vec(),
    };
    let x = Buffer::from_bytes(&Device::Cpu, buffer.dtype(), &host).unwrap();
    let mut y = Buffer::allocate(&Device::Cpu, DType::F64, x.len()).unwrap();
    cast(View { buffer: &x, offset: 0, strides: &[1] }, &[x.len()], &mut y).unwrap();
    y.to_vec().unwrap()
}

/// Numbers that some dtypes hold and others have to truncate, wrap or saturate.
fn source(device: &Device, dtype: DType) -> Buffer {
    let floats = [0.0, -0.5, 1.5, -1.5, 255.0, 256.0, 300.5, 3e9, -3e9, 5e9, 1e-3, f32::NAN, f32::INFINITY, -7.0, 2.5];
    let x = Buffer::from_slice(&Device::Cpu, &floats).unwrap();
    let mut y = Buffer::allocate(&Device::Cpu, dtype, x.len()).unwrap();
    cast(View { buffer: &x, offset: 0, strides: &[1] }, &[x.len()], &mut y).unwrap();
    let bytes: Vec<u8> = match dtype {
        DType::Bool => bytemuck::cast_slice(&y.to_vec::<chainrule_kernels::Bool>().unwrap()).to_vec(),
        DType::U8 => y.to_vec().unwrap(),
        DType::U32 | DType::I32 | DType::F32 => match dtype {
            DType::U32 => bytemuck::cast_slice(&y.to_vec::<u32>().unwrap()).to_vec(),
            DType::I32 => bytemuck::cast_slice(&y.to_vec::<i32>().unwrap()).to_vec(),
            _ => bytemuck::cast_slice(&y.to_vec::<f32>().unwrap()).to_vec(),
        },
        DType::F16 => bytemuck::cast_slice(&y.to_vec::<chainrule_kernels::f16>().unwrap()).to_vec(),
        _ => bytemuck::cast_slice(&y.to_vec::<chainrule_kernels::bf16>().unwrap()).to_vec(),
    };
    Buffer::from_bytes(device, dtype, &bytes).unwrap()
}

fn same(got: &[f64], want: &[f64]) -> bool {
    got.iter().zip(want).all(|(a, b)| a == b || a.is_nan() && b.is_nan())
}

#[test]
fn every_dtype_is_cast_to_every_other_as_on_the_host() {
    let device = device();
    for from in DTYPES {
        for to in DTYPES {
            let run = |device: &Device| {
                let x = source(device, from);
                // Backwards and every second one, then forwards.
                let mut y = Buffer::allocate(device, to, 7).unwrap();
                cast(View { buffer: &x, offset: 14, strides: &[-2] }, &[7], &mut y).unwrap();
                let mut z = Buffer::allocate(device, to, 15).unwrap();
                cast(View { buffer: &x, offset: 0, strides: &[1] }, &[15], &mut z).unwrap();
                [values(&y), values(&z)].concat()
            };
            let (got, want) = (run(&device), run(&Device::Cpu));
            assert!(same(&got, &want), "{from} to {to}: {got:?}, expected {want:?}");
        }
    }
}

#[test]
fn a_block_is_written_without_touching_its_neighbours_in_the_same_word() {
    let device = device();
    for dtype in DTYPES {
        let run = |device: &Device| {
            let x = source(device, dtype);
            let mut y = Buffer::allocate(device, dtype, 35).unwrap();
            fill(&mut y, 1i64).unwrap();
            let view = View { buffer: &x, offset: 1, strides: &[3, 1] };
            copy_into(view, &[4, 3], &mut y, 9, &[7, 1]).unwrap();
            values(&y)
        };
        let (got, want) = (run(&device), run(&Device::Cpu));
        assert!(same(&got, &want), "{dtype}: {got:?}, expected {want:?}");
    }
}

#[test]
fn launches_beyond_the_groups_of_one_dim_are_folded() {
    // A workgroup fills 256 words, and 65535 of them are what a dim has at least.
    let len = 65535 * 256 + 257;
    let mut y = Buffer::allocate(&device(), DType::F32, len).unwrap();
    fill(&mut y, 2.5).unwrap();
    let y: Vec<f32> = y.to_vec().unwrap();
    assert!(y.len() == len && y.iter().all(|&y| y == 2.5));
}
