//! The kernels' source text, and what of it makes one unit: the text of one entry point with its bindings.
//!
//! The text is part of the program. Where `CHAINRULE_KERNELS_WGSL` names a folder with the same files, they are read from
//! there when a unit is compiled, so that a kernel can be changed without building anything again.

use std::borrow::Cow;

use super::arrays::{Array, Item};
use super::items::reachable;
use crate::DType;

/// Every file under `wgsl/`.
const FILES: &[(&str, &str)] = &[
    ("adamw.wgsl", include_str!("../../wgsl/adamw.wgsl")),
    ("add_into.wgsl", include_str!("../../wgsl/add_into.wgsl")),
    ("attention.wgsl", include_str!("../../wgsl/attention.wgsl")),
    ("attention_backward.wgsl", include_str!("../../wgsl/attention_backward.wgsl")),
    ("attention_backward_keys.wgsl", include_str!("../../wgsl/attention_backward_keys.wgsl")),
    ("attention_gradient.wgsl", include_str!("../../wgsl/attention_gradient.wgsl")),
    ("attention_tile.wgsl", include_str!("../../wgsl/attention_tile.wgsl")),
    ("block_scan.wgsl", include_str!("../../wgsl/block_scan.wgsl")),
    ("column_sums.wgsl", include_str!("../../wgsl/column_sums.wgsl")),
    ("copy.wgsl", include_str!("../../wgsl/copy.wgsl")),
    ("cross_entropy.wgsl", include_str!("../../wgsl/cross_entropy.wgsl")),
    ("dropout.wgsl", include_str!("../../wgsl/dropout.wgsl")),
    ("elementwise.wgsl", include_str!("../../wgsl/elementwise.wgsl")),
    ("exact.wgsl", include_str!("../../wgsl/exact.wgsl")),
    ("functions.wgsl", include_str!("../../wgsl/functions.wgsl")),
    ("gather.wgsl", include_str!("../../wgsl/gather.wgsl")),
    ("groups.wgsl", include_str!("../../wgsl/groups.wgsl")),
    ("index.wgsl", include_str!("../../wgsl/index.wgsl")),
    ("integers.wgsl", include_str!("../../wgsl/integers.wgsl")),
    ("l2_norm.wgsl", include_str!("../../wgsl/l2_norm.wgsl")),
    ("layer_norm.wgsl", include_str!("../../wgsl/layer_norm.wgsl")),
    ("lstm_cell.wgsl", include_str!("../../wgsl/lstm_cell.wgsl")),
    ("matmul.wgsl", include_str!("../../wgsl/matmul.wgsl")),
    ("matmul_reduce.wgsl", include_str!("../../wgsl/matmul_reduce.wgsl")),
    ("matmul_tile.wgsl", include_str!("../../wgsl/matmul_tile.wgsl")),
    ("matmul_vector.wgsl", include_str!("../../wgsl/matmul_vector.wgsl")),
    ("nonzero.wgsl", include_str!("../../wgsl/nonzero.wgsl")),
    ("pairs.wgsl", include_str!("../../wgsl/pairs.wgsl")),
    ("philox.wgsl", include_str!("../../wgsl/philox.wgsl")),
    ("prelude.wgsl", include_str!("../../wgsl/prelude.wgsl")),
    ("random.wgsl", include_str!("../../wgsl/random.wgsl")),
    ("reals.wgsl", include_str!("../../wgsl/reals.wgsl")),
    ("reduce.wgsl", include_str!("../../wgsl/reduce.wgsl")),
    ("reduce_exponentials.wgsl", include_str!("../../wgsl/reduce_exponentials.wgsl")),
    ("reduce_moments.wgsl", include_str!("../../wgsl/reduce_moments.wgsl")),
    ("reduce_norms.wgsl", include_str!("../../wgsl/reduce_norms.wgsl")),
    ("reduce_numbers.wgsl", include_str!("../../wgsl/reduce_numbers.wgsl")),
    ("reduce_places.wgsl", include_str!("../../wgsl/reduce_places.wgsl")),
    ("rms_norm.wgsl", include_str!("../../wgsl/rms_norm.wgsl")),
    ("rope.wgsl", include_str!("../../wgsl/rope.wgsl")),
    ("rows.wgsl", include_str!("../../wgsl/rows.wgsl")),
    ("scan.wgsl", include_str!("../../wgsl/scan.wgsl")),
    ("sgd.wgsl", include_str!("../../wgsl/sgd.wgsl")),
    ("softmax.wgsl", include_str!("../../wgsl/softmax.wgsl")),
    ("softmax_sums.wgsl", include_str!("../../wgsl/softmax_sums.wgsl")),
    ("sort.wgsl", include_str!("../../wgsl/sort.wgsl")),
    ("subgroups.wgsl", include_str!("../../wgsl/subgroups.wgsl")),
    ("wide.wgsl", include_str!("../../wgsl/wide.wgsl")),
    ("words.wgsl", include_str!("../../wgsl/words.wgsl")),
];

