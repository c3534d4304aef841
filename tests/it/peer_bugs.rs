//! Bugs that other libraries had, each of which no other test here would see. docs/peer-bugs.md says for every one which
//! test covers it.

use chainrule::nn::layers::{Attend, MultiHeadConfig};
use chainrule::prelude::*;
use chainrule::{Attention, INFER, Op, Rope, apply};

fn values(x: &Tensor) -> Vec<f64> {
    x.to_f64_vec().unwrap()
}

fn tensor(values: &[f64]) -> Tensor {
    Tensor::from_slice(values, [values.len()], &Device::Cpu).unwrap()
}

fn normal(shape: &[usize], dtype: DType, seed: u64) -> Tensor {
    Tensor::randn(shape, dtype, &Device::Cpu, &mut Rng::seed(seed)).unwrap()
}

fn close(got: &Tensor, expected: &Tensor, tolerance: f64, what: &str) {
    assert_eq!(got.shape(), expected.shape(), "{what}");
    for (got, expected) in values(got).into_iter().zip(values(expected)) {
        assert!((got - expected).abs() <= tolerance * (1.0 + expected.abs()), "{what}: {got}, expected {expected}");
    }
}

/// d/dx of x^2 by a backward pass of its own.
fn slope_of_square(x: &Tensor) -> Result<Tensor> {
    let tape = Tape::new();
    let x = tape.leaf(x.clone());
    x.square()?.sum(.., false)?.backward()?.get(&x).cloned()
}

/// `y = x^2`, whose backward runs a backward pass.
struct Square;

impl Op for Square {
    type Saved = Tensor;

    fn name(&self) -> &'static str {
        "square_by_tape"
    }

    fn forward(&self, inputs: &[Tensor]) -> Result<(Vec<Tensor>, Tensor)> {
        Ok((vec![inputs[0].square()?], inputs[0].clone()))
    }

    fn backward(&self, x: &Tensor, dys: &[Option<Tensor>], _: &[bool]) -> Result<Vec<Option<Tensor>>> {
        dys.iter().map(|dy| dy.as_ref().map(|dy| slope_of_square(x)?.mul(dy)).transpose()).collect()
    }

    fn reference(&self, inputs: &[Var]) -> Result<Vec<Var>> {
        Ok(vec![inputs[0].square()?])
    }
}

/// burn#5194.
#[test]
fn a_backward_pass_inside_another_does_not_deadlock() {
    let tape = Tape::new();
    let x = tape.leaf(tensor(&[1.0, 3.0]));
    let y = apply(Square, &[&x]).unwrap().remove(0).with_hook(|dy| dy.mul(slope_of_square(&dy.detach())?)).unwrap();
    // The hook gets 1 and makes it 1 * 2; the op gives 2 x of that.
    let grads = y.sum(.., false).unwrap().backward().unwrap();
    assert_eq!(values(grads.get(&x).unwrap()), [4.0, 12.0]);

    // The same tape cannot be freed twice, which is an error and no deadlock either.
    let tape = Tape::new();
    let x = tape.leaf(tensor(&[1.0]));
    let inner = x.square().and_then(|y| y.sum(.., false)).unwrap();
    let loss = x.with_hook(move |dy| inner.backward().map(|_| dy.clone())).and_then(|y| y.sum(.., false)).unwrap();
    let error = loss.backward().err().unwrap().to_string();
    assert!(error.contains("freed by an earlier backward"), "{error}");
}

/// burn#3793: here the threads share one tape; `graph.rs` has a tape for each.
#[test]
fn several_threads_record_on_and_walk_one_tape() {
    let tape = Tape::new();
    let x = tape.leaf(tensor(&[0.5, 1.0, -2.0]));
    let run = |power: i32| {
        let y = (1..power).fold(x.clone(), |y, _| y.mul(&x).unwrap());
        values(y.sum(.., false).unwrap().backward_retain().unwrap().get(&x).unwrap())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (1..9).map(|power| (power, scope.spawn(move || run(power)))).collect();
        for (power, thread) in threads {
            let expected: Vec<f64> = [0.5f64, 1.0, -2.0].iter().map(|x| f64::from(power) * x.powi(power - 1)).collect();
            assert_eq!(thread.join().unwrap(), expected, "x^{power}");
        }
    });
}

/// Many parameters, so that threads meet at one of them.
#[derive(Clone, Module)]
struct Many {
    layers: Vec<Linear>,
}

