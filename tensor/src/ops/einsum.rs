//! Sums of products in Einstein's notation, made of views, sums and matrix products.
//!
//! An equation is turned into a short program, the [`EinsumPlan`], which runs on tensors here and on variables where
//! gradients are wanted: every step has its own gradient.

use std::collections::BTreeMap;

use crate::{Error, Result, Tensor};

/// One step of a plan. Operands are numbered in a list; the results of products take the place of the first two.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum EinsumStep {
    /// Two dims of an operand become their diagonal, the new last dim.
    Diagonal(usize, [isize; 2]),
    /// The sum over some dims of an operand.
    Sum(usize, Vec<isize>),
    /// The dims of an operand in another order.
    Permute(usize, Vec<isize>),
    /// Other sizes of an operand.
    Reshape(usize, Vec<usize>),
    /// The matrix product of operands 0 and 1 takes the place of both.
    Product,
}

/// The steps that compute an equation for operands of given shapes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EinsumPlan {
    /// In order; the result is operand 0.
    pub steps: Vec<EinsumStep>,
}

impl Tensor {
    /// A sum of products in Einstein's notation: `"bij,bjk->bik"` is a batch of matrix products.
    ///
    /// Each operand has a term of letters, one for each dim. Letters that the result lacks are summed over; a letter
    /// twice in one term takes the diagonal; `...` stands for any further dims, which broadcast. Without `->` the result
    /// has the letters that occur once, in alphabetical order, after the dims of `...`. Sizes of 1 broadcast. Operands
    /// are multiplied from left to right with matrix products, which accumulate as [`Tensor::matmul`].
    ///
    /// # Errors
    /// An equation that cannot be read or does not fit the operands, sizes that differ, what `matmul` reports.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let a = Tensor::new([[1.0f32, 2.0], [3.0, 4.0]], &Device::Cpu)?;
    /// assert_eq!(Tensor::einsum("ii", &[&a])?.item::<f32>()?, 5.0);
    /// assert_eq!(Tensor::einsum("ij->ji", &[&a])?.to_vec::<f32>()?, [1.0, 3.0, 2.0, 4.0]);
    /// assert_eq!(Tensor::einsum("ij,kj->ik", &[&a, &a])?.to_vec::<f32>()?, [5.0, 11.0, 11.0, 25.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// # Differences
    /// PyTorch may choose another order of the products; its sublist form does not exist here.
    ///
    /// Source: `torch.einsum`.
    #[track_caller]
    pub fn einsum(equation: &str, operands: &[&Tensor]) -> Result<Tensor> {
        let shapes: Vec<&[usize]> = operands.iter().map(|x| &x.shape()[..]).collect();
        let mut operands: Vec<Tensor> = operands.iter().map(|&x| x.clone()).collect();
        for step in EinsumPlan::new(equation, &shapes)?.steps {
            let (at, x) = match step {
                EinsumStep::Diagonal(at, [dim1, dim2]) => (at, operands[at].diagonal(0, dim1, dim2)?),
                EinsumStep::Sum(at, dims) => (at, operands[at].sum(dims, false)?),
                EinsumStep::Permute(at, order) => (at, operands[at].permute(order)?),
                EinsumStep::Reshape(at, sizes) => (at, operands[at].reshape(sizes)?),
                EinsumStep::Product => {
                    let b = operands.remove(1);
                    (0, operands[0].matmul(&b).map_err(|error| error.in_op("einsum"))?)
                }
            };
            operands[at] = x;
        }
        Ok(operands.swap_remove(0))
    }
}

/// A letter, or (from 0x110000 on, beyond all letters) a dim of the ellipsis, counted from the last.
type Label = u32;

const ELLIPSIS: Label = 0x11_0000;

/// A term as read: its letters before and after `...`, if it has that.
struct Term {
    before: Vec<Label>,
    after: Option<Vec<Label>>,
}

impl Term {
    #[track_caller]
    fn read(equation: &str, text: &str) -> Result<Term> {
        let letters = |text: &str| match text.chars().find(|c| !c.is_ascii_alphabetic()) {
            Some(other) => {
                let message = format!("{equation:?} has {other:?}, expected letters, commas, '...' and '->'");
                Err(Error::argument("einsum", message))
            }
            None => Ok(text.chars().map(Label::from).collect()),
        };
        match text.split_once("...") {
            Some((before, after)) => Ok(Term { before: letters(before)?, after: Some(letters(after)?) }),
            None => Ok(Term { before: letters(text)?, after: None }),
        }
    }