/// The most bindings of a unit: what the guaranteed limits of WebGPU allow, and the absent ones.
pub(crate) const MAX_BINDINGS: usize = 12;
const MAX_DEFINES: usize = 16;
const MAX_TEXTS: usize = 4;

/// How a kernel uses a buffer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Access {
    /// Elements of any dtype are read through `load_<name>`.
    Read,
    /// Elements of 32 bits, or native ones, are written through `store_<name>`, and may be read.
    Write,
    /// Words of 32 bits, each with one or several elements, are written through `store_word_<name>`.
    Words,
    /// Elements of any dtype are written through `put_<name>`, whatever other invocations write beside them; those of 32
    /// bits are raised through `raise_<name>` too.
    Scatter,
    /// There is no buffer; `load_<name>` gives 0.
    Absent,
    /// The record of bad input.
    Fault,
}

/// A buffer as a kernel knows it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Binding {
    /// Its name in the kernel's text.
    pub name: &'static str,
    /// The dtype of its elements.
    pub dtype: DType,
    /// What is done with it.
    pub access: Access,
    /// Whether its elements can be those of an array of f16: they are read or written one by one, and the device converts
    /// as the host does.
    pub is_native: bool,
    /// The words that it is part of.
    pub array: Array,
    /// Whether its data start elsewhere than the array, where that is not always so.
    pub is_moved: bool,
}

