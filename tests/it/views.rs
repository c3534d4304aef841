//! The algebra of shapes and strides against a model that moves every element by itself.

use chainrule::{DType, Device, INFER, MAX_RANK, Shape, Slice, Tensor};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseResult, TestRng, TestRunner};

const CASES: u32 = 2000;
/// Views that would grow beyond this are left out of a chain.
const MOST_ELEMENTS: usize = 2000;

/// The same cases in every run.
fn check<S: Strategy>(strategy: S, test: impl Fn(S::Value) -> TestCaseResult) {
    let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    if let Err(error) = runner.run(&strategy, test) {
        panic!("{error}");
    }
}

/// All elements, one after another, and the sizes they are read with.
#[derive(Clone, Debug, PartialEq)]
struct Model {
    shape: Vec<usize>,
    values: Vec<i64>,
}

impl Model {
    fn arange(shape: &[usize]) -> Model {
        Model { shape: shape.to_vec(), values: (0..shape.iter().product::<usize>() as i64).collect() }
    }

    fn at(&self, index: &[usize]) -> i64 {
        assert_eq!(index.len(), self.shape.len());
        let place = index.iter().zip(&self.shape).fold(0, |place, (&i, &size)| {
            assert!(i < size);
            place * size + i
        });
        self.values[place]
    }

    /// The model of `shape` whose element at each index is the one of this at `from(index)`.
    fn gather(&self, shape: Vec<usize>, from: impl Fn(&[usize]) -> Vec<usize>) -> Model {
        let values = indices(&shape).iter().map(|index| self.at(&from(index))).collect();
        Model { shape, values }
    }

    /// Some indices of one dim.
    fn pick(&self, dim: usize, chosen: &[usize]) -> Model {
        let mut shape = self.shape.clone();
        shape[dim] = chosen.len();
        self.gather(shape, |index| {
            let mut index = index.to_vec();
            index[dim] = chosen[index[dim]];
            index
        })
    }

    fn expand(&self, shape: &[usize]) -> Model {
        let lead = shape.len() - self.shape.len();
        self.gather(shape.to_vec(), |index| {
            index[lead..].iter().zip(&self.shape).map(|(&i, &size)| if size == 1 { 0 } else { i }).collect()
        })
    }

    /// Whether the values lie at even distances along every dim: whether strides could address them.
    fn is_affine(&self) -> bool {
        let Some(&first) = self.values.first() else { return true };
        let unit = |dim: usize| (0..self.shape.len()).map(|d| usize::from(d == dim)).collect::<Vec<_>>();
        let strides: Vec<i64> = (0..self.shape.len())
            .map(|dim| if self.shape[dim] > 1 { self.at(&unit(dim)) - first } else { 0 })
            .collect();
        let address = |index: &[usize]| index.iter().zip(&strides).map(|(&i, stride)| i as i64 * stride).sum::<i64>();
        indices(&self.shape).iter().zip(&self.values).all(|(index, &value)| value == first + address(index))
    }
}

/// Every index of a shape in row-major order.
fn indices(shape: &[usize]) -> Vec<Vec<usize>> {
    shape.iter().fold(vec![vec![]], |heads, &size| {
        heads.iter().flat_map(|head| (0..size).map(move |i| [head.as_slice(), &[i]].concat())).collect()
    })
}

/// Numbers to make choices with; 0 where they run out.
struct Choices<'a>(std::slice::Iter<'a, usize>);

impl Choices<'_> {
    fn below(&mut self, count: usize) -> usize {
        self.0.next().map_or(0, |number| number % count)
    }

    fn flag(&mut self) -> bool {
        self.below(2) == 1
    }

    /// A size, seldom 0: a tensor without elements tells little, and stays without.
    fn size(&mut self, most: usize) -> usize {
        if most == 0 || self.below(24) == 23 { 0 } else { 1 + self.below(most) }
    }

    fn between(&mut self, least: isize, most: isize) -> isize {
        least + self.below((most - least + 1) as usize) as isize
    }

    /// A dim by its number from the front or from the back.
    fn named(&mut self, dim: usize, rank: usize) -> isize {
        if self.flag() { dim as isize - rank as isize } else { dim as isize }
    }

    fn order(&mut self, rank: usize) -> Vec<usize> {
        let mut left: Vec<usize> = (0..rank).collect();
        (0..rank).map(|_| left.remove(self.below(left.len()))).collect()
    }

    /// Sizes whose product is `elements`.
    fn factors(&mut self, elements: usize) -> Vec<usize> {
        let (mut sizes, mut left) = (Vec::new(), elements);
        for _ in 0..self.below(5) {
            let divisors: Vec<usize> = match left {
                0 => (0..4).collect(),
                _ => (1..=left).filter(|&divisor| left.is_multiple_of(divisor)).collect(),
            };
            let size = divisors[self.below(divisors.len())];
            sizes.push(size);
            left = left.checked_div(size).unwrap_or(0);
        }
        if left != 1 {
            sizes.push(left);
        }
        sizes
    }
}