    fn named(&self) -> usize {
        self.before.len() + self.after.as_ref().map_or(0, Vec::len)
    }

    /// The labels with `extra` dims for the ellipsis.
    fn labels(&self, extra: usize) -> Vec<Label> {
        let dots = (0..extra as u32).rev().map(|dim| ELLIPSIS + dim);
        let after = self.after.iter().flatten().copied();
        self.before.iter().copied().chain(dots).chain(after).collect()
    }
}

impl EinsumPlan {
    /// The plan of an equation for operands of some shapes.
    ///
    /// # Errors
    /// An equation that cannot be read or does not fit the shapes.
    #[track_caller]
    pub fn new(equation: &str, shapes: &[&[usize]]) -> Result<EinsumPlan> {
        let compact: String = equation.chars().filter(|c| !c.is_whitespace()).collect();
        let (inputs, output) = match compact.split_once("->") {
            Some((inputs, output)) => (inputs, Some(Term::read(equation, output)?)),
            None => (&compact[..], None),
        };
        let terms = inputs.split(',').map(|term| Term::read(equation, term)).collect::<Result<Vec<_>>>()?;
        if terms.len() != shapes.len() {
            let message = format!("{equation:?} has {} terms, got {} operands", terms.len(), shapes.len());
            return Err(Error::argument("einsum", message));
        }
        let mut dots = 0;
        for (index, (term, shape)) in terms.iter().zip(shapes).enumerate() {
            match shape.len().checked_sub(term.named()) {
                Some(extra) if extra == 0 || term.after.is_some() => dots = dots.max(extra),
                _ => {
                    let message = format!("operand {index} of {equation:?} has shape {shape:?}, expected");
                    let dims = format!("{} dims{}", term.named(), if term.after.is_some() { " or more" } else { "" });
                    return Err(Error::shape("einsum", format!("{message} {dims}")));
                }
            }
        }
        let labels: Vec<Vec<Label>> =
            terms.iter().zip(shapes).map(|(term, shape)| term.labels(shape.len() - term.named())).collect();
        let sizes = sizes(equation, &labels, shapes)?;
        let output = match output {
            Some(term) => term.labels(if term.after.is_some() { dots } else { 0 }),
            None => implicit_output(&labels, dots),
        };
        for (at, label) in output.iter().enumerate() {
            if !sizes.contains_key(label) || output[..at].contains(label) {
                let letter = char::from_u32(*label).unwrap_or('.');
                let what = if output[..at].contains(label) { "twice" } else { "but no operand has it" };
                let message = format!("the result of {equation:?} names {letter:?} {what}");
                return Err(Error::argument("einsum", message));
            }
        }
        let mut builder = Builder { steps: Vec::new(), sizes, labels };
        builder.prepare(equation, shapes)?;
        while builder.labels.len() > 1 {
            builder.contract(&output);
        }
        builder.finish(&output);
        Ok(EinsumPlan { steps: builder.steps })
    }
}

/// The size of each label; a size of 1 gives way to another.
#[track_caller]
fn sizes(equation: &str, labels: &[Vec<Label>], shapes: &[&[usize]]) -> Result<BTreeMap<Label, usize>> {
    let mut sizes = BTreeMap::new();
    for (labels, shape) in labels.iter().zip(shapes) {
        for (&label, &size) in labels.iter().zip(shape.iter()) {
            let known = sizes.entry(label).or_insert(size);
            if *known != size && *known != 1 && size != 1 {
                let letter = char::from_u32(label).map_or("...".into(), String::from);
                let message = format!("{letter} of {equation:?} has sizes {known} and {size}, in shapes {shapes:?}");
                return Err(Error::shape("einsum", message));
            }
            if *known == 1 {
                *known = size;
            }
        }
    }
    Ok(sizes)
}

/// The dims of the ellipsis, then the letters that occur once, in order.
fn implicit_output(labels: &[Vec<Label>], dots: usize) -> Vec<Label> {
    let count = |label: Label| labels.iter().flatten().filter(|&&other| other == label).count();
    let mut letters: Vec<Label> =
        labels.iter().flatten().copied().filter(|&label| label < ELLIPSIS && count(label) == 1).collect();
    letters.sort_unstable();
    (0..dots as u32).rev().map(|dim| ELLIPSIS + dim).chain(letters).collect()
}

/// A plan in the making, with the labels that each operand has after the steps so far.
struct Builder {
    steps: Vec<EinsumStep>,
    sizes: BTreeMap<Label, usize>,
    labels: Vec<Vec<Label>>,
}

