//! The tape: what was computed, in order, so that gradients can be computed in the opposite order.

use std::collections::HashMap;
use std::ops::Range;
use std::panic::Location;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chainrule_tensor::{DType, Error, ErrorKind, Precision, Result, Rng, Shape, Tensor};

use crate::{ParamId, Pull, Var};

/// A record of the ops applied to the variables on it, and the context of the step: training or not, and precision.
///
/// There is no global tape and no mode to switch: a value is recorded because one of its inputs is on a tape. Cloning
/// gives another handle of the same tape.
///
/// ```
/// use chainrule_autograd::{Tape, Var};
/// use chainrule_tensor::{Device, Tensor};
/// let tape = Tape::new();
/// let x = tape.leaf(Tensor::new([3.0f64], &Device::Cpu)?);
/// let y = x.mul(&x)?.sum(.., false)?;
/// let grads = y.backward()?;
/// assert_eq!(grads.get(&x)?.to_vec::<f64>()?, [6.0]);
/// # Ok::<(), chainrule_tensor::Error>(())
/// ```
#[derive(Clone)]
pub struct Tape(Arc<Inner>);

struct Inner {
    id: u64,
    rng: Option<Mutex<Rng>>,
    autocast: Option<DType>,
    precision: Precision,
    graph: Mutex<Graph>,
}

