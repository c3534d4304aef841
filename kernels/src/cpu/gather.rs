//! Gathering and scattering on the host: formulas are in [`crate::gather`].

use bytemuck::Pod;

use crate::cpu::number::Number;
use crate::cpu::parallel::for_each_chunk;
use crate::cpu::places::{input_words, output_words, places, whole_input_words};
use crate::gather::GatherParams;
use crate::{Compute, CpuArgs, DType, Result, Stored, with_dtype};

pub(crate) fn gather(args: &mut CpuArgs<'_>) -> Result<()> {
    match args.elem.size_bytes() {
        1 => gather_words::<u8>(args),
        2 => gather_words::<u16>(args),
        4 => gather_words::<u32>(args),
        _ => gather_words::<u64>(args),
    }
}

pub(crate) fn scatter(args: &mut CpuArgs<'_>) -> Result<()> {
    match args.elem.size_bytes() {
        1 => scatter_words::<u8>(args),
        2 => scatter_words::<u16>(args),
        4 => scatter_words::<u32>(args),
        _ => scatter_words::<u64>(args),
    }
}

pub(crate) fn scatter_add(args: &mut CpuArgs<'_>) -> Result<()> {
    with_dtype!(args.elem, E => scatter_sums::<E>(args))
}

fn gather_words<W: Pod + Send + Sync>(args: &mut CpuArgs<'_>) -> Result<()> {
    let params: GatherParams = args.params();
    let index = places("gather", args, 1, params.walk.len(), params.size)?;
    let (x, offset) = (whole_input_words::<W>(args, 0), args.offset(0) as isize);
    for_each_chunk(output_words::<W>(args), 1, 4, |start, y| {
        for run in params.walk.runs(start..start + y.len()) {
            let y = &mut y[run.first - start..][..run.len];
            let index = &index[run.first..][..run.len];
            let mut at = offset + run.offset;
            for (y, &index) in y.iter_mut().zip(index) {
                *y = x[(at + index as isize * params.stride as isize) as usize];
                at += run.stride;
            }
        }
    });
    Ok(())
}

fn scatter_words<W: Pod + Send + Sync>(args: &mut CpuArgs<'_>) -> Result<()> {
    let params: GatherParams = args.params();
    let index = places("scatter", args, 1, params.walk.len(), params.size)?;
    let src = input_words::<W>(args, 0);
    for_each_slab(output_words::<W>(args), &params, |y, base, elements| {
        for_each_place(&params, &index, base, elements, |from, to| y[to] = src[from]);
    });
    Ok(())
}

