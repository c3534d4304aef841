//! Rows by ids on the host: formulas are in [`crate::index`].

use bytemuck::Pod;

use crate::cpu::number::Number;
use crate::cpu::parallel::for_each_chunk;
use crate::cpu::places::{input_words, output_words, places};
use crate::cpu::simd::wide;
use crate::index::{IndexAddParams, IndexParams};
use crate::{Compute, CpuArgs, Result, Stored, with_dtype};

/// Rows added up before their sum goes into the total, so that a frequent id does not drown its later rows.
const RUN: usize = 64;

pub(crate) fn select(args: &mut CpuArgs<'_>) -> Result<()> {
    pick("index_select", args)
}

pub(crate) fn embedding(args: &mut CpuArgs<'_>) -> Result<()> {
    pick("embedding", args)
}

pub(crate) fn add(args: &mut CpuArgs<'_>) -> Result<()> {
    with_dtype!(args.elem, E => sums::<E>("index_add", args))
}

pub(crate) fn embedding_backward(args: &mut CpuArgs<'_>) -> Result<()> {
    with_dtype!(args.elem, E => sums::<E>("embedding_backward", args))
}

pub(crate) fn one_hot(args: &mut CpuArgs<'_>) -> Result<()> {
    with_dtype!(args.elem, E => one_hot_rows::<E>(args))
}

pub(crate) fn nonzero(args: &mut CpuArgs<'_>) -> Result<()> {
    with_dtype!(args.elem, E => nonzero_places::<E>(args));
    Ok(())
}

fn pick(op: &'static str, args: &mut CpuArgs<'_>) -> Result<()> {
    match args.elem.size_bytes() {
        1 => pick_words::<u8>(op, args),
        2 => pick_words::<u16>(op, args),
        4 => pick_words::<u32>(op, args),
        _ => pick_words::<u64>(op, args),
    }
}

fn pick_words<W: Pod + Send + Sync>(op: &'static str, args: &mut CpuArgs<'_>) -> Result<()> {
    let params: IndexParams = args.params();
    let (size, n, inner) = (params.size as usize, params.n as usize, params.inner as usize);
    let ids = places(op, args, 1, n, params.size)?;
    let x = input_words::<W>(args, 0);
    for_each_chunk(output_words::<W>(args), inner, inner, |first, y| {
        for (j, y) in y.chunks_exact_mut(inner).enumerate() {
            let (outer, j) = ((first + j) / n, (first + j) % n);
            y.copy_from_slice(&x[(outer * size + ids[j]) * inner..][..inner]);
        }
    });
    Ok(())
}

/// The places of each id in a list, in order: those of `id` are `order[starts[id]..starts[id + 1]]`.
struct Groups {
    starts: Vec<usize>,
    order: Vec<usize>,
}

impl Groups {
    fn new(ids: &[usize], size: usize) -> Groups {
        let mut starts = vec![0; size + 1];
        ids.iter().for_each(|&id| starts[id + 1] += 1);
        for id in 0..size {
            starts[id + 1] += starts[id];
        }
        let (mut next, mut order) = (starts.clone(), vec![0; ids.len()]);
        for (place, &id) in ids.iter().enumerate() {
            order[next[id]] = place;
            next[id] += 1;
        }
        Groups { starts, order }
    }

    fn of(&self, id: usize) -> &[usize] {
        &self.order[self.starts[id]..self.starts[id + 1]]
    }
}