/// One entry point with the dtypes of its bindings, its constants, and further text. It holds no allocation: every launch
/// makes one to look its pipeline up.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Unit {
    /// The file without its extension: `layer_norm`.
    pub file: &'static str,
    /// The entry point.
    pub entry: &'static str,
    /// Invocations of a workgroup: the constant `THREADS`.
    pub threads: u32,
    /// Whether a workgroup may reduce by subgroups.
    pub subgroups: bool,
    /// A further file whose items it may use.
    pub functions: &'static str,
    /// The buffers, in order.
    pub bindings: [Option<Binding>; MAX_BINDINGS],
    /// Further constants.
    pub defines: [Option<(&'static str, u32)>; MAX_DEFINES],
    /// Items that the host adds, each in three parts: what Compute is, the function around the expression of an op.
    pub texts: [Option<[&'static str; 3]>; MAX_TEXTS],
}

/// Puts a value into the first free place; whoever adds more than there are has to enlarge the array.
pub(crate) fn push<T>(places: &mut [Option<T>], value: T) {
    let free = places.iter_mut().find(|place| place.is_none());
    debug_assert!(free.is_some(), "a unit has no room for one more");
    if let Some(free) = free {
        *free = Some(value);
    }
}

impl Unit {
    pub(crate) fn new(file: &'static str, entry: &'static str) -> Unit {
        Unit {
            file,
            entry,
            threads: 256,
            subgroups: false,
            functions: "",
            bindings: [None; MAX_BINDINGS],
            defines: [None; MAX_DEFINES],
            texts: [None; MAX_TEXTS],
        }
    }

    /// The bindings that have a buffer, in order.
    pub(crate) fn bound(&self) -> impl Iterator<Item = Binding> + '_ {
        self.bindings.iter().flatten().copied().filter(|binding| binding.access != Access::Absent)
    }

    /// The arrays of the bindings, in the order in which they are bound.
    pub(crate) fn arrays(&self) -> impl Iterator<Item = Array> + '_ {
        self.bound().filter(|binding| binding.array.name == binding.name).map(|binding| binding.array)
    }

    /// How many storage buffers it is bound to.
    pub fn storage_buffers(&self) -> u32 {
        self.arrays().map(|array| u32::from(array.windows)).sum()
    }

    /// Whether an operand is larger than a binding.
    pub fn has_windows(&self) -> bool {
        self.arrays().any(|array| array.windows > 1)
    }

    /// What the compiler is given.
    pub fn text(&self) -> String {
        let own = read(self.file);
        let mut texts = vec![own.clone()];
        texts.extend(included(&own));
        texts.push(self.declarations().into());
        let reductions = if self.subgroups { "subgroups" } else { "" };
        texts.extend([self.functions, "functions", reductions, "prelude"].map(read));
        let texts: Vec<&str> = texts.iter().map(|text| &text[..]).collect();
        let mut text = reachable(&texts, self.entry);
        if text.contains("var<private> own_subgroup") {
            text = with_own_subgroup(&text, self.entry);
        }
        // In front of the first line, so that errors name the file's lines.
        if self.arrays().any(|array| array.item == Item::F16) {
            text.insert_str(0, "enable f16; ");
        }
        text
    }

    /// The unit in one line, for messages: `softmax softmax_forward x:f16 y:f32`.
    pub fn label(&self) -> String {
        let mut label = format!("{} {}", self.file, self.entry);
        for Binding { name, dtype, access, .. } in self.bindings.iter().flatten() {
            match access {
                Access::Absent | Access::Fault => {}
                _ => label += &format!(" {name}:{dtype}"),
            }
        }
        self.defines.iter().flatten().for_each(|(name, value)| label += &format!(" {name}={value}"));
        label
    }

    fn declarations(&self) -> String {
        let mut text = format!("const THREADS: u32 = {}u;\n", self.threads);
        text += "@group(1) @binding(0) var<uniform> places: array<vec4<u32>, 3>;\n";
        for (name, value) in self.defines.iter().flatten() {
            text += &format!("const {name}: u32 = {value}u;\n");
        }
        for added in self.texts.iter().flatten() {
            text += &format!("{}\n", added.concat());
        }
        let mut buffers = 0;
        for array in self.arrays() {
            text += &array.declarations(buffers);
            buffers += u32::from(array.windows);
        }
        for (number, binding) in self.bound().enumerate() {
            text += &binding.accessors(number);
        }
        for binding in self.bindings.iter().flatten().filter(|binding| binding.access == Access::Absent) {
            text += &format!("fn load_{}(i: u32) -> {} {{ return 0; }}\n", binding.name, binding.value_type());
        }
        text
    }
}

impl Binding {
    /// A binding with an array of its own.
    pub(crate) fn new(name: &'static str, dtype: DType, access: Access, is_native: bool) -> Binding {
        let array = Array { name, item: Item::U32, windows: 1, shift: 0 };
        let binding = Binding { name, dtype, access, is_native, array, is_moved: false };
        Binding { array: Array::of(&binding), ..binding }
    }

    /// The type of an element once it is read.
    fn value_type(&self) -> &'static str {
        match self.dtype {
            DType::I32 => "i32",
            dtype if dtype.is_float() => "f32",
            _ => "u32",
        }
    }

    /// What is added to an index to find it in the array of binding number `number`.
    fn start(&self, number: usize) -> String {
        match self.access {
            Access::Read => format!(" + places[{}][{}]", number / 4, number % 4),
            _ if self.is_moved => format!(" + places[{}][{}]", number / 4, number % 4),
            _ => String::new(),
        }
    }

    /// The functions through which a kernel gets at the elements of binding number `number`.
    fn accessors(&self, number: usize) -> String {
        let Binding { name, access, array, .. } = self;
        let (value, start) = (self.value_type(), self.start(number));
        let (half, quarter) = (array.get("at >> 1u"), array.get("at >> 2u"));
        let element = match self.dtype {
            DType::F16 if array.item == Item::F16 => format!("f32({})", array.get("at")),
            DType::F16 => format!("f16_to_f32(({half} >> ((at & 1u) * 16u)) & 0xffffu)"),
            DType::BF16 => format!("bf16_to_f32({half} >> ((at & 1u) * 16u))"),
            DType::U8 => format!("({quarter} >> ((at & 3u) * 8u)) & 255u"),
            DType::Bool => format!("u32((({quarter} >> ((at & 3u) * 8u)) & 255u) != 0u)"),
            _ if array.item.value_type() != value => format!("bitcast<{value}>({})", array.get("at")),
            _ => array.get("at"),
        };
        let load = format!("fn load_{name}(i: u32) -> {value} {{ let at = i{start}; return {element}; }}\n");
        match access {
            Access::Fault => String::new(),
            Access::Write => load + &self.storing(&start),
            Access::Words => load + &self.packing(&start),
            Access::Scatter => load + &self.putting(&start),
            _ => load,
        }
    }

    /// How an element that has its place to itself is written, alone or as the only one of its word.
    fn storing(&self, start: &str) -> String {
        let (name, value) = (self.name, self.value_type());
        let at = format!("i{start}");
        let (further, set) = match (self.dtype, self.array.item) {
            (DType::F16, Item::F16) => (String::new(), self.array.set(&at, "f16(v)", "f16")),
            // The block is another operand's too, which has it by words.
            (DType::F16, _) => (self.putting(start), format!("put_{name}(i, v);")),
            _ => (String::new(), self.array.set(&at, "v", value)),
        };
        format!(
            "{further}fn store_{name}(i: u32, v: {value}) {{ {set} }}\n\
             const LANES_{name}: u32 = 1u;\nalias Value_{name} = {value};\nalias Values_{name} = array<{value}, 1>;\n\
             fn store_lanes_{name}(i: u32, values: Values_{name}) {{ store_{name}(i, values[0]); }}\n"
        )
    }

    /// How the elements of a word are put into it.
    fn packing(&self, start: &str) -> String {
        let (name, value) = (self.name, self.value_type());
        let lanes = 4 / self.dtype.size_bytes();
        let at = if self.is_moved { format!("(word * {lanes}u{start}) / {lanes}u") } else { "word".into() };
        let set = self.array.set(&at, "bits", "u32");
        let word = match self.dtype {
            DType::F16 => "f32_to_f16(v[0]) | f32_to_f16(v[1]) << 16u".into(),
            DType::BF16 => "f32_to_bf16(v[0]) | f32_to_bf16(v[1]) << 16u".into(),
            DType::U8 => "(v[0] & 255u) | (v[1] & 255u) << 8u | (v[2] & 255u) << 16u | v[3] << 24u".to_string(),
            DType::Bool => {
                "u32(v[0] != 0u) | u32(v[1] != 0u) << 8u | u32(v[2] != 0u) << 16u | u32(v[3] != 0u) << 24u".into()
            }
            _ if value == "u32" => "v[0]".into(),
            _ => "bitcast<u32>(v[0])".into(),
        };
        format!(
            "const LANES_{name}: u32 = {lanes}u;\nalias Value_{name} = {value};\nalias Values_{name} = array<{value}, {lanes}>;\n\
             fn pack_{name}(values: Values_{name}) -> u32 {{ let v = values; return {word}; }}\n\
             fn store_word_{name}(word: u32, bits: u32) {{ {set} }}\n\
             fn store_lanes_{name}(i: u32, values: Values_{name}) {{ store_word_{name}(i / {lanes}u, pack_{name}(values)); }}\n"
        )
    }

    /// How an element is put into its word: its own bits alone, so that the order of invocations does not matter.
    fn putting(&self, start: &str) -> String {
        let (name, value, array) = (self.name, self.value_type(), &self.array);
        let (bits, per_word, mask) = match self.dtype {
            DType::F16 => ("f32_to_f16(v)", 2, "0xffffu"),
            DType::BF16 => ("f32_to_bf16(v)", 2, "0xffffu"),
            DType::U8 => ("v & 255u", 4, "255u"),
            DType::Bool => ("u32(v != 0u)", 4, "255u"),
            _ => {
                let at = format!("i{start}");
                let (set, raise) = (array.set(&at, "v", value), array.change("Max", &at, "least"));
                return format!(
                    "fn put_{name}(i: u32, v: {value}) {{ {set} }}\nfn raise_{name}(i: u32, least: u32) {{ {raise} }}\n"
                );
            }
        };
        let bits_each = 32 / per_word;
        let clear = array.change("And", "at", &format!("~({mask} << shift)"));
        let fill = array.change("Or", "at", "bits << shift");
        format!(
            "fn put_{name}(i: u32, v: {value}) {{ let place = i{start}; let at = place / {per_word}u; \
             let shift = place % {per_word}u * {bits_each}u; let bits = {bits}; {clear} {fill} }}\n"
        )
    }
}

