//! Bugs of shapes, strides and indices.

use chainrule::INFER;
use chainrule::prelude::*;

use super::{close, normal, tensor, values};

/// candle#3873, burn#4861: kernels that took strides of four dims at most.
#[test]
fn reductions_read_six_strided_dims() {
    let x = normal(&[2, 3, 1, 4, 3, 2], DType::F64, 1).permute([5, 1, 3, 0, 2, 4]).unwrap();
    let copy = x.copy().unwrap();
    assert!(!x.is_contiguous());
    for subset in 1..1u32 << 6 {
        let dims: Vec<isize> = (0..6).filter(|dim| subset >> dim & 1 == 1).collect();
        let both = |f: &dyn Fn(&Tensor) -> Result<Tensor>, name: &str| {
            close(&f(&x).unwrap(), &f(&copy).unwrap(), 1e-14, &format!("{name} over {dims:?}"));
        };
        both(&|x| x.sum(dims.clone(), false), "sum");
        both(&|x| x.max(dims.clone(), true), "max");
        both(&|x| x.var(dims.clone(), 0.0, false), "var");
        both(&|x| x.logsumexp(dims.clone(), false), "logsumexp");
    }
    // The sum over all but the fourth dim, which was the first, from the elements themselves.
    let sum = x.sum([0, 1, 2, 4, 5], false).unwrap();
    let flat = values(&x.permute([3, 1, 4, 2, 5, 0]).unwrap());
    let expected = [flat[..72].iter().sum::<f64>(), flat[72..].iter().sum()];
    close(&sum, &tensor(&expected), 1e-13, "sum by hand");
}

/// mlx#3524, mlx#4324, candle#3813: products of sizes that wrap, and more memory than there is.
#[test]
fn sizes_that_no_address_can_count_are_errors() {
    let x = tensor(&[1.0]);
    let big = 1usize << 40;
    let wide = x.expand([big]).unwrap();
    let (row, column) = (wide.reshape([1, big]).unwrap(), wide.reshape([big, 1]).unwrap());
    let refused = |what: &str, result: Result<Tensor>| {
        let error = result.err().unwrap_or_else(|| panic!("{what} gave a result")).to_string();
        assert!(!error.is_empty(), "{what}");
    };
    refused("reshape to a product of 2^64", x.reshape([big, 1 << 24]));
    refused("reshape of nothing", x.narrow(0, 0, 0).and_then(|x| x.reshape([big, 0, big])));
    refused("inferred", x.reshape([big, INFER]));
    refused("expand", x.expand([big, big]));
    refused("repeat", x.repeat([usize::MAX]));
    refused("repeat of 2^80", wide.repeat([big]));
    refused("add", row.add(&column));
    refused("where", row.gt(0.0).and_then(|_| row.eq(&column)));
    refused("matmul", column.matmul(&row));
    refused("outer", wide.outer(&wide));
    refused("pad", x.pad(&[(isize::MAX, isize::MAX)], 0.0));
    refused("pad to 2^80", row.expand([2, big]).and_then(|x| x.pad(&[(0, 0), (0, 1 << 40)], 0.0)));
    refused("zeros", Tensor::zeros([big, 1 << 8], DType::F64, &Device::Cpu));
    refused("eye", Tensor::eye(big, big, DType::F32, &Device::Cpu));
    refused("eye of 2^60", Tensor::eye(1 << 30, 1 << 30, DType::F32, &Device::Cpu));
    refused("arange", Tensor::arange(0i64, i64::MAX, 1, &Device::Cpu));
    refused("arange of 2^47", Tensor::arange(0i64, 1 << 47, 1, &Device::Cpu));
    refused("arange from end to end", Tensor::arange(i64::MIN, i64::MAX, 1, &Device::Cpu));
    refused("arange of floats", Tensor::arange(0.0, 1e300, 1e-300, &Device::Cpu));
    refused("linspace", Tensor::linspace(0.0, 1.0, usize::MAX, &Device::Cpu));
    refused("randn", Tensor::randn([1 << 50], DType::F32, &Device::Cpu, &mut Rng::seed(0)));
    refused("one_hot", Tensor::new([0i64], &Device::Cpu).and_then(|x| x.one_hot(usize::MAX, DType::F32)));
    // The ends of the range themselves do no harm.
    let ends = Tensor::arange(i64::MAX - 2, i64::MAX, 1, &Device::Cpu).unwrap();
    assert_eq!(ends.to_vec::<i64>().unwrap(), [i64::MAX - 2, i64::MAX - 1]);
    let down = Tensor::arange(i64::MAX, i64::MIN, -(1i64 << 62), &Device::Cpu).unwrap();
    assert_eq!(down.to_vec::<i64>().unwrap(), [i64::MAX, (1 << 62) - 1, -1, -(1 << 62) - 1]);
}