/// The indices of Python's `range(size)[start:end:step]`, found by walking.
fn walk(slice: Slice, size: usize) -> Vec<usize> {
    let size = size as isize;
    let from_front = |bound: isize| if bound < 0 { bound + size } else { bound };
    let mut at = match (slice.start.map(from_front), slice.step > 0) {
        (None, true) => 0,
        (None, false) => size - 1,
        (Some(start), true) => start.max(0),
        (Some(start), false) => start.min(size - 1),
    };
    let mut walked = Vec::new();
    while (0..size).contains(&at) {
        let is_over = slice.end.map(from_front).is_some_and(|end| if slice.step > 0 { at >= end } else { at <= end });
        if is_over {
            break;
        }
        walked.push(at as usize);
        at += slice.step;
    }
    walked
}

/// What a step of a chain came to; `None` where the op chosen does not apply to the shape.
type Step = Option<(String, Model, chainrule::Result<Tensor>)>;

fn step(kind: usize, choices: &mut Choices, model: &Model, x: &Tensor) -> Step {
    let (rank, shape) = (model.shape.len(), &model.shape);
    // These need a dim.
    if rank == 0 && matches!(kind, 2..=4 | 8 | 10) {
        return None;
    }
    let dim = if rank > 0 { choices.below(rank) } else { 0 };
    let name = choices.named(dim, rank);
    Some(match kind {
        0 => {
            let order = choices.order(rank);
            let names: Vec<isize> = order.iter().map(|&dim| choices.named(dim, rank)).collect();
            let back = |index: &[usize]| {
                let mut old = vec![0; rank];
                order.iter().zip(index).for_each(|(&dim, &i)| old[dim] = i);
                old
            };
            let sizes = order.iter().map(|&dim| shape[dim]).collect();
            (format!("permute {names:?}"), model.gather(sizes, back), x.permute(names))
        }
        1 if rank > 0 => {
            let other = choices.below(rank);
            let mut sizes = shape.clone();
            sizes.swap(dim, other);
            let swapped = model.gather(sizes, |index| {
                let mut index = index.to_vec();
                index.swap(dim, other);
                index
            });
            let other = choices.named(other, rank);
            (format!("transpose {name} {other}"), swapped, x.transpose(name, other))
        }
        2 => {
            let mut bound = || if choices.below(3) == 0 { Some(choices.between(-6, 6)) } else { None };
            let (start, end) = (bound(), bound());
            let steps = [1, -1, 2, -2, 3, -3, 7, -7];
            let slice = Slice { start, end, step: steps[choices.below(steps.len())] };
            (format!("slice {name} {slice:?}"), model.pick(dim, &walk(slice, shape[dim])), x.slice(name, slice))
        }
        3 => {
            let len = choices.size(shape[dim]);
            let start = choices.below(shape[dim] - len + 1);
            let chosen: Vec<usize> = (start..start + len).collect();
            (format!("narrow {name} {start} {len}"), model.pick(dim, &chosen), x.narrow(name, start, len))
        }
        4 if shape[dim] > 0 => {
            let at = choices.below(shape[dim]);
            let mut sizes = shape.clone();
            sizes.remove(dim);
            let selected = model.gather(sizes, |index| [&index[..dim], &[at], &index[dim..]].concat());
            let at = choices.named(at, shape[dim]);
            (format!("select {name} {at}"), selected, x.select(name, at))
        }
        5 if rank < MAX_RANK => {
            let at = choices.below(rank + 1);
            let mut sizes = shape.clone();
            sizes.insert(at, 1);
            let wider = model.gather(sizes, |index| [&index[..at], &index[at + 1..]].concat());
            let at = choices.named(at, rank + 1);
            (format!("unsqueeze {at}"), wider, x.unsqueeze(at))
        }
        6 => {
            // All dims of size 1, or some of them by name.
            let is_all = choices.flag();
            let gone: Vec<usize> = (0..rank).filter(|&dim| shape[dim] == 1 && (is_all || choices.flag())).collect();
            let kept: Vec<usize> = (0..rank).filter(|dim| !gone.contains(dim)).collect();
            let narrower = model.gather(kept.iter().map(|&dim| shape[dim]).collect(), |index| {
                let mut old = vec![0; rank];
                kept.iter().zip(index).for_each(|(&dim, &i)| old[dim] = i);
                old
            });
            let names: Vec<isize> = gone.iter().map(|&dim| choices.named(dim, rank)).collect();
            let squeezed = if is_all { x.squeeze(..) } else { x.squeeze(names.clone()) };
            (format!("squeeze {names:?}"), narrower, squeezed)
        }
        7 => {
            let lead = choices.below(MAX_RANK - rank + 1).min(1);
            let mut sizes: Vec<usize> = (0..lead).map(|_| choices.size(3)).collect();
            sizes.extend(shape.iter().map(|&size| if size == 1 { choices.size(3) } else { size }));
            if sizes.iter().product::<usize>() > MOST_ELEMENTS {
                return None;
            }
            (format!("expand {sizes:?}"), model.expand(&sizes), x.expand(&sizes))
        }
        8 => {
            let dims: Vec<usize> = (0..rank).filter(|_| choices.flag()).collect();
            let flipped = model.gather(shape.clone(), |index| {
                let turn = |dim: usize| if dims.contains(&dim) { shape[dim] - 1 - index[dim] } else { index[dim] };
                (0..rank).map(turn).collect()
            });
            let names: Vec<isize> = dims.iter().map(|&dim| choices.named(dim, rank)).collect();
            (format!("flip {names:?}"), flipped, x.flip(names))
        }
        9 if rank > 1 => {
            let other = (dim + 1 + choices.below(rank - 1)) % rank;
            let shift = [0isize, 0, 0, 1, -1, 1, -1, 2, -2, 4, -4][choices.below(11)];
            let place = |i: usize| {
                let (row, col) = if shift < 0 { (i + shift.unsigned_abs(), i) } else { (i, i + shift.unsigned_abs()) };
                (row < shape[dim] && col < shape[other]).then_some((row, col))
            };
            let count = (0..).take_while(|&i| place(i).is_some()).count();
            let kept: Vec<usize> = (0..rank).filter(|&d| d != dim && d != other).collect();
            let sizes = kept.iter().map(|&d| shape[d]).chain([count]).collect();
            let diagonal = model.gather(sizes, |index| {
                let mut old = vec![0; rank];
                kept.iter().zip(index).for_each(|(&d, &i)| old[d] = i);
                (old[dim], old[other]) = place(index[rank - 2]).unwrap();
                old
            });
            let other = choices.named(other, rank);
            (format!("diagonal {shift} {name} {other}"), diagonal, x.diagonal(shift, name, other))
        }
        10 if rank < MAX_RANK => {
            let (size, every) = (choices.size(shape[dim]), 1 + choices.below(3));
            let mut sizes = shape.clone();
            sizes[dim] = (0..).step_by(every).take_while(|start| start + size <= shape[dim]).count();
            sizes.push(size);
            if sizes.iter().product::<usize>() > MOST_ELEMENTS {
                return None;
            }
            let windows = model.gather(sizes, |index| {
                let mut old = index[..rank].to_vec();
                old[dim] = index[dim] * every + index[rank];
                old
            });
            (format!("unfold {name} {size} {every}"), windows, x.unfold(name, size, every))
        }
        11 => {
            let sizes = choices.factors(model.values.len());
            let mut wanted = sizes.clone();
            if choices.flag() && !sizes.is_empty() && !sizes.contains(&0) {
                wanted[choices.below(sizes.len())] = INFER;
            }
            (format!("reshape {wanted:?}"), Model { shape: sizes, ..model.clone() }, x.reshape(&wanted))
        }
        _ => return None,
    })
}