/// One parameter has one leaf, also where threads put their model on one tape at the same moment.
#[test]
fn several_threads_share_the_leaves_of_parameters() {
    let weight = || Param::new(tensor(&[1.0]).reshape([1, 1]).unwrap());
    let model = Many { layers: (0..200).map(|_| Linear { weight: weight(), bias: None }).collect() };
    let x = Var::from(tensor(&[1.0]));
    for round in 0..20 {
        let (tape, start) = (Tape::new(), std::sync::Barrier::new(4));
        let run = || {
            start.wait();
            model.on(&tape).layers.iter().try_fold(x.clone(), |x, layer| layer.forward(&x)).unwrap()
        };
        let ys: Vec<Var> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(run)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let loss = Var::cat(&ys.iter().collect::<Vec<_>>(), 0).and_then(|y| y.sum(.., false)).unwrap();
        let grads = loss.backward().unwrap();
        for (name, param) in model.named_parameters() {
            assert_eq!(values(grads.param(param.id()).unwrap()), [4.0], "{name} in round {round}");
        }
    }
}

/// burn#2077, burn#3957: the discriminator learns from a detached sample, the generator through the discriminator.
#[test]
fn a_generator_and_a_discriminator_share_a_graph() {
    let tape = Tape::new();
    let (generator, discriminator) = (tape.leaf(tensor(&[2.0])), tape.leaf(tensor(&[3.0])));
    let noise = Var::from(tensor(&[5.0]));
    let fake = generator.mul(&noise).unwrap();
    let judged = discriminator.mul(fake.detach()).and_then(|y| y.sum(.., false)).unwrap();
    let fooled = discriminator.mul(&fake).and_then(|y| y.sum(.., false)).unwrap();

    let grads = judged.backward_retain().unwrap();
    assert_eq!(values(grads.get(&discriminator).unwrap()), [10.0]);
    assert!(grads.get(&generator).is_err(), "nothing flows through a detached sample");
    let grads = fooled.backward().unwrap();
    assert_eq!(values(grads.get(&generator).unwrap()), [15.0]);
    assert_eq!(values(grads.get(&discriminator).unwrap()), [10.0]);
}

/// mlx#3675.
#[test]
fn a_failed_op_leaves_the_tape_as_it_was() {
    let tape = Tape::new();
    let x = tape.leaf(tensor(&[1.0, 2.0]));
    let y = x.square().unwrap();
    let len = tape.len();
    assert!(y.matmul(&Var::from(tensor(&[1.0]))).is_err());
    assert!(y.reshape([3]).is_err());
    assert!(y.index_select(0, &Tensor::new([2i64], &Device::Cpu).unwrap()).is_err());
    assert_eq!(tape.len(), len);
    assert_eq!(values(y.sum(.., false).unwrap().backward().unwrap().get(&x).unwrap()), [2.0, 4.0]);
}

/// mlx#3630 showed once in some hundred runs.
#[test]
fn layer_norm_gives_the_same_gradients_two_hundred_times() {
    let (x, dy) = (normal(&[129, 257], DType::F32, 1), normal(&[129, 257], DType::F32, 2));
    let affine = normal(&[257], DType::F32, 3);
    let run = || {
        let tape = Tape::new();
        let leaves = [&x, &affine, &affine].map(|x| tape.leaf(x.clone()));
        let y = leaves[0].layer_norm(Some(&leaves[1]), Some(&leaves[2]), 1e-5).unwrap();
        let grads = y.mul(&dy).and_then(|y| y.sum(.., false)).unwrap().backward().unwrap();
        leaves.map(|leaf| grads.get(&leaf).unwrap().to_bytes().unwrap())
    };
    let first = run();
    (1..200).for_each(|round| assert!(run() == first, "round {round}"));
}

/// pytorch#41508, pytorch#103963, burn#4697: a sequence of padding alone beside others.
#[test]
fn a_sequence_without_keys_spoils_no_shared_weight() {
    let layer = MultiHeadAttention::new(MultiHeadConfig::new(8, 2), &mut Rng::seed(1)).unwrap();
    let x = normal(&[2, 3, 8], DType::F32, 2);
    let padding = Tensor::new([[true, true, true], [false, false, true]], &Device::Cpu).unwrap();
    let run = |x: &Tensor, padding: &Tensor| {
        let attend = Attend { key_padding: Some(padding), ..Attend::causal() };
        let tape = Tape::new();
        let y = layer.on(&tape).forward(&x.into(), &attend).unwrap();
        let rows = y.narrow(0, y.shape()[0] - 1, 1).unwrap();
        let grads = rows.square().and_then(|y| y.sum(.., false)).unwrap().backward().unwrap();
        let weight = grads.param(layer.in_proj_weight.id()).unwrap().clone();
        (y.detach(), weight)
    };
    let (y, with) = run(&x, &padding);
    assert!(values(&y).iter().all(|y| y.is_finite()));
    let last = |x: &Tensor| x.narrow(0, 1, 1).unwrap();
    let (_, alone) = run(&last(&x), &last(&padding));
    // The same products, summed over zeros too.
    close(&with, &alone, 1e-6, "the weights' gradient");
}

