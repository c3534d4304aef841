//! The arrays of a unit's text: the words of one or several bindings, in one window or several.

use super::{Access, Binding};
use crate::DType;

/// The words of a block of memory. It is called after the first binding of those whose elements they hold.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Array {
    /// The binding's name.
    pub name: &'static str,
    /// What a word is declared as.
    pub item: Item,
    /// How many consecutive bindings it takes.
    pub windows: u16,
    /// The items of a window are 2 to this power; 0 where there is one window.
    pub shift: u8,
}

/// What a word is declared as.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Item {
    /// An f32.
    F32,
    /// An f16, which is half a word.
    F16,
    /// An i32.
    I32,
    /// A u32, or what shares a word.
    U32,
    /// A u32 that invocations change together.
    Atomic,
}

impl Item {
    /// The type of its values.
    pub(crate) fn value_type(self) -> &'static str {
        match self {
            Item::F32 => "f32",
            Item::F16 => "f16",
            Item::I32 => "i32",
            Item::U32 | Item::Atomic => "u32",
        }
    }

    /// Its bytes.
    pub(crate) fn size_bytes(self) -> u64 {
        if self == Item::F16 { 2 } else { 4 }
    }

    /// What the words of two bindings can both be taken for.
    pub(crate) fn shared_with(self, other: Item) -> Item {
        match (self, other) {
            (Item::Atomic, _) | (_, Item::Atomic) => Item::Atomic,
            _ if self == other => self,
            // What would be written alone needs atomics in words.
            (Item::F16, _) | (_, Item::F16) => Item::Atomic,
            _ => Item::U32,
        }
    }
}

impl Array {
    /// The array that a binding has where it shares none.
    pub(crate) fn of(binding: &Binding) -> Array {
        let item = match (binding.access, binding.dtype) {
            (Access::Scatter | Access::Fault, _) => Item::Atomic,
            (Access::Words, _) => Item::U32,
            _ if binding.is_native => Item::F16,
            (_, DType::F32) => Item::F32,
            (_, DType::I32) => Item::I32,
            _ => Item::U32,
        };
        Array { name: binding.name, item, windows: 1, shift: 0 }
    }

    /// Its declarations, from binding `number` on.
    pub(crate) fn declarations(&self, number: u32) -> String {
        let item = if self.item == Item::Atomic { "atomic<u32>" } else { self.item.value_type() };
        // Every binding may be written: parts of one buffer, some read and some written, can then serve one launch.
        let of_window = |window| {
            let (binding, array) = (number + u32::from(window), self.window(window));
            format!("@group(0) @binding({binding}) var<storage, read_write> {array}: array<{item}>;\n")
        };
        let mut text: String = (0..self.windows).map(of_window).collect();
        if self.windows > 1 {
            text += &self.accessors();
        }
        text
    }

    /// The expression of word `at`.
    pub(crate) fn get(&self, at: &str) -> String {
        match (self.windows, self.item) {
            (1, Item::Atomic) => format!("atomicLoad(&{}[{at}])", self.window(0)),
            (1, _) => format!("{}[{at}]", self.window(0)),
            _ => format!("{}_get({at})", self.name),
        }
    }

    /// The statement that writes `value`, of type `type_name`, to word `at`.
    pub(crate) fn set(&self, at: &str, value: &str, type_name: &str) -> String {
        let value = match self.item.value_type() == type_name {
            true => value.to_string(),
            false => format!("bitcast<{}>({value})", self.item.value_type()),
        };
        match (self.windows, self.item) {
            (_, Item::Atomic) => self.change("Store", at, &value),
            (1, _) => format!("{}[{at}] = {value};", self.window(0)),
            _ => format!("{}_set({at}, {value});", self.name),
        }
    }

    /// The statement that changes word `at` by the atomic function `atomic<change>`.
    pub(crate) fn change(&self, change: &str, at: &str, value: &str) -> String {
        match self.windows {
            1 => format!("atomic{change}(&{}[{at}], {value});", self.window(0)),
            _ => format!("{}_atomic{change}({at}, {value});", self.name),
        }
    }

    fn window(&self, window: u16) -> String {
        match self.windows {
            1 => format!("{}_words", self.name),
            _ => format!("{}_words{window}", self.name),
        }
    }

    /// The functions that pick the window of a word.
    fn accessors(&self) -> String {
        let (name, value) = (self.name, self.item.value_type());
        let by_window = |head: String, access: &dyn Fn(String) -> String| {
            let shift = self.shift;
            let mut text = format!("{head} {{ let i = at & {}u; switch (at >> {shift}u) {{ ", (1u32 << shift) - 1);
            for window in 0..self.windows {
                // The last one stands for all that is beyond, where an access is held within the array.
                let case = if window + 1 == self.windows { "default".into() } else { format!("case {window}u") };
                text += &format!("{case}: {{ {} }} ", access(format!("{}[i]", self.window(window))));
            }
            text + "} }\n"
        };
        let get = format!("fn {name}_get(at: u32) -> {value}");
        if self.item != Item::Atomic {
            let set = format!("fn {name}_set(at: u32, v: {value})");
            return by_window(get, &|word| format!("return {word};")) + &by_window(set, &|word| format!("{word} = v;"));
        }
        let changes = ["Store", "And", "Or", "Max"].map(|change| {
            let head = format!("fn {name}_atomic{change}(at: u32, v: u32)");
            by_window(head, &|word| format!("atomic{change}(&{word}, v);"))
        });
        by_window(get, &|word| format!("return atomicLoad(&{word});")) + &changes.concat()
    }
}
