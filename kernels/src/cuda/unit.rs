//! One file of kernels with the definitions that it is compiled with.

use std::fmt;
use std::hash::{Hash, Hasher};

use crate::DType;

/// The most definitions of a unit.
const MAX_DEFINES: usize = 12;

/// One file of kernels with the definitions that it is compiled with. It is made anew for each launch, in place.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Unit {
    /// The file without its extension: `layer_norm`.
    pub name: &'static str,
    /// The element type.
    pub elem: DType,
    defines: Defines,
}

/// The value of a definition: a number, or text that is part of the program.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Value {
    /// A number, as `TILE` in `TILE=128`.
    Number(i64),
    /// A type or an expression.
    Text(&'static str),
}

/// Names and values, in the order in which they were added.
#[derive(Clone)]
struct Defines {
    places: [(&'static str, Value); MAX_DEFINES],
    len: usize,
}

impl Unit {
    /// The file `name` for an element type, without further definitions.
    pub fn new(name: &'static str, elem: DType) -> Unit {
        Unit { name, elem, defines: Defines { places: [("", Value::Number(0)); MAX_DEFINES], len: 0 } }
    }

    /// With one more definition, of which a unit has at most 12.
    pub fn define(mut self, name: &'static str, value: impl Into<Value>) -> Unit {
        debug_assert!(self.defines.len < MAX_DEFINES, "{name} is one definition too many");
        if let Some(place) = self.defines.places.get_mut(self.defines.len) {
            *place = (name, value.into());
            self.defines.len += 1;
        }
        self
    }

    /// What the compiler is given: the definitions, and then the file.
    pub fn text(&self) -> String {
        let mut text = format!("#define ELEM_{} 1\n", self.elem.name().to_uppercase());
        for (name, value) in self.defines.used() {
            text += &format!("#define {name} {value}\n");
        }
        text + &format!("#include \"{}.cu\"\n", self.name)
    }

    /// Whether GPUs of this architecture (ten times the compute capability) can run it: tensor cores multiply halves
    /// and tf32 into f32 from 8.0 on.
    pub fn exists_for(&self, architecture: u32) -> bool {
        architecture >= 80 || !self.name.contains("_tensor")
    }

    /// The unit in one line, for messages and tables: `matmul f32 TILE=128`.
    pub fn label(&self) -> String {
        let defines = self.defines.used().iter().map(|(name, value)| format!(" {name}={value}"));
        format!("{} {}{}", self.name, self.elem, defines.collect::<String>())
    }
}

impl Defines {
    fn used(&self) -> &[(&'static str, Value)] {
        &self.places[..self.len]
    }
}

impl PartialEq for Defines {
    fn eq(&self, other: &Defines) -> bool {
        self.used() == other.used()
    }
}

impl Eq for Defines {}

impl Hash for Defines {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.used().hash(state);
    }
}

impl fmt::Debug for Defines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.used().fmt(f)
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Number(number) => number.fmt(f),
            Value::Text(text) => f.write_str(text),
        }
    }
}

impl From<u8> for Value {
    fn from(number: u8) -> Value {
        Value::Number(number.into())
    }
}

impl From<i32> for Value {
    fn from(number: i32) -> Value {
        Value::Number(number.into())
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Value {
        Value::Number(number.into())
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Value {
        Value::Number(number)
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Value {
        Value::Number(number as i64)
    }
}

impl From<usize> for Value {
    fn from(number: usize) -> Value {
        Value::Number(number as i64)
    }
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Value {
        Value::Text(text)
    }
}
