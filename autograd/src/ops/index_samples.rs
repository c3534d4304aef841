//! Samples of reading and writing by indices.

use chainrule_tensor::{DType, Device, Result, Tensor};

use crate::samples::{Array, ErrorSample, Sample, indices, uniform};

pub(super) fn samples() -> Result<Vec<Sample>> {
    Ok([reading()?, adding()?, writing()?].concat())
}

fn reading() -> Result<Vec<Sample>> {
    let x = || uniform(&[3, 4, 5], -1.0, 1.0, 1);
    let ids = |values: Vec<u32>| {
        let n = values.len();
        Tensor::from_vec(values, [n], &Device::Cpu)
    };
    Ok(vec![
        Sample::new(
            "embedding",
            "ids of two dims",
            vec![uniform(&[5, 3], -1.0, 1.0, 2)?, indices(&[2, 7], 5, 3)?],
            |x| x[0].embedding(&x[1].detach()),
        )
        .plain(|a| Array::build(&[2, 7, 3], |i| a[0].at(&[a[1].at(&i[..2]) as usize, i[2]]))),
        Sample::new(
            "embedding",
            "one id of no dims",
            vec![uniform(&[5, 3], -1.0, 1.0, 2)?, indices(&[], 5, 3)?],
            |x| x[0].embedding(&x[1].detach()),
        )
        .plain(|a| Array::build(&[3], |i| a[0].at(&[a[1].data[0] as usize, i[0]]))),
        Sample::new("embedding", "no ids", vec![uniform(&[5, 3], -1.0, 1.0, 2)?, indices(&[0], 5, 3)?], |x| {
            x[0].embedding(&x[1].detach())
        })
        .plain(|_| Array { shape: vec![0, 3], data: vec![] }),
        Sample::new(
            "embedding",
            "16 x 64 of 1000 x 128",
            vec![uniform(&[1000, 128], -1.0, 1.0, 2)?, indices(&[16, 64], 1000, 3)?],
            |x| x[0].embedding(&x[1].detach()),
        )
        .bench(),
        // No id names the padding row: finite differences would see what its gradient leaves out.
        Sample::new("embedding_with", "padding", vec![uniform(&[4, 3], -1.0, 1.0, 2)?, ids(vec![3, 1, 0, 1])?], |x| {
            x[0].embedding_with(&x[1].detach(), Some(2))
        })
        .plain(|a| Array::build(&[4, 3], |i| a[0].at(&[a[1].data[i[0]] as usize, i[1]]))),
        Sample::new(
            "embedding_backward",
            "padding",
            vec![uniform(&[4, 3], -1.0, 1.0, 2)?, ids(vec![3, 1, 2, 1])?],
            |x| Ok(x[0].detach().embedding_backward(&x[1].detach(), 5, Some(2))?.into()),
        )
        .plain(|a| {
            Array::build(&[5, 3], |i| {
                let hits = (0..4).filter(|&j| a[1].data[j] as usize == i[0] && i[0] != 2);
                hits.map(|j| a[0].at(&[j, i[1]])).sum()
            })
        })
        .no_gradient(),
        Sample::new("index_select", "middle, repeated", vec![x()?, ids(vec![3, 0, 3, 3, 1])?], |x| {
            x[0].index_select(1, &x[1].detach())
        })
        .plain(|a| Array::build(&[3, 5, 5], |i| a[0].at(&[i[0], a[1].data[i[1]] as usize, i[2]]))),
        Sample::new("index_select", "last, none", vec![x()?, ids(vec![])?], |x| x[0].index_select(-1, &x[1].detach()))
            .plain(|_| Array { shape: vec![3, 4, 0], data: vec![] }),
        Sample::new("index_select", "0-d", vec![uniform(&[], -1.0, 1.0, 1)?, ids(vec![0])?], |x| {
            x[0].index_select(0, &x[1].detach())
        })
        .plain(|a| a[0].clone()),
        Sample::new("gather", "shorter and repeated", vec![x()?, indices(&[2, 7, 5], 4, 5)?], |x| {
            x[0].gather(1, &x[1].detach())
        })
        .plain(|a| Array::build(&[2, 7, 5], |i| a[0].at(&[i[0], a[1].at(i) as usize, i[2]]))),
        Sample::new("gather", "0-d", vec![uniform(&[], -1.0, 1.0, 1)?, indices(&[], 1, 5)?], |x| {
            x[0].gather(-1, &x[1].detach())
        })
        .plain(|a| a[0].clone()),
        Sample::new("gather", "empty", vec![x()?, indices(&[3, 0, 5], 4, 5)?], |x| x[0].gather(1, &x[1].detach()))
            .plain(|_| Array { shape: vec![3, 0, 5], data: vec![] }),
        Sample::new("masked_select", "broadcast over columns", vec![x()?, indices(&[3, 4, 1], 2, 9)?], |x| {
            x[0].masked_select(&x[1].detach().ne(0)?)
        })
        .plain(|a| {
            let mut kept = Vec::new();
            Array::build(&[3, 4, 5], |i| {
                if a[1].at(i) != 0.0 {
                    kept.push(a[0].at(i));
                }
                0.0
            });
            Array { shape: vec![kept.len()], data: kept }
        }),
        Sample::new("nonzero", "matrix", vec![indices(&[5, 7], 2, 9)?], |x| Ok(x[0].detach().nonzero()?.into()))
            .plain(|a| {
                let mut found = Vec::new();
                Array::build(&[5, 7], |i| {
                    if a[0].at(i) != 0.0 {
                        found.extend([i[0] as f64, i[1] as f64]);
                    }
                    0.0
                });
                Array { shape: vec![found.len() / 2, 2], data: found }
            })
            .no_gradient(),
        Sample::new("one_hot", "two dims", vec![indices(&[2, 5], 3, 9)?], |x| {
            Ok(x[0].detach().one_hot(3, chainrule_tensor::DType::F32)?.into())
        })
        .plain(|a| Array::build(&[2, 5, 3], |i| f64::from(a[0].at(&i[..2]) as usize == i[2])))
        .no_gradient(),
    ])
}