fn scatter_sums<S: Stored>(args: &mut CpuArgs<'_>) -> Result<()>
where
    S::Compute: Number,
{
    let params: GatherParams = args.params();
    let index = places("scatter_add", args, 1, params.walk.len(), params.size)?;
    let src = args.input::<S>(0);
    for_each_slab(args.output::<S>(0), &params, |y, base, elements| {
        if !matches!(S::DTYPE, DType::F16 | DType::BF16) {
            return for_each_place(&params, &index, base, elements, |from, to| {
                y[to] = y[to].widen().plus(src[from].widen()).store();
            });
        }
        // Rounding after each addition would lose small ones.
        let mut sums: Vec<S::Compute> = y.iter().map(|y| y.widen()).collect();
        for_each_place(&params, &index, base, elements, |from, to| sums[to] = sums[to].plus(src[from].widen()));
        y.iter_mut().zip(sums).for_each(|(y, sum)| *y = sum.store());
    });
    Ok(())
}

/// Calls `f(part of y, where it starts in y, range of index elements)` for parts of `y` that no line along the dim
/// leaves, so that they can be written at the same time.
fn for_each_slab<T: Send>(
    y: &mut [T],
    params: &GatherParams,
    f: impl Fn(&mut [T], usize, std::ops::Range<usize>) + Send + Sync,
) {
    let (outer, slab) = (params.outer as usize, params.slab as usize);
    let per_slab = params.walk.len().checked_div(outer).unwrap_or(0);
    if per_slab == 0 {
        return;
    }
    for_each_chunk(&mut y[..outer * slab], slab, 4 * per_slab, |first, y| {
        let slabs = y.len() / slab;
        f(y, first * slab, first * per_slab..(first + slabs) * per_slab);
    });
}

/// Calls `f(element of the index, the place it names relative to base)` in the order of the index.
fn for_each_place(
    params: &GatherParams,
    index: &[usize],
    base: usize,
    elements: std::ops::Range<usize>,
    mut f: impl FnMut(usize, usize),
) {
    for run in params.walk.runs(elements) {
        let mut at = run.offset - base as isize;
        for (j, &index) in index[run.first..][..run.len].iter().enumerate() {
            f(run.first + j, (at + index as isize * params.stride as isize) as usize);
            at += run.stride;
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::gather::{GatherParams, gather, scatter, scatter_add};
    use crate::{Buffer, DType, Device, Result, Rng, Stored, bf16, f16};

    fn strides(shape: &[usize]) -> Vec<isize> {
        (0..shape.len()).map(|d| shape[d + 1..].iter().product::<usize>() as isize).collect()
    }

    /// The place in an array of `shape` of each element of an index.
    fn targets(index: &[i64], index_shape: &[usize], shape: &[usize], dim: usize) -> Vec<usize> {
        let (of_index, of_array) = (strides(index_shape), strides(shape));
        (0..index.len())
            .map(|flat| {
                (0..shape.len())
                    .map(|d| if d == dim { index[flat] as usize } else { flat / of_index[d] as usize % index_shape[d] } * of_array[d] as usize)
                    .sum()
            })
            .collect()
    }

    fn buffer<S: Stored>(values: &[S]) -> Buffer {
        Buffer::from_slice(&Device::Cpu, values).unwrap()
    }

    type Write = fn((&Buffer, usize), (&Buffer, usize), GatherParams, &mut Buffer) -> Result<()>;

    fn write<S: Stored>(op: Write, y: &[S], src: &[S], index: &[i64], params: GatherParams) -> Vec<S> {
        let mut y = buffer(y);
        op((&buffer(src), 0), (&buffer(index), 0), params, &mut y).unwrap();
        y.to_vec().unwrap()
    }

    #[test]
    fn every_dim_of_any_shape() {
        let mut rng = Rng::seed(4);
        let cases: &[(&[usize], &[usize], usize)] = &[
            (&[5], &[9], 0),
            (&[4, 31], &[4, 7], 1),
            (&[4, 31], &[6, 31], 0),
            (&[3, 8, 5], &[4, 6, 5], 1),
            (&[3, 2, 5], &[3, 2, 9], 2),
            (&[300, 2, 100], &[300, 3, 100], 1),
            (&[2, 0], &[2, 3], 1),
        ];
        for &(index_shape, shape, dim) in cases {
            let index: Vec<i64> =
                (0..index_shape.iter().product()).map(|_| rng.below(shape[dim] as u64) as i64).collect();
            let x: Vec<i32> = (0..shape.iter().product::<usize>() as i32).collect();
            let src: Vec<i32> = (0..index.len() as i32).map(|i| 1000 + i).collect();
            let targets = targets(&index, index_shape, shape, dim);
            let params = GatherParams::new(index_shape, shape, &strides(shape), dim).unwrap();

            let mut y = Buffer::allocate(&Device::Cpu, DType::I32, index.len()).unwrap();
            gather((&buffer(&x), 0), (&buffer(&index), 0), params, &mut y).unwrap();
            assert_eq!(y.to_vec::<i32>().unwrap(), targets.iter().map(|&t| x[t]).collect::<Vec<_>>());

            let mut written = x.clone();
            targets.iter().zip(&src).for_each(|(&t, &s)| written[t] = s);
            assert_eq!(write(scatter, &x, &src, &index, params), written);

            let mut added = x.clone();
            targets.iter().zip(&src).for_each(|(&t, &s)| added[t] += s);
            assert_eq!(write(scatter_add, &x, &src, &index, params), added);
        }
    }

    #[test]
    fn gather_reads_through_strides() {
        // x = [[1, 2, 3], [4, 5, 6]] seen transposed: [[1, 4], [2, 5], [3, 6]].
        let params = GatherParams::new(&[3, 1], &[3, 2], &[1, 3], 1).unwrap();
        let mut y = Buffer::allocate(&Device::Cpu, DType::F16, 3).unwrap();
        let x: Vec<f16> = (0..7).map(|i| f16::from_f32(i as f32)).collect();
        gather((&buffer(&x), 1), (&buffer(&[1u8, 0, 1]), 0), params, &mut y).unwrap();
        assert_eq!(y.to_vec::<f16>().unwrap(), [4.0, 2.0, 6.0].map(f16::from_f32));
    }

    #[test]
    fn narrow_floats_add_up_in_f32() {
        let params = GatherParams::new(&[1000], &[1], &[1], 0).unwrap();
        let y = write(scatter_add, &[bf16::ONE], &[bf16::ONE; 1000], &[0; 1000], params);
        assert_eq!(y, [bf16::from_f32(1001.0)]);
    }

    #[test]
    fn an_index_outside_writes_nothing() {
        let params = GatherParams::new(&[2, 2], &[2, 3], &[3, 1], 1).unwrap();
        for (index, outside) in [([0i64, 1, 3, 0], "index 3 at position 2"), ([0, -1, 0, 0], "index -1 at position 1")]
        {
            let mut y = buffer(&[7.0f32; 6]);
            let error = scatter_add((&buffer(&[1.0f32; 4]), 0), (&buffer(&index), 0), params, &mut y).unwrap_err();
            let message = error.to_string();
            assert!(message.starts_with(&format!("scatter_add: {outside} is out of range for a dim of size 3")));
            assert_eq!(y.to_vec::<f32>().unwrap(), [7.0; 6]);
        }
    }
}
