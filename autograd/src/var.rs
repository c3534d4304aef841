//! A tensor that may be on a tape.

use std::fmt;
use std::sync::Arc;

use chainrule_tensor::{DType, Device, Element, Error, ErrorKind, Result, Shape, Tensor};

use crate::Tape;
use crate::tape::Node;

/// A [`Tensor`] and, perhaps, a place on a [`Tape`].
///
/// An op on variables is recorded where one of them is on a tape, and is a plain tensor op otherwise. Ops without a
/// meaningful gradient (comparisons, argmax, ...) give a `Tensor`, so that a cut in the graph is visible in the types;
/// [`Var::detach`] makes one on purpose.
#[derive(Clone)]
pub struct Var {
    value: Tensor,
    place: Option<Place>,
    name: Option<Arc<str>>,
}

#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) tape: Tape,
    pub(crate) slot: usize,
}

/// A variable as a rule keeps it: without its tape, because the tape owns the rule.
#[derive(Clone)]
pub(crate) struct Saved {
    value: Tensor,
    slot: Option<usize>,
}

impl Saved {
    pub(crate) fn new(value: Tensor, slot: Option<usize>) -> Saved {
        Saved { value, slot }
    }

    /// The variable again, on `tape` if the pass records.
    pub(crate) fn restore(&self, tape: Option<&Tape>) -> Var {
        match (tape, self.slot) {
            (Some(tape), Some(slot)) => Var::on_tape(self.value.clone(), tape.clone(), slot, None),
            _ => Var::from(self.value.clone()),
        }
    }
}

impl Var {
    pub(crate) fn on_tape(value: Tensor, tape: Tape, slot: usize, name: Option<Arc<str>>) -> Var {
        Var { value, place: Some(Place { tape, slot }), name }
    }

    /// The tensor, cut off from the tape: no gradient flows through it.
    ///
    /// ```
    /// # use chainrule_autograd::{Tape, Var};
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tape::new().leaf(Tensor::new([1.0f64, 2.0], &Device::Cpu)?);
    /// let constant = Var::from(x.square()?.detach());
    /// assert!(x.is_tracked() && !constant.is_tracked());
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.Tensor.detach`.
    #[track_caller]
    pub fn detach(&self) -> Tensor {
        if let Some(place) = &self.place {
            place.tape.push(Node::new("detach", vec![Some(place.slot)]), &[]);
        }
        self.value.clone()
    }

    /// The tensor, for this crate's ops.
    pub(crate) fn value(&self) -> &Tensor {
        &self.value
    }

    pub(crate) fn into_value(self) -> Tensor {
        self.value
    }

    pub(crate) fn place(&self) -> Option<&Place> {
        self.place.as_ref()
    }

    pub(crate) fn slot(&self) -> Option<usize> {
        self.place.as_ref().map(|place| place.slot)
    }

    pub(crate) fn save(&self) -> Saved {
        Saved { value: self.value.clone(), slot: self.slot() }
    }

    /// The tape this variable is on.
    pub fn tape(&self) -> Option<&Tape> {
        self.place.as_ref().map(|place| &place.tape)
    }

    /// True where ops on this variable are recorded.
    pub fn is_tracked(&self) -> bool {
        self.place.is_some()
    }

    /// The dotted name of the parameter that this variable is, if it is one and belongs to a model.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    pub(crate) fn set_name(&mut self, name: Arc<str>) {
        self.name = Some(name);
    }

    /// The sizes of the dims.
    pub fn shape(&self) -> &Shape {
        self.value.shape()
    }

    /// The size of one dim; see [`Tensor::size`].
    ///
    /// ```
    /// # use chainrule_autograd::Var;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Var::from(Tensor::new([[1.0f64, 2.0]], &Device::Cpu)?);
    /// assert_eq!((x.size(0)?, x.size(-1)?), (1, 2));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn size(&self, dim: isize) -> Result<usize> {
        self.value.size(dim)
    }

    /// The sizes as an array; see [`Tensor::dims`].
    ///
    /// ```
    /// # use chainrule_autograd::Var;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Var::from(Tensor::new([[1.0f64, 2.0]], &Device::Cpu)?);
    /// let [rows, cols] = x.dims()?;
    /// assert_eq!((rows, cols), (1, 2));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn dims<const N: usize>(&self) -> Result<[usize; N]> {
        self.value.dims()
    }

    /// How many dims.
    pub fn rank(&self) -> usize {
        self.value.rank()
    }

    /// How many elements.
    pub fn elements(&self) -> usize {
        self.value.elements()
    }

    /// The dtype of the elements.
    pub fn dtype(&self) -> DType {
        self.value.dtype()
    }

    /// Where the elements are.
    pub fn device(&self) -> Device {
        self.value.device()
    }

    /// The elements, read back; see [`Tensor::to_vec`].
    ///
    /// ```
    /// # use chainrule_autograd::Var;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Var::from(Tensor::new([[1.0f64, 2.0]], &Device::Cpu)?);
    /// assert_eq!(x.to_vec::<f64>()?, [1.0, 2.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn to_vec<E: Element>(&self) -> Result<Vec<E>> {
        self.value.to_vec()
    }

    /// The only element; see [`Tensor::item`].
    ///
    /// ```
    /// # use chainrule_autograd::Var;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Var::from(Tensor::new([[1.0f64, 2.0]], &Device::Cpu)?);
    /// assert_eq!(x.sum(.., false)?.item::<f64>()?, 3.0);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn item<E: Element>(&self) -> Result<E> {
        self.value.item()
    }

    /// The tape that an op on `inputs` is recorded on.
    ///
    /// # Errors
    /// Inputs on two tapes, or on one that was freed.
    #[track_caller]
    pub(crate) fn common_tape(op: &'static str, inputs: &[&Var]) -> Result<Option<Tape>> {
        let mut tapes = inputs.iter().filter_map(|x| x.tape());
        let Some(tape) = tapes.next() else { return Ok(None) };
        if tapes.any(|other| !other.is(tape)) {
            let message = "the inputs are on two different tapes: record one step on one tape, or detach an input";
            return Err(Error::new(ErrorKind::Tape(message.into())).in_op(op));
        }
        tape.check_usable(op)?;
        Ok(Some(tape.clone()))
    }
}

impl From<Tensor> for Var {
    fn from(value: Tensor) -> Var {
        Var { value, place: None, name: None }
    }
}

impl From<&Tensor> for Var {
    fn from(value: &Tensor) -> Var {
        Var::from(value.clone())
    }
}

impl From<&Var> for Var {
    fn from(var: &Var) -> Var {
        var.clone()
    }
}

impl fmt::Display for Var {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.value, f)
    }
}

impl fmt::Debug for Var {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tracked = if self.is_tracked() { ", tracked" } else { "" };
        write!(f, "Var({}, {}, {}{tracked})", self.shape(), self.dtype(), self.device())
    }
}