/// candle#3604: views of more elements than 32 bits count.
#[test]
fn views_reach_beyond_2_to_the_32() {
    let rows = (1usize << 33) + 5;
    let x = tensor(&[1.0, 2.0, 3.0]).expand([rows, 3]).unwrap();
    assert_eq!(x.elements(), 3 * rows);
    let last = x.narrow(0, rows - 2, 2).unwrap();
    assert_eq!(values(&last), [1.0, 2.0, 3.0, 1.0, 2.0, 3.0]);
    assert_eq!(values(&x.slice(0, -1..).and_then(|x| x.select(1, 1)).unwrap()), [2.0]);
    assert_eq!(values(&x.transpose(0, 1).and_then(|x| x.select(1, 1 << 32)).unwrap()), [1.0, 2.0, 3.0]);
    assert!(x.select(0, (1 << 33) + 5).is_err());
    // What would need more memory than there is says so, at the line of the call.
    let error = x.copy().unwrap_err().to_string();
    assert!(error.contains("out of memory") && error.contains("sizes.rs"), "{error}");
}

/// burn#4760, burn#4870: ids that are far outside, or would be inside after a cast.
#[test]
fn ids_are_compared_before_they_are_narrowed() {
    let x = tensor(&[1.0, 2.0, 3.0]);
    for id in [-1, 3, 1 << 32, (1 << 32) + 1, i64::MIN, i64::MAX] {
        let ids = Tensor::new([id], &Device::Cpu).unwrap();
        assert!(x.index_select(0, &ids).is_err(), "index_select {id}");
        assert!(x.gather(0, &ids).is_err(), "gather {id}");
        assert!(x.scatter_add(0, &ids, &x).is_err(), "scatter_add {id}");
        assert!(x.reshape([3, 1]).unwrap().embedding(&ids).is_err(), "embedding {id}");
        assert!(ids.one_hot(3, DType::F32).is_err(), "one_hot {id}");
    }
    let ids = Tensor::new([u32::MAX], &Device::Cpu).unwrap();
    assert!(x.index_select(0, &ids).is_err() && x.gather(0, &ids).is_err());
}

/// candle#680: a tensor repeated without a copy is written nowhere, not even where a sum reuses its left side.
#[test]
fn expanded_tensors_are_never_written() {
    let one = tensor(&[1.0]);
    let sum = Tensor::add_owned(one.expand([3]).unwrap(), &tensor(&[10.0, 20.0, 30.0])).unwrap();
    assert_eq!((values(&sum), values(&one)), (vec![11.0, 21.0, 31.0], vec![1.0]));
    // Both gradients are one number repeated.
    let tape = Tape::new();
    let x = tape.leaf(tensor(&[1.0, 2.0, 3.0]));
    let loss = x.sum(.., false).unwrap().add(x.sum(.., false).unwrap()).and_then(|y| y.add(x.sum(.., false)?)).unwrap();
    assert_eq!(values(loss.backward().unwrap().get(&x).unwrap()), [3.0; 3]);
    let mut net = Linear { weight: Param::new(one.expand([2, 2]).unwrap()), bias: None };
    let tape = Tape::new();
    let loss = net.on(&tape).forward(&tensor(&[1.0, 2.0]).into()).and_then(|y| y.sum(.., false)).unwrap();
    Sgd::new(1.0).step(&mut net, &loss.backward().unwrap()).unwrap();
    assert_eq!((values(net.weight.tensor()), values(&one)), (vec![0.0, -1.0, 0.0, -1.0], vec![1.0]));
}

/// burn#4216, and as many dims as there can be.
#[test]
fn repeats_of_eight_dims_have_a_gradient() {
    let tape = Tape::new();
    let x = tape.leaf(normal(&[1, 2, 1, 2, 1, 1, 1, 2], DType::F64, 1));
    let y = x.repeat([2, 1, 3, 1, 1, 1, 1, 2]).unwrap();
    let grads = y.sum(.., false).unwrap().backward().unwrap();
    assert!(values(grads.get(&x).unwrap()).iter().all(|&dx| dx == 12.0));
}