/// pytorch#101967. The gradients of the backward kernels; that of the reference would multiply 0 by NaN.
#[test]
fn what_hidden_keys_hold_reaches_no_gradient() {
    let k_shape = [1, 1, 5, 4];
    let [q, k, v] = [[1, 1, 3, 4], k_shape, k_shape].map(|shape| normal(&shape, DType::F32, 5));
    let seen = Tensor::new([true, false, true, true, false], &Device::Cpu).unwrap();
    let hidden = seen.logical_not().and_then(|hidden| hidden.reshape([1, 1, 5, 1])).unwrap();
    let run = |fill: f64| {
        let tape = Tape::new();
        let [k, v] = [&k, &v].map(|x| x.masked_fill(&hidden, fill).unwrap());
        let leaves = [q.clone(), k, v].map(|x| tape.leaf(x));
        let options = Attention { mask: Some(seen.clone()), ..Attention::default() };
        let y = leaves[0].attention(&leaves[1], &leaves[2], &options).unwrap();
        let grads = y.square().and_then(|y| y.sum(.., false)).unwrap().backward().unwrap();
        [vec![y.detach()], leaves.iter().map(|leaf| grads.get(leaf).unwrap().clone()).collect()].concat()
    };
    let expected = run(0.0);
    for fill in [f64::NAN, f64::INFINITY, 3e38] {
        for ((got, expected), name) in run(fill).iter().zip(&expected).zip(["y", "dq", "dk", "dv"]) {
            // Where there are NaNs, hidden keys are passed over one by one: another order of sums.
            close(got, expected, 1e-6, &format!("{name} with {fill} in hidden keys"));
        }
    }
}

/// mlx#3361: an index of 16 bits.
#[test]
fn attention_reads_more_than_32768_keys() {
    let keys = 40_000;
    let tape = Tape::new();
    let q = tape.leaf(Tensor::zeros([1, 1, 1, 4], DType::F32, &Device::Cpu).unwrap());
    let k = tape.leaf(normal(&[1, 1, keys, 4], DType::F32, 1));
    // Equal scores, so the result is the mean; only the last key's value is not zero.
    let v = Tensor::cat(
        &[
            &Tensor::zeros([1, 1, keys - 1, 4], DType::F32, &Device::Cpu).unwrap(),
            &Tensor::full([1, 1, 1, 4], keys as f64, DType::F32, &Device::Cpu).unwrap(),
        ],
        2,
    );
    let v = tape.leaf(v.unwrap());
    let y = q.attention(&k, &v, &Attention::default()).unwrap();
    // A sum of 40,000 equal weights rounds in blocks.
    close(&y.detach(), &Tensor::ones([1, 1, 1, 4], DType::F32, &Device::Cpu).unwrap(), 1e-5, "y");
    let grads = y.sum(.., false).unwrap().backward().unwrap();
    let expected = Tensor::full([1, 1, keys, 4], 1.0 / keys as f64, DType::F32, &Device::Cpu).unwrap();
    close(grads.get(&v).unwrap(), &expected, 1e-9, "dv");
}

/// flash-attention's list of head sizes, of which some are no multiple of a vector or a tile.
#[test]
fn attention_takes_heads_of_any_size() {
    for dim in [1, 40, 72, 80, 96, 128, 192, 256] {
        let [q, k, v] = [(5, 1), (19, 2), (19, 3)].map(|(len, seed)| normal(&[1, 2, len, dim], DType::F32, seed));
        let run = |dtype: DType, is_fused: bool| {
            let tape = Tape::new();
            let leaves = [&q, &k, &v].map(|x| tape.leaf(x.to_dtype(dtype).unwrap()));
            let [q, k, v] = &leaves;
            let scores = || q.matmul(&k.transpose(-2, -1)?)?.mul((dim as f64).powf(-0.5))?.softmax(-1);
            let y = if is_fused { q.attention(k, v, &Attention::default()) } else { scores().unwrap().matmul(v) };
            let y = y.unwrap();
            let grads = y.square().and_then(|y| y.sum(.., false)).unwrap().backward().unwrap();
            [vec![y.detach()], leaves.iter().map(|x| grads.get(x).unwrap().clone()).collect()].concat()
        };
        let results = run(DType::F32, true).into_iter().zip(run(DType::F64, false));
        for ((got, expected), name) in results.zip(["y", "dq", "dk", "dv"]) {
            // Sums of up to 256 products in f32, twice over.
            close(&got, &expected, 2e-5, &format!("{name} of heads of {dim}"));
        }
    }
}

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
    assert!(error.contains("out of memory") && error.contains("peer_bugs.rs"), "{error}");
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