/// What a rule is: from the gradients of the outputs to those of the inputs.
pub(crate) type Rule = dyn Fn(&Pull<'_>) -> Result<Vec<Option<Var>>> + Send + Sync;

/// One recorded op, or a leaf.
pub(crate) struct Node {
    /// The op's name.
    pub(crate) op: &'static str,
    /// The slots of the inputs; `None` for inputs that are on no tape.
    pub(crate) inputs: Vec<Option<usize>>,
    /// The slots of the outputs.
    pub(crate) outputs: Range<usize>,
    /// `None` for leaves, and for marks that only say where a graph was cut.
    pub(crate) rule: Option<Box<Rule>>,
    /// The output, where the rule is written in terms of it.
    pub(crate) kept: Option<Tensor>,
    /// The identity and name of a leaf that is a parameter.
    pub(crate) param: Option<(ParamId, Option<Arc<str>>)>,
    /// The caller of the op.
    pub(crate) location: &'static Location<'static>,
}

impl Node {
    /// A node without a rule, located at the caller.
    #[track_caller]
    pub(crate) fn new(op: &'static str, inputs: Vec<Option<usize>>) -> Node {
        Node { op, inputs, outputs: 0..0, rule: None, kept: None, param: None, location: Location::caller() }
    }
}

/// The shape and dtype that a gradient for a slot must have.
#[derive(Clone, Copy)]
pub(crate) struct SlotInfo {
    pub(crate) shape: Shape,
    pub(crate) dtype: DType,
}

#[derive(Default)]
pub(crate) struct Graph {
    pub(crate) nodes: Vec<Arc<Node>>,
    pub(crate) slots: Vec<SlotInfo>,
    pub(crate) params: HashMap<ParamId, usize>,
    pub(crate) is_consumed: bool,
}

impl Graph {
    /// Adds a node and gives the slot of its first output.
    fn push(&mut self, mut node: Node, outputs: &[Tensor]) -> usize {
        let first = self.slots.len();
        self.slots.extend(outputs.iter().map(|y| SlotInfo { shape: *y.shape(), dtype: y.dtype() }));
        node.outputs = first..self.slots.len();
        self.nodes.push(Arc::new(node));
        first
    }
}

impl Tape {
    /// An empty tape for evaluation mode and full precision: dropout is the identity.
    #[expect(clippy::new_without_default, reason = "two tapes are never interchangeable, so none is the default")]
    pub fn new() -> Tape {
        Tape::with(None, None, Precision::Full)
    }

    /// An empty tape in training mode; dropout draws from `rng`.
    pub fn training(rng: Rng) -> Tape {
        Tape::with(Some(rng), None, Precision::Full)
    }

    fn with(rng: Option<Rng>, autocast: Option<DType>, precision: Precision) -> Tape {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        Tape(Arc::new(Inner { id, rng: rng.map(Mutex::new), autocast, precision, graph: Mutex::default() }))
    }

    /// An empty tape of the same mode on which matmuls, linear layers and attention compute in `dtype` (f16 or bf16),
    /// with f32 accumulation, while everything else keeps the dtype of its inputs.
    pub fn autocast(self, dtype: DType) -> Tape {
        Tape::with(self.rng_state(), Some(dtype), self.0.precision)
    }

    /// An empty tape of the same mode on which matmuls and linear layers of f32, and their gradients, may round operands to
    /// tf32 ([`Precision::Tf32`]), with f32 accumulation: about three decimal digits of each operand remain. It is a
    /// permission that tensor cores make use of; the host multiplies in f32 all the same.
    ///
    /// ```
    /// # use chainrule_autograd::Tape;
    /// # use chainrule_tensor::{DType, Device, Tensor};
    /// let tape = Tape::new().allow_tf32();
    /// let x = tape.leaf(Tensor::ones([4, 4], DType::F32, &Device::Cpu)?);
    /// assert_eq!(x.matmul(&x)?.sum(.., false)?.item::<f32>()?, 64.0);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.backends.cuda.matmul.allow_tf32`, which is one switch for the whole process.
    pub fn allow_tf32(self) -> Tape {
        Tape::with(self.rng_state(), self.0.autocast, Precision::Tf32)
    }

    /// An empty tape of the same mode and precision, whose random stream starts where this one's now is.
    pub(crate) fn sibling(&self) -> Tape {
        Tape::with(self.rng_state(), self.0.autocast, self.0.precision)
    }

    pub(crate) fn rng_state(&self) -> Option<Rng> {
        self.0.rng.as_ref().map(|rng| rng.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// True where dropout is active.
    pub fn is_training(&self) -> bool {
        self.0.rng.is_some()
    }

    /// The precision that matmuls compute in, if it is not that of their inputs.
    pub fn autocast_dtype(&self) -> Option<DType> {
        self.0.autocast
    }

    /// How precisely matmuls multiply f32.
    pub fn precision(&self) -> Precision {
        self.0.precision
    }

    /// Runs `draw` with the tape's random stream; `None` in evaluation mode.
    pub(crate) fn with_rng<T>(&self, draw: impl FnOnce(&mut Rng) -> T) -> Option<T> {
        let rng = self.0.rng.as_ref()?;
        Some(draw(&mut rng.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// A variable whose gradient [`Var::backward`] will give.
    #[track_caller]
    pub fn leaf(&self, value: Tensor) -> Var {
        let slot = self.push(Node::new("leaf", Vec::new()), std::slice::from_ref(&value));
        Var::on_tape(value, self.clone(), slot, None)
    }

    /// The leaf of a parameter: the same one each time for the same identity, so that tied weights share a gradient.
    #[track_caller]
    pub(crate) fn param_leaf(&self, value: Tensor, id: ParamId, name: Option<Arc<str>>) -> Var {
        let node = Node { param: Some((id, name.clone())), ..Node::new("leaf", Vec::new()) };
        let mut graph = self.graph();
        // Found or added under one lock: of two leaves of one parameter, one would lose its gradient.
        let known = graph.params.get(&id).copied();
        let slot = known.unwrap_or_else(|| graph.push(node, std::slice::from_ref(&value)));
        graph.params.insert(id, slot);
        drop(graph);
        Var::on_tape(value, self.clone(), slot, name)
    }

    /// Records a node and gives the slot of its first output.
    pub(crate) fn push(&self, node: Node, outputs: &[Tensor]) -> usize {
        self.graph().push(node, outputs)
    }

    pub(crate) fn graph(&self) -> MutexGuard<'_, Graph> {
        // Nothing is left half done where a panic could happen while this is held.
        self.0.graph.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many ops and leaves are recorded.
    pub fn len(&self) -> usize {
        self.graph().nodes.len()
    }

    /// True before the first leaf, and after `backward` has freed the tape.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn id(&self) -> u64 {
        self.0.id
    }

    pub(crate) fn is(&self, other: &Tape) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Refuses to record on, or walk, a tape that `backward` has freed.
    #[track_caller]
    pub(crate) fn check_usable(&self, op: &'static str) -> Result<()> {
        if self.graph().is_consumed {
            let message = "the tape was freed by an earlier backward: use a new Tape for each step, \
                           or backward_retain to walk one twice";
            return Err(Error::new(ErrorKind::Tape(message.into())).in_op(op));
        }
        Ok(())
    }
}