fn arange(shape: &[usize]) -> Tensor {
    let elements = shape.iter().product::<usize>() as i64;
    Tensor::arange(0, elements, 1, &Device::Cpu).and_then(|x| x.reshape(shape)).unwrap()
}

fn read(x: &Tensor) -> Model {
    Model { shape: x.shape().to_vec(), values: x.to_vec().unwrap() }
}

#[test]
fn a_chain_of_views_reads_the_elements_that_its_ops_name() {
    let links = vec((0usize..12, vec(0usize..55440, 24)), 0..9);
    let sizes = vec(prop_oneof![1 => Just(0usize), 30 => 1usize..6], 0..5);
    check((sizes, links), |(shape, links)| {
        let (mut model, mut x) = (Model::arange(&shape), arange(&shape));
        let base = x.clone();
        let mut chain = format!("arange {shape:?}");
        for (kind, choices) in &links {
            let Some((name, next, y)) = step(*kind, &mut Choices(choices.iter()), &model, &x) else { continue };
            chain += &format!(", {name}");
            let y = y.map_err(|error| TestCaseError::fail(format!("{chain}: {error}")))?;
            prop_assert_eq!(&read(&y), &next, "{}", &chain);

            // As long as nothing was copied, the values are the places in the buffer.
            if x.shares_buffer(&base) {
                prop_assert_eq!(y.shares_buffer(&base), next.is_affine(), "{}: a copy, or none", &chain);
            } else if *kind != 11 {
                prop_assert!(y.shares_buffer(&x), "{}: a view copied", &chain);
            }
            let copy = y.copy().unwrap();
            prop_assert!(copy.is_contiguous() && !copy.shares_buffer(&y), "{}: copy", &chain);
            prop_assert_eq!(&read(&copy), &next, "{}: copy", &chain);
            prop_assert_eq!(&read(&y.contiguous().unwrap()), &next, "{}: contiguous", &chain);
            let there = y.reshape([next.values.len()]).unwrap();
            prop_assert_eq!(&read(&there.reshape(&next.shape).unwrap()), &next, "{}: there and back", &chain);
            let floats = y.to_dtype(DType::F32).unwrap().to_dtype(DType::I64).unwrap();
            prop_assert_eq!(&read(&floats), &next, "{}: to floats and back", &chain);
            (model, x) = (next, y);
        }
        Ok(())
    });
}

