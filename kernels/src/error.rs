//! The one error type of the workspace.

use std::fmt;
use std::panic::Location;

use crate::DType;

/// The result of every operation that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong: the op, what was got, what was needed, and where in the caller's code.
///
/// The type is one pointer wide. [`Error::kind`] tells errors apart, predicates such as [`Error::is_shape`] are
/// shorthand, and `Display` gives one line: `layer_norm: weight has shape [512], expected [768] (train.rs:41)`.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    op: Option<&'static str>,
    location: Option<&'static Location<'static>>,
    module: Option<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// The kinds of error. More may be added.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Shapes do not fit together, or a dim does not exist.
    Shape(String),
    /// An index or a range is outside the dim it addresses.
    Index(String),
    /// A dtype is not what the op needs.
    DType(String),
    /// Tensors live on different devices.
    DeviceMismatch(String),
    /// No kernel for this op, dtype and device.
    Unsupported {
        /// The element type asked for.
        dtype: DType,
        /// The device asked.
        device: String,
    },
    /// An argument has a value that makes no sense.
    Argument(String),
    /// The device has no room for an allocation.
    OutOfMemory {
        /// Bytes asked for.
        requested_bytes: usize,
        /// Bytes in use by live buffers.
        live_bytes: usize,
    },
    /// A kernel's source does not compile; the compiler's log is kept verbatim.
    KernelCompile {
        /// The kernel's name.
        kernel: String,
        /// What the compiler said.
        log: String,
    },
    /// The device or its driver is missing, lost or refused.
    Device(String),
    /// A file could not be read or written.
    Io(String),
    /// A file or text is not in the format it should be in.
    Format(String),
    /// The tape cannot do what was asked: consumed, foreign, or absent.
    Tape(String),
    /// A model and what is loaded into it, or its gradients, do not match.
    Model(String),
}

impl Error {
    /// An error of a kind, located at the caller.
    #[track_caller]
    pub fn new(kind: ErrorKind) -> Self {
        Error(Box::new(Inner { kind, op: None, location: Some(Location::caller()), module: None, source: None }))
    }

    /// An [`ErrorKind::Shape`] error of op `op`.
    #[track_caller]
    pub fn shape(op: &'static str, message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Shape(message.into())).in_op(op)
    }

    /// An [`ErrorKind::Index`] error of op `op`.
    #[track_caller]
    pub fn index(op: &'static str, message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Index(message.into())).in_op(op)
    }

    /// An [`ErrorKind::DType`] error of op `op`.
    #[track_caller]
    pub fn dtype(op: &'static str, message: impl Into<String>) -> Self {
        Error::new(ErrorKind::DType(message.into())).in_op(op)
    }

    /// An [`ErrorKind::Argument`] error of op `op`.
    #[track_caller]
    pub fn argument(op: &'static str, message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Argument(message.into())).in_op(op)
    }

    /// An [`ErrorKind::Io`] error: `what` names the file and what was being done.
    #[track_caller]
    pub fn io(what: impl Into<String>, source: std::io::Error) -> Self {
        Error::new(ErrorKind::Io(format!("{}: {source}", what.into()))).with_source(source)
    }

    /// An [`ErrorKind::Format`] error.
    #[track_caller]
    pub fn format(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Format(message.into()))
    }

    /// Names the op, unless an inner one is named already.
    pub fn in_op(mut self, op: &'static str) -> Self {
        self.0.op.get_or_insert(op);
        self
    }

    /// Replaces the location by the caller's own, for wrappers that are not themselves the user's call.
    pub fn at(mut self, location: &'static Location<'static>) -> Self {
        self.0.location = Some(location);
        self
    }

    /// Adds an outer module name, so that the path grows outwards: `attn`, then `layers.3.attn`.
    pub fn in_module(mut self, name: impl AsRef<str>) -> Self {
        let name = name.as_ref();
        self.0.module = Some(match self.0.module.take() {
            Some(inner) => format!("{name}.{inner}"),
            None => name.to_string(),
        });
        self
    }

    /// Keeps the error that caused this one.
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// What kind of error this is.
    pub fn kind(&self) -> &ErrorKind {
        &self.0.kind
    }

    /// The op that failed, if one did.
    pub fn op(&self) -> Option<&'static str> {
        self.0.op
    }

    /// Where in the caller's code.
    pub fn location(&self) -> Option<&'static Location<'static>> {
        self.0.location
    }

    /// The dotted path of the module inside a model, if known.
    pub fn module(&self) -> Option<&str> {
        self.0.module.as_deref()
    }

    /// True for shape errors.
    pub fn is_shape(&self) -> bool {
        matches!(self.0.kind, ErrorKind::Shape(_))
    }

    /// True where no kernel exists for the dtype and device.
    pub fn is_unsupported(&self) -> bool {
        matches!(self.0.kind, ErrorKind::Unsupported { .. })
    }

    /// True for files that cannot be read or written.
    pub fn is_io(&self) -> bool {
        matches!(self.0.kind, ErrorKind::Io(_))
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ErrorKind::Shape(m)
            | ErrorKind::Index(m)
            | ErrorKind::DType(m)
            | ErrorKind::DeviceMismatch(m)
            | ErrorKind::Argument(m)
            | ErrorKind::Device(m)
            | ErrorKind::Io(m)
            | ErrorKind::Format(m)
            | ErrorKind::Tape(m)
            | ErrorKind::Model(m) => f.write_str(m),
            ErrorKind::Unsupported { dtype, device } => write!(f, "no kernel for {dtype} on {device}"),
            ErrorKind::OutOfMemory { requested_bytes, live_bytes } => {
                write!(f, "out of memory: asked for {requested_bytes} bytes with {live_bytes} bytes in use")
            }
            ErrorKind::KernelCompile { kernel, log } => write!(f, "kernel {kernel} does not compile:\n{log}"),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(op) = self.0.op {
            write!(f, "{op}: ")?;
        }
        write!(f, "{}", self.0.kind)?;
        if let Some(module) = &self.0.module {
            write!(f, " in {module}")?;
        }
        if let Some(location) = self.0.location {
            write!(f, " ({}:{})", location.file(), location.line())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}