/// burn#4769: the sum of these is beyond f16, their mean is not. burn#5027: large numbers of f16 are numbers.
#[test]
fn f16_means_do_not_overflow() {
    let x = Tensor::full([64, 33], 60000.0, DType::F16, &Device::Cpu).unwrap();
    // 60,000 is a multiple of 32, the distance of f16 there.
    assert_eq!(values(&x.mean(.., false).unwrap()), [60000.0]);
    assert!(values(&x.mean(0, false).unwrap()).iter().all(|&mean| mean == 60000.0));
    assert_eq!(values(&x.var(.., 1.0, false).unwrap()), [0.0]);
    assert!(!values(&x.isnan().unwrap()).contains(&1.0));
    let tape = Tape::new();
    let leaf = tape.leaf(x);
    let grads = leaf.mean(.., false).and_then(|y| y.backward()).unwrap();
    close(
        grads.get(&leaf).unwrap(),
        &Tensor::full([64, 33], 1.0 / 2112.0, DType::F16, &Device::Cpu).unwrap(),
        1e-6,
        "dx",
    );
}

/// candle#3477: the forward is among the samples, whose gradients would need steps of 1e25.
#[test]
fn rms_norm_of_huge_values_has_a_gradient() {
    let x = normal(&[3, 33], DType::F64, 1).mul(1e30).unwrap();
    let gradient = |dtype: DType| {
        let tape = Tape::new();
        let leaf = tape.leaf(x.to_dtype(dtype).unwrap());
        let dy = normal(&[3, 33], DType::F64, 2).to_dtype(dtype).unwrap();
        let loss = leaf.rms_norm(None, 1e-6).and_then(|y| y.mul(&dy)).and_then(|y| y.sum(.., false)).unwrap();
        loss.backward().unwrap().get(&leaf).unwrap().to_dtype(DType::F64).and_then(|dx| dx.mul(1e30)).unwrap()
    };
    // A difference of sums of 33 products: some dozen roundings of 6e-8.
    close(&gradient(DType::F32), &gradient(DType::F64), 1e-5, "dx");
}

/// burn#4486, candle#3200: the ends of the integers' range.
#[test]
fn the_least_integer_survives() {
    let x = Tensor::new([i64::MIN, i64::MAX], &Device::Cpu).unwrap();
    let ints = |x: Tensor| x.to_vec::<i64>().unwrap();
    // As in two's complement, and in PyTorch: there is no positive twin.
    assert_eq!(ints(x.abs().unwrap()), [i64::MIN, i64::MAX]);
    assert_eq!(ints(x.neg().unwrap()), [i64::MIN, -i64::MAX]);
    assert_eq!(ints(x.min(.., false).unwrap()), [i64::MIN]);
    assert_eq!(ints(x.max(.., false).unwrap()), [i64::MAX]);
    assert_eq!(ints(x.floor_div(-1).unwrap()), [i64::MIN, -i64::MAX]);
    assert_eq!(ints(x.rem(-1).unwrap()), [0, 0]);
    assert_eq!(ints(x.sort(0, true).unwrap().0), [i64::MAX, i64::MIN]);
    let least = Tensor::new([i64::MIN, i64::MIN], &Device::Cpu).unwrap();
    assert_eq!(ints(least.max(0, false).unwrap()), [i64::MIN]);
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

/// candle#3005: angles of thousands of radians have no digits left in bf16.
#[test]
fn rope_computes_angles_in_full_precision() {
    let (positions, dim) = (5000, 64);
    let x = normal(&[3, dim], DType::F64, 1).to_dtype(DType::BF16).unwrap();
    let options = Rope { first_position: positions - 3, ..Rope::default() };
    let run = |dtype: DType, table: DType| {
        let (cos, sin) = Tensor::rope_tables(positions, dim, 10000.0, table, &Device::Cpu).unwrap();
        x.to_dtype(dtype).and_then(|x| x.rope(&cos, &sin, &options)).unwrap()
    };
    // One rounding to bf16.
    close(&run(DType::BF16, DType::F32), &run(DType::F64, DType::F64), 4e-3, "y");
    // The angle 4999 is known to 2^-12 in f32.
    close(&run(DType::F32, DType::F32), &run(DType::F64, DType::F64), 1e-3, "y in f32");
}

/// mlx#3432: a seed has 64 bits.
#[test]
fn seeds_differ_in_every_bit() {
    let draw = |seed: u64| values(&normal(&[4], DType::F32, seed));
    let first = draw(0);
    (0..64).for_each(|bit| assert_ne!(draw(1 << bit), first, "bit {bit}"));
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