/// The common shape by the rule: missing leading dims are 1, sizes are equal or one of them is 1.
fn common_shape(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let rank = a.len().max(b.len());
    let pad = |sizes: &[usize]| [vec![1; rank - sizes.len()], sizes.to_vec()].concat();
    let pairs = pad(a).into_iter().zip(pad(b));
    pairs.map(|(x, y)| if x == y || y == 1 { Some(x) } else { (x == 1).then_some(y) }).collect()
}

#[test]
fn shapes_broadcast_by_the_rule() {
    let sizes = || vec(prop_oneof![3 => Just(1usize), 3 => Just(2), 1 => Just(0), 1 => Just(3)], 0..5);
    check((sizes(), sizes()), |(a, b)| {
        let (x, y) = (arange(&a), arange(&b));
        let expected = common_shape(&a, &b);
        let shape = Shape::broadcast("test", x.shape(), y.shape()).ok().map(|shape| shape.to_vec());
        prop_assert_eq!(&shape, &expected);
        let Some(shape) = expected else {
            prop_assert!(x.broadcast_with(&y).is_err() && x.add(&y).is_err());
            return Ok(());
        };
        let (left, right) = x.broadcast_with(&y).unwrap();
        let (left_model, right_model) = (Model::arange(&a).expand(&shape), Model::arange(&b).expand(&shape));
        prop_assert_eq!(read(&left), left_model.clone());
        prop_assert_eq!(read(&right), right_model.clone());
        let sums: Vec<i64> = left_model.values.iter().zip(&right_model.values).map(|(x, y)| x + y).collect();
        prop_assert_eq!(read(&x.add(&y).unwrap()), Model { shape, values: sums });
        Ok(())
    });
}

#[test]
fn a_reshape_goes_back_or_refuses() {
    check((vec(0usize..5, 0..5), vec(0usize..5, 0..5), vec(0usize..840, 24)), |(shape, other, choices)| {
        let x = arange(&shape);
        let sizes = Choices(choices.iter()).factors(x.elements());
        let y = x.reshape(&sizes).unwrap();
        prop_assert_eq!(read(&y), Model { shape: sizes, values: Model::arange(&shape).values });
        prop_assert_eq!(read(&y.reshape(&shape).unwrap()), Model::arange(&shape));
        let fits = other.iter().product::<usize>() == x.elements();
        prop_assert_eq!(x.reshape(&other).is_ok(), fits, "{:?} to {:?}", shape, other);
        Ok(())
    });
}
