//! The kernels' source text, and what of it makes one unit: the text of one entry point with its bindings.
//!
//! The text is part of the program. Where `CHAINRULE_KERNELS_WGSL` names a folder with the same files, they are read from
//! there when a unit is compiled, so that a kernel can be changed without building anything again.

use std::borrow::Cow;

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
    /// Whether it is an array of f16, and not of words: so for elements that are read or written one by one, on a device
    /// whose conversions are exact.
    pub is_native: bool,
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

    /// The bindings that have a buffer, in order: their numbers in group 0.
    pub(crate) fn bound(&self) -> impl Iterator<Item = Binding> + '_ {
        self.bindings.iter().flatten().copied().filter(|binding| binding.access != Access::Absent)
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
        if self.bindings.iter().flatten().any(|binding| binding.is_native) {
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
        for (number, binding) in self.bound().enumerate() {
            text += &binding.declaration(number);
        }
        for binding in self.bindings.iter().flatten().filter(|binding| binding.access == Access::Absent) {
            text += &format!("fn load_{}(i: u32) -> {} {{ return 0; }}\n", binding.name, binding.value_type());
        }
        text
    }
}

impl Binding {
    /// The type of an element once it is read.
    fn value_type(&self) -> &'static str {
        match self.dtype {
            DType::I32 => "i32",
            dtype if dtype.is_float() => "f32",
            _ => "u32",
        }
    }

    /// The type of a word of the buffer.
    fn word_type(&self) -> &'static str {
        match (self.access, self.dtype) {
            _ if self.is_native => "f16",
            (Access::Words | Access::Scatter, _) => "u32",
            (_, DType::F32) => "f32",
            (_, DType::I32) => "i32",
            _ => "u32",
        }
    }

    fn declaration(&self, number: usize) -> String {
        let Binding { name, access, .. } = self;
        let (word, value) = (self.word_type(), self.value_type());
        let array = match access {
            Access::Fault => name.to_string(),
            _ => format!("{name}_words"),
        };
        let item = if matches!(access, Access::Fault | Access::Scatter) { "atomic<u32>" } else { word };
        // Every binding may be written: parts of one buffer, some read and some written, can then serve one launch.
        let mut text = format!("@group(0) @binding({number}) var<storage, read_write> {array}: array<{item}>;\n");
        if *access == Access::Fault {
            return text;
        }
        let start = match access {
            Access::Read => format!(" + places[{}][{}]", number / 4, number % 4),
            _ => String::new(),
        };
        let word = |at: &str| match access {
            Access::Scatter => format!("atomicLoad(&{array}[{at}])"),
            _ => format!("{array}[{at}]"),
        };
        let (half, quarter) = (word("at >> 1u"), word("at >> 2u"));
        let element = match self.dtype {
            DType::F16 if self.is_native => format!("f32({})", word("at")),
            DType::F16 => format!("f16_to_f32(({half} >> ((at & 1u) * 16u)) & 0xffffu)"),
            DType::BF16 => format!("bf16_to_f32({half} >> ((at & 1u) * 16u))"),
            DType::U8 => format!("({quarter} >> ((at & 3u) * 8u)) & 255u"),
            DType::Bool => format!("u32((({quarter} >> ((at & 3u) * 8u)) & 255u) != 0u)"),
            _ if self.word_type() != value => format!("bitcast<{value}>({})", word("at")),
            _ => word("at"),
        };
        text += &format!("fn load_{name}(i: u32) -> {value} {{ let at = i{start}; return {element}; }}\n");
        match access {
            Access::Write => text + &self.storing(),
            Access::Words => text + &self.packing(),
            Access::Scatter => text + &self.putting(),
            _ => text,
        }
    }

    /// How an element that has its place to itself is written, and the same as what the elements of a word are written by.
    fn storing(&self) -> String {
        let (name, value) = (self.name, self.value_type());
        let stored = if self.is_native { "f16(v)" } else { "v" };
        format!(
            "fn store_{name}(i: u32, v: {value}) {{ {name}_words[i] = {stored}; }}\n\
             const LANES_{name}: u32 = 1u;\nalias Value_{name} = {value};\nalias Values_{name} = array<{value}, 1>;\n\
             fn store_lanes_{name}(i: u32, values: Values_{name}) {{ store_{name}(i, values[0]); }}\n"
        )
    }

    /// How the elements of a word are put into it.
    fn packing(&self) -> String {
        let (name, value) = (self.name, self.value_type());
        let lanes = 4 / self.dtype.size_bytes();
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
             fn store_word_{name}(word: u32, bits: u32) {{ {name}_words[word] = bits; }}\n\
             fn store_lanes_{name}(i: u32, values: Values_{name}) {{ store_word_{name}(i / {lanes}u, pack_{name}(values)); }}\n"
        )
    }

    /// How an element is put into its word: its own bits alone, so that the order of invocations does not matter.
    fn putting(&self) -> String {
        let (name, value) = (self.name, self.value_type());
        let (bits, per_word, mask) = match self.dtype {
            DType::F16 => ("f32_to_f16(v)", 2, "0xffffu"),
            DType::BF16 => ("f32_to_bf16(v)", 2, "0xffffu"),
            DType::U8 => ("v & 255u", 4, "255u"),
            DType::Bool => ("u32(v != 0u)", 4, "255u"),
            _ => {
                return format!(
                    "fn put_{name}(i: u32, v: {value}) {{ atomicStore(&{name}_words[i], bitcast<u32>(v)); }}\n\
                     fn raise_{name}(i: u32, least: u32) {{ atomicMax(&{name}_words[i], least); }}\n"
                );
            }
        };
        let bits_each = 32 / per_word;
        format!(
            "fn put_{name}(i: u32, v: {value}) {{ let at = i / {per_word}u; let shift = i % {per_word}u * {bits_each}u; \
             let bits = {bits}; atomicAnd(&{name}_words[at], ~({mask} << shift)); \
             atomicOr(&{name}_words[at], bits << shift); }}\n"
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