fn sums<S: Stored>(op: &'static str, args: &mut CpuArgs<'_>) -> Result<()>
where
    S::Compute: Number,
{
    let IndexAddParams { extents, fresh, padding } = args.params();
    let (size, n, inner) = (extents.size as usize, extents.n as usize, extents.inner as usize);
    let ids = places(op, args, 1, n, extents.size)?;
    let groups = Groups::new(&ids, size);
    let src = args.input::<S>(0);
    let cost = inner * (1 + n / size.max(1));
    for_each_chunk(args.output::<S>(0), inner, cost, |first, y| {
        let zero = S::Compute::ZERO;
        let (mut total, mut part) = (vec![zero; inner], vec![zero; inner]);
        for (row, y) in y.chunks_exact_mut(inner).enumerate() {
            let (outer, id) = ((first + row) / size, (first + row) % size);
            let rows = if padding == id as i64 { &[] } else { groups.of(id) };
            if rows.is_empty() && fresh == 0 {
                continue;
            }
            if fresh != 0 {
                y.fill(S::default());
            }
            let src = &src[outer * n * inner..][..n * inner];
            wide::<S::Compute, _>(
                #[inline(always)]
                || add_rows(src, rows, y, &mut total, &mut part),
            );
        }
    });
    Ok(())
}

/// Adds some rows of `src` to `y`, in runs.
#[inline(always)]
fn add_rows<S: Stored>(src: &[S], rows: &[usize], y: &mut [S], total: &mut [S::Compute], part: &mut [S::Compute])
where
    S::Compute: Number,
{
    let inner = y.len();
    total.iter_mut().zip(&*y).for_each(|(total, y)| *total = y.widen());
    for run in rows.chunks(RUN) {
        part.fill(S::Compute::ZERO);
        for &row in run {
            let src = &src[row * inner..][..inner];
            part.iter_mut().zip(src).for_each(|(part, src)| *part = part.plus(src.widen()));
        }
        total.iter_mut().zip(&*part).for_each(|(total, part)| *total = total.plus(*part));
    }
    y.iter_mut().zip(&*total).for_each(|(y, total)| *y = total.store());
}

fn one_hot_rows<S: Stored>(args: &mut CpuArgs<'_>) -> Result<()> {
    let params: IndexParams = args.params();
    let ids = places("one_hot", args, 0, params.n as usize, params.size)?;
    let size = params.size as usize;
    for_each_chunk(args.output::<S>(0), size, size, |first, y| {
        y.fill(S::default());
        for (row, &id) in y.chunks_exact_mut(size).zip(&ids[first..]) {
            row[id] = S::from_i64(1);
        }
    });
    Ok(())
}

fn nonzero_places<S: Stored>(args: &mut CpuArgs<'_>) {
    let params: IndexParams = args.params();
    let x = &args.input::<S>(0)[..params.n as usize];
    let y = args.output::<i64>(0);
    let found = x.iter().enumerate().filter(|&(_, x)| *x != S::default()).map(|(place, _)| place as i64);
    y.iter_mut().zip(found.chain(std::iter::repeat(0))).for_each(|(y, place)| *y = place);
}

#[cfg(test)]
mod tests {
    use crate::index::{IndexParams, embedding_backward, embedding_forward, index_add, index_select, nonzero, one_hot};
    use crate::{Bool, Buffer, DType, Device, Rng, Stored, bf16};

    fn buffer<S: Stored>(values: &[S]) -> Buffer {
        Buffer::from_slice(&Device::Cpu, values).unwrap()
    }

    fn extents(outer: usize, size: usize, n: usize, inner: usize) -> IndexParams {
        IndexParams { outer: outer as u64, size: size as u64, n: n as u64, inner: inner as u64 }
    }

    #[test]
    fn select_and_add_along_any_dim() {
        let mut rng = Rng::seed(8);
        for (outer, size, n, inner) in [(1, 5, 9, 31), (3, 7, 1, 1), (33, 4, 1000, 1), (2, 1000, 33, 40), (2, 3, 0, 4)]
        {
            let ids: Vec<u32> = (0..n).map(|_| rng.below(size as u64) as u32).collect();
            let x: Vec<f32> = (0..outer * size * inner).map(|i| i as f32).collect();
            let src: Vec<f32> = (0..outer * n * inner).map(|_| (rng.uniform() * 8.0).floor()).collect();
            let (mut picked, mut added) = (vec![0.0; src.len()], x.clone());
            for (o, j) in (0..outer).flat_map(|o| (0..n).map(move |j| (o, j))) {
                for i in 0..inner {
                    let (at, from) = ((o * n + j) * inner + i, (o * size + ids[j] as usize) * inner + i);
                    picked[at] = x[from];
                    added[from] += src[at];
                }
            }
            let (ids, params) = (buffer(&ids), extents(outer, size, n, inner));
            let mut y = Buffer::allocate(&Device::Cpu, DType::F32, src.len()).unwrap();
            index_select((&buffer(&x), 0), (&ids, 0), params, &mut y).unwrap();
            assert_eq!(y.to_vec::<f32>().unwrap(), picked);
            // Sums of small integers are exact, so the order does not matter here.
            let mut y = buffer(&x);
            index_add((&buffer(&src), 0), (&ids, 0), params, &mut y).unwrap();
            assert_eq!(y.to_vec::<f32>().unwrap(), added);
        }
    }