/// The entry with the built-in values that `subgroups.wgsl` asks for among its parameters.
fn with_own_subgroup(text: &str, entry: &str) -> String {
    let start = format!("fn {entry}(");
    let Some((before, rest)) = text.split_once(&start) else { return text.into() };
    let Some((parameters, body)) = rest.split_once('{') else { return text.into() };
    format!(
        "{before}{start}@builtin(subgroup_id) subgroup: u32, @builtin(num_subgroups) subgroups: u32, \
         @builtin(subgroup_invocation_id) lane: u32, {parameters}{{ own_subgroup = vec3<u32>(subgroup, subgroups, lane);{body}"
    )
}

/// The text of a file; that of no name is empty.
fn read(name: &str) -> Cow<'static, str> {
    let name = format!("{name}.wgsl");
    let folder = std::env::var_os("CHAINRULE_KERNELS_WGSL").filter(|folder| !folder.is_empty());
    let changed = folder.and_then(|folder| std::fs::read_to_string(std::path::Path::new(&folder).join(&name)).ok());
    let built_in = || FILES.iter().find(|(file, _)| *file == name).map_or("", |(_, text)| *text);
    changed.map_or_else(|| built_in().into(), Cow::Owned)
}

/// The files that a text names in lines `// include: rows.wgsl`, and those that these name.
fn included(text: &str) -> Vec<Cow<'static, str>> {
    let names = text.lines().filter_map(|line| line.strip_prefix("// include: ")?.strip_suffix(".wgsl"));
    names
        .flat_map(|name| {
            let text = read(name);
            let further = included(&text);
            std::iter::once(text).chain(further)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_listed() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("wgsl");
        let mut names: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.ends_with(".wgsl"))
            .collect();
        names.sort();
        assert_eq!(names, FILES.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    }
}