impl Builder {
    fn sizes_of(&self, labels: &[Label]) -> Vec<usize> {
        labels.iter().map(|label| self.sizes[label]).collect()
    }

    /// Takes diagonals, and drops dims of size 1 that are to be broadcast.
    #[track_caller]
    fn prepare(&mut self, equation: &str, shapes: &[&[usize]]) -> Result<()> {
        for (at, shape) in shapes.iter().enumerate() {
            let mut dims: Vec<(Label, usize)> = self.labels[at].iter().copied().zip(shape.iter().copied()).collect();
            while let Some((first, second)) = repeated(&dims) {
                if dims[first].1 != dims[second].1 {
                    let message = format!("a letter twice in operand {at} of {equation:?}, shape {shape:?}");
                    return Err(Error::shape("einsum", message + ", has two sizes"));
                }
                self.steps.push(EinsumStep::Diagonal(at, [first as isize, second as isize]));
                let dim = dims.remove(second);
                dims.remove(first);
                dims.push(dim);
            }
            let rank = dims.len();
            dims.retain(|&(label, size)| size == self.sizes[&label]);
            if dims.len() < rank {
                self.steps.push(EinsumStep::Reshape(at, dims.iter().map(|dim| dim.1).collect()));
            }
            self.labels[at] = dims.into_iter().map(|dim| dim.0).collect();
        }
        Ok(())
    }

    /// Sums operand `at` over the labels that `keeps` does not want.
    fn sum(&mut self, at: usize, keeps: impl Fn(Label) -> bool) {
        let gone: Vec<isize> =
            (0..self.labels[at].len()).filter(|&dim| !keeps(self.labels[at][dim])).map(|dim| dim as isize).collect();
        if !gone.is_empty() {
            self.labels[at].retain(|&label| keeps(label));
            self.steps.push(EinsumStep::Sum(at, gone));
        }
    }

    /// Puts the dims of operand `at` in the order of `wanted`, which has the same labels.
    fn order(&mut self, at: usize, wanted: &[Label]) {
        let place = |label: &Label| self.labels[at].iter().position(|other| other == label).unwrap_or(0) as isize;
        if self.labels[at] != wanted {
            self.steps.push(EinsumStep::Permute(at, wanted.iter().map(place).collect()));
            self.labels[at] = wanted.to_vec();
        }
    }

    /// Multiplies the first two operands, summing over the labels that nothing else needs.
    fn contract(&mut self, output: &[Label]) {
        let later: Vec<Label> = self.labels[2..].iter().flatten().chain(output).copied().collect();
        let (a, b) = (self.labels[0].clone(), self.labels[1].clone());
        self.sum(0, |label| b.contains(&label) || later.contains(&label));
        self.sum(1, |label| a.contains(&label) || later.contains(&label));
        let (a, b) = (self.labels[0].clone(), self.labels[1].clone());
        let (shared, a_only): (Vec<Label>, Vec<Label>) = a.iter().partition(|label| b.contains(label));
        let (batch, summed): (Vec<Label>, Vec<Label>) = shared.iter().partition(|label| later.contains(label));
        let b_only: Vec<Label> = b.iter().copied().filter(|label| !a.contains(label)).collect();
        self.order(0, &[&batch[..], &a_only, &summed].concat());
        self.order(1, &[&batch[..], &summed, &b_only].concat());
        let product = |labels: &[Label]| self.sizes_of(labels).iter().product::<usize>();
        let (m, k, n) = (product(&a_only), product(&summed), product(&b_only));
        let batch_sizes = self.sizes_of(&batch);
        self.steps.push(EinsumStep::Reshape(0, [&batch_sizes[..], &[m, k]].concat()));
        self.steps.push(EinsumStep::Reshape(1, [&batch_sizes[..], &[k, n]].concat()));
        self.steps.push(EinsumStep::Product);
        self.labels.remove(1);
        self.labels[0] = [batch, a_only, b_only].concat();
        let result = self.sizes_of(&self.labels[0]);
        self.steps.push(EinsumStep::Reshape(0, result));
    }

    fn finish(&mut self, output: &[Label]) {
        self.sum(0, |label| output.contains(&label));
        self.order(0, output);
    }
}

/// The places of a label that occurs twice.
fn repeated(dims: &[(Label, usize)]) -> Option<(usize, usize)> {
    let second = |first: usize| (first + 1..dims.len()).find(|&second| dims[second].0 == dims[first].0);
    (0..dims.len()).find_map(|first| Some((first, second(first)?)))
}
