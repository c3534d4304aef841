//! Bugs of tapes and backward passes.

use chainrule::prelude::*;
use chainrule::{Op, apply};

use super::{tensor, values};

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