    #[test]
    fn embedding_by_hand() {
        let ids = buffer(&[2i64, 0, 2, 1]);
        let mut y = Buffer::allocate(&Device::Cpu, DType::F32, 8).unwrap();
        let weight = buffer(&[1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0]);
        embedding_forward((&weight, 0), (&ids, 0), extents(1, 3, 4, 2), &mut y).unwrap();
        assert_eq!(y.to_vec::<f32>().unwrap(), [5.0, 6.0, 1.0, 2.0, 5.0, 6.0, 3.0, 4.0]);
        let dy = buffer(&[1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
        let mut dweight = buffer(&[f32::NAN; 6]);
        embedding_backward((&dy, 0), (&ids, 0), extents(1, 3, 4, 2), Some(1), &mut dweight).unwrap();
        assert_eq!(dweight.to_vec::<f32>().unwrap(), [3.0, 4.0, 0.0, 0.0, 6.0, 8.0]);
    }

    #[test]
    fn frequent_ids_add_up_in_f32() {
        let mut dweight = buffer(&[bf16::ZERO; 2]);
        let dy = vec![bf16::ONE; 4096];
        embedding_backward((&buffer(&dy), 0), (&buffer(&[1u8; 4096]), 0), extents(1, 2, 4096, 1), None, &mut dweight)
            .unwrap();
        assert_eq!(dweight.to_vec::<bf16>().unwrap(), [bf16::ZERO, bf16::from_f32(4096.0)]);
    }

    #[test]
    fn ids_outside_are_errors() {
        let weight = buffer(&[0.0f32; 6]);
        let mut y = buffer(&[7.0f32; 4]);
        let error = embedding_forward((&weight, 0), (&buffer(&[1i32, 3]), 0), extents(1, 3, 2, 2), &mut y).unwrap_err();
        let start = "embedding: index 3 at position 1 is out of range for a dim of size 3";
        assert!(error.to_string().starts_with(start), "{error}");
        assert_eq!(error.location().unwrap().file(), file!());
        assert_eq!(y.to_vec::<f32>().unwrap(), [7.0; 4]);
        let floats = buffer(&[1.0f32, 2.0]);
        let error = embedding_forward((&weight, 0), (&floats, 0), extents(1, 3, 2, 2), &mut y).unwrap_err();
        assert!(error.to_string().contains("index has dtype f32"), "{error}");
    }

    #[test]
    fn one_hot_and_nonzero() {
        let mut y = Buffer::allocate(&Device::Cpu, DType::I64, 6).unwrap();
        one_hot((&buffer(&[2u32, 0]), 0), extents(1, 3, 2, 1), &mut y).unwrap();
        assert_eq!(y.to_vec::<i64>().unwrap(), [0, 0, 1, 1, 0, 0]);
        assert!(one_hot((&buffer(&[2u32, 3]), 0), extents(1, 3, 2, 1), &mut y).is_err());
        let mut y = Buffer::allocate(&Device::Cpu, DType::I64, 2).unwrap();
        nonzero((&buffer(&[Bool(1), Bool(0), Bool(1), Bool(0), Bool(2)]), 1), 4, &mut y).unwrap();
        assert_eq!(y.to_vec::<i64>().unwrap(), [1, 3]);
    }
}