fn adding() -> Result<Vec<Sample>> {
    let x = || uniform(&[3, 4, 2], -1.0, 1.0, 1);
    Ok(vec![
        Sample::new(
            "index_add",
            "repeated",
            vec![x()?, uniform(&[3, 6, 2], -1.0, 1.0, 2)?, indices(&[6], 4, 5)?],
            |x| x[0].index_add(1, &x[2].detach(), &x[1]),
        )
        .plain(|a| {
            Array::build(&[3, 4, 2], |i| {
                let hits = (0..6).filter(|&j| a[2].data[j] as usize == i[1]);
                a[0].at(i) + hits.map(|j| a[1].at(&[i[0], j, i[2]])).sum::<f64>()
            })
        }),
        Sample::new(
            "scatter_add",
            "repeated, src larger than the index",
            vec![x()?, uniform(&[3, 6, 3], -1.0, 1.0, 2)?, indices(&[2, 6, 2], 4, 5)?],
            |x| x[0].scatter_add(1, &x[2].detach(), &x[1]),
        )
        .plain(|a| {
            Array::build(&[3, 4, 2], |i| {
                let hits = (0..6).filter(|&j| i[0] < 2 && a[2].at(&[i[0], j, i[2]]) as usize == i[1]);
                a[0].at(i) + hits.map(|j| a[1].at(&[i[0], j, i[2]])).sum::<f64>()
            })
        }),
    ])
}

fn writing() -> Result<Vec<Sample>> {
    let x = || uniform(&[3, 4, 2], -1.0, 1.0, 1);
    Ok(vec![
        Sample::new(
            "scatter",
            "written over",
            vec![x()?, uniform(&[2, 6, 3], -1.0, 1.0, 2)?, indices(&[2, 6, 2], 4, 5)?],
            |x| x[0].scatter(1, &x[2].detach(), &x[1]),
        )
        .plain(|a| {
            Array::build(&[3, 4, 2], |i| {
                let last = (0..6).rev().find(|&j| i[0] < 2 && a[2].at(&[i[0], j, i[2]]) as usize == i[1]);
                last.map_or(a[0].at(i), |j| a[1].at(&[i[0], j, i[2]]))
            })
        }),
    ])
}

pub(super) fn error_samples() -> Result<Vec<ErrorSample>> {
    let x = || uniform(&[3, 4], -1.0, 1.0, 1);
    let with = |shape: &[usize], below| Ok(vec![x()?, indices(shape, below, 2)?]);
    let far = || Ok(vec![x()?, Tensor::new([1u32, 4], &Device::Cpu)?]);
    Ok(vec![
        ErrorSample::new(
            "embedding",
            far()?,
            |x| x[0].embedding(&x[1].detach()),
            "index 4 at position 1 is out of range for a dim of size 3",
        ),
        ErrorSample::new(
            "embedding",
            vec![x()?, x()?.to_dtype(DType::F32)?],
            |x| x[0].embedding(&x[1].detach()),
            "embedding: the index is f32, expected u8, u32, i32 or i64",
        ),
        ErrorSample::new(
            "embedding_with",
            with(&[2], 3)?,
            |x| x[0].embedding_with(&x[1].detach(), Some(3)),
            "padding_idx 3 is no row of [3, 4]",
        ),
        ErrorSample::new(
            "index_select",
            with(&[2, 2], 3)?,
            |x| x[0].index_select(0, &x[1].detach()),
            "the index has shape [2, 2], expected one dim",
        ),
        ErrorSample::new(
            "index_select",
            far()?,
            |x| x[0].index_select(1, &x[1].detach()),
            "index 4 at position 1 is out of range for a dim of size 4",
        ),
        ErrorSample::new(
            "index_add",
            with(&[2], 3)?,
            |x| x[0].index_add(0, &x[1].detach(), &x[0]),
            "src has shape [3, 4], expected [2, 4]",
        ),
        ErrorSample::new(
            "gather",
            with(&[4, 4], 3)?,
            |x| x[0].gather(1, &x[1].detach()),
            "the index has shape [4, 4], expected the dims of [3, 4] and no larger but for dim 1",
        ),
        ErrorSample::new(
            "scatter",
            with(&[3, 5], 3)?,
            |x| x[0].scatter(1, &x[1].detach(), &x[0]),
            "src has shape [3, 4], expected at least [3, 5] as the index",
        ),
        ErrorSample::new(
            "scatter_add",
            with(&[3], 3)?,
            |x| x[0].scatter_add(1, &x[1].detach(), &x[0]),
            "the index has shape [3], expected the dims of [3, 4]",
        ),
        ErrorSample::new(
            "masked_select",
            vec![x()?, x()?.to_dtype(DType::F32)?],
            |x| x[0].masked_select(&x[1].detach()),
            "the condition is f32, expected bool",
        ),
        ErrorSample::new(
            "one_hot",
            with(&[2], 3)?,
            |x| Ok(x[1].detach().add(5)?.one_hot(5, x[0].dtype())?.into()),
            "is out of range for a dim of size 5",
        ),
    ])
}
